"""CIAtah's table of run times, a line a method and folder."""

from __future__ import annotations

import csv
import io
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import gpucells
from gpucells.errors import ResultFileError
from gpucells.model.cells import Cells

NAME = "database_processing_runtimes_gpucells.csv"
COLUMNS = (
    "runtime_seconds", "date", "daytime", "folder", "algorithm", "frames", "width", "height", "parallel", "workers",
    "minIters", "maxIters", "maxSqSize", "maxDeltaParams", "gridSpacing", "gridWidth", "initMethod", "sqSizeX",
    "sqSizeY", "numSignalsDetected", "versionAlgorithm", "selectRandomFrames",
)  # fmt: skip
_OURS = {
    "minIters": "min_iter", "maxIters": "max_iter", "maxDeltaParams": "max_delta", "gridSpacing": "grid_spacing",
    "initMethod": "init_method",
}  # fmt: skip


def append_run(folder: Path, recording: Path, method: str, cells: Cells, seconds: float) -> Path:
    """Add a line, and the heading where the table is new.

    Parameters
    ----------
    folder : Path
        Where the table is.
    recording : Path
        Folder of the recording.
    method : str
        CIAtah's name.
    cells : Cells
        What was found.
    seconds : float
        That it took.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    ResultFileError
        It cannot be written.
    """
    now = datetime.now().astimezone()
    height, width = cells.image_shape
    settings = cells.settings
    row: dict[str, Any] = {column: settings[name] for column, name in _OURS.items() if name in settings}
    row |= {
        "runtime_seconds": f"{seconds:.3f}",
        "date": now.strftime("%Y_%m_%d"),
        "daytime": now.strftime("%H:%M:%S"),
        "folder": str(recording),
        "algorithm": method,
        "frames": cells.n_frames,
        "width": width,
        "height": height,
        "parallel": 1,
        "workers": os.cpu_count(),
        "numSignalsDetected": cells.n_cells,
        "versionAlgorithm": f"gpucells {gpucells.__version__}",
    }
    path = folder / NAME
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    try:
        with path.open("a", newline="", encoding="utf-8") as file:  # one write: several computers may add to it
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
            file.write(text.getvalue())
    except OSError as error:
        raise ResultFileError(f"cannot add to {path}: {error}", "close it in the program that shows it") from error
    return path
