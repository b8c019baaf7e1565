"""EXTRACT's own call, ``extractor(M, config)``, with its names, shapes and units, on this package's EXTRACT.

A script's lines stay what they are::

    from gpucells.compat.extract import extractor, get_defaults

    config = get_defaults(6)  # avg_cell_radius
    config.trace_output_option = "nonneg"
    config.thresholds.T_min_snr = 5
    output = extractor(M, config)  # M: (height, width, frames), or "movie.h5:/1"

What the script assigns counts; what it leaves at EXTRACT's default is left to ours. ``docs/compat/extract.md`` has
what became of every parameter, made from :data:`CONFIG` and :data:`THRESHOLDS`.
"""

from gpucells.compat.extract.config import CONFIG, THRESHOLDS, Config, get_defaults
from gpucells.compat.extract.extractor import extractor

__all__ = ["CONFIG", "THRESHOLDS", "Config", "extractor", "get_defaults"]
