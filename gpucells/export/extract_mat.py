"""A result as the file that EXTRACT's users save: ``output`` with its weights, config and info, version 7.3.

Always 7.3, because readers in Python (roiextractors) open it as HDF5. Traces are dF/F as EXTRACT's are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy import sparse

import gpucells
from gpucells.export.matlab import write_mat
from gpucells.export.matlab_cells import images, own_fields, settings_struct, traces
from gpucells.model.cells import Cells
from gpucells.progress import ProgressSink
from gpucells.settings import Settings

#: Whose output this is laid out as; readers choose the layout by it.
LAYOUT_VERSION = "1.3.0"

#: EXTRACT's 30 measures in their order, and the column of our quality table that is the same.
MEASURES: dict[str, str] = {
    "T_maxval": "trace_snr",
    "T_corruption": "temporal_corruption",
    "T_max_corr": "neighbour_correlation",
    "S_area_1": "",
    "S_smooth_area_1": "",
    "S_area_2": "",
    "S_smooth_area_2": "",
    "S_max_corr": "neighbour_overlap",
    "S_corruption": "spatial_corruption",
    "S_eccent": "eccentricity",
    "S_circularity": "circularity",
    **{f"ST{kind}_index_{i}": "" for kind in (1, 2, 3) for i in (1, 2, 3, 4, 5)},
    **{f"ST_corr_{i}": "" for i in (1, 2, 3)},
    "T_dup_val": "",
}
FAULTS = 9  # rows of EXTRACT's is_attr_bad


class Options(Settings):
    """Options of the format ``extract``."""

    sparse: bool = Field(
        False,
        description="footprints as one sparse matrix [height*width n_cells], pixels in MATLAB's order, for fields "
        "where dense images are too large; MATLAB reads it, roiextractors does not",
    )


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write the file; see :func:`gpucells.export.formats.export_cells`.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        The file to make.
    options : Options
        See there.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : ProgressSink
        Told of every block.
    """
    info = extract_info(cells)
    known = np.isfinite(cells.f0).any()
    config = settings_struct(cells) if cells.method == "extract" else {}
    output: dict[str, Any] = {
        "spatial_weights": _columns(cells) if options.sparse else images(cells),
        "temporal_weights": traces(cells, frames_first=True),
        # preprocess is what readers tell dF/F from the movie's units by.
        "config": config | {"preprocess": bool(known), "use_sparse_arrays": options.sparse},
        "info": {"version": LAYOUT_VERSION, "written_by": f"gpucells {gpucells.__version__}"} | info,
        "gpucells": own_fields(cells),
    }
    write_mat(path, {"output": output}, overwrite, "7.3", progress)


def extract_info(cells: Cells, transposed: bool = False) -> dict[str, Any]:
    """Return what is known of EXTRACT's ``info``: images of the movie, its measures, and which cells are bad.

    Its tools (``cell_check``, ``plot_output_cellmap``) take these names for granted. All cells are in the weights, so
    that those of its one partition that were left out, ``S_bad`` and ``T_bad``, are none.

    EXTRACT's ``F_per_pixel`` is the mean over time, and its ``max_image`` the maximum after that is taken away.
    """
    found: dict[str, Any] = {}
    shown = cells.summary_images
    if "mean" in shown:
        found["F_per_pixel"] = shown["mean"]
    if "mean" in shown and "max" in shown:
        found["max_image"] = found["summary_image"] = shown["max"] - shown["mean"]
    found = {name: image.T if transposed else image for name, image in found.items()}
    height, width = cells.image_shape
    partition = {
        "fov_occupation": np.ones((width, height) if transposed else (height, width), bool),
        "S_bad": np.zeros((height * width, 0), np.float32),
        "T_bad": np.zeros((0, cells.n_frames), np.float32),
    }
    return found | {"cellcheck": cellcheck(cells), "summary": partition}


def cellcheck(cells: Cells) -> dict[str, Any]:
    """Return EXTRACT's measures of each cell.

    Parameters
    ----------
    cells : Cells
        The result.

    Returns
    -------
    dict
        ``metrics`` ``(30, n_cells)`` in the order of :data:`MEASURES`, NaN where we have none; ``is_attr_bad``
        ``(9, n_cells)``, all False: which of EXTRACT's own faults a cell has is not known; ``is_bad`` ``(1, n_cells)``.
    """
    missing = np.full(cells.n_cells, np.nan, np.float32)
    rows = [cells.quality.get(ours, missing) if ours else missing for ours in MEASURES.values()]
    return {
        "metrics": np.stack(rows).astype(np.float32),
        "is_attr_bad": np.zeros((FAULTS, cells.n_cells), bool),
        "is_bad": ~cells.accepted[None, :],
    }


def _columns(cells: Cells) -> sparse.csc_array:
    """Return footprints as columns, pixels in Fortran order."""
    height, width = cells.image_shape
    found = sparse.coo_array(cells.footprints)
    which, pixels = found.coords
    rows = (pixels % width).astype(np.int64) * height + pixels // width
    return sparse.csc_array((found.data, (rows, which)), shape=(height * width, cells.n_cells))
