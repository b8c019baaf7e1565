"""CaImAn's ``caiman.utils``: outlines and pictures."""
