"""Files in, files out: one module a format; :func:`gpucells.open_movie` picks by content."""
