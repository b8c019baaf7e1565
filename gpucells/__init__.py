"""gpucells: from a calcium-imaging movie to cells.

``extract_cells(movie, method="extract")`` is the whole of it; the other names are what it needs and gives. They are
loaded when first used, so that ``import gpucells`` costs almost nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# Threads that wait for work should sleep. Spinning, the default, takes half as much time again of both cores between
# two loops under OpenMP; where other programs want the cores, a small product of matrices took OpenBLAS 90 ms instead
# of 3. Both are read when the library is loaded, NumPy's with NumPy; a user's own choice stands.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles, the least it takes

_HOME = {
    "extract_cells": "gpucells.pipeline",
    "apply_footprints": "gpucells.pipeline",
    "estimate_movie": "gpucells.tiles.estimate_movie",
    "open_movie": "gpucells.io.open_movie",
    "save_cells": "gpucells.io.cells_file",
    "load_cells": "gpucells.io.results",
    "export_cells": "gpucells.export.formats",
    "detrend_dff": "gpucells.postprocess.dff",
    "simulate_movie": "gpucells.simulate.movie",
    "list_devices": "gpucells.device.discover",
    "Cells": "gpucells.model.cells",
    "Movie": "gpucells.model.movie",
}
__all__ = [*_HOME, "__version__"]  # noqa: PLE0604 - names come from the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gpucells' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
