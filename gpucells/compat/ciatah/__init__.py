"""CIAtah's step "extract signals from movie", over folders of recordings, with this package's methods.

One call stands for the screens::

    from gpucells.compat.ciatah import model_extract_signals_from_movie

    done = model_extract_signals_from_movie(folders, ["CNMFE", "EXTRACT"], file_filter_regexp="concat", grid_width=12)

and leaves the files that CIAtah's loader finds. ``docs/compat/ciatah.md`` has what became of every screen's option,
made from :data:`TABLES`.
"""

from gpucells.compat.ciatah.names import TABLES
from gpucells.compat.ciatah.run import Done, model_extract_signals_from_movie

modelExtractSignalsFromMovie = model_extract_signals_from_movie

__all__ = ["TABLES", "Done", "modelExtractSignalsFromMovie", "model_extract_signals_from_movie"]
