"""CaImAn's ``caiman.source_extraction``."""
