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
    """Return what is known of EXTRACT's ``info``: images of the movie, and which cells are bad.

    EXTRACT's ``F_per_pixel`` is the mean over time, and its ``max_image`` the maximum after that is taken away.
    """
    found: dict[str, Any] = {}
    shown = cells.summary_images
    if "mean" in shown:
        found["F_per_pixel"] = shown["mean"]
    if "mean" in shown and "max" in shown:
        found["max_image"] = found["summary_image"] = shown["max"] - shown["mean"]
    found = {name: image.T if transposed else image for name, image in found.items()}
    return found | {"cellcheck": {"is_bad": ~cells.accepted[None, :]}}


def _columns(cells: Cells) -> sparse.csc_array:
    """Return footprints as columns, pixels in Fortran order."""
    height, width = cells.image_shape
    found = sparse.coo_array(cells.footprints)
    which, pixels = found.coords
    rows = (pixels % width).astype(np.int64) * height + pixels // width
    return sparse.csc_array((found.data, (rows, which)), shape=(height * width, cells.n_cells))
