"""Results as other tools' files: one module a format, each with ``write``; the reverse is in ``gpucells.io``."""
