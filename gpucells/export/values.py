"""What of a result goes into a file, a block of cells at a time, so that nothing is held twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpucells.model.cells import Cells

Float32 = NDArray[np.float32]
#: The traces of a result: as measured, their dF/F, by the model, its dF/F, its activity.
Kind = Literal["traces", "dff", "denoised", "denoised_dff", "spikes"]
BLOCK_BYTES = 32 << 20  # large enough for the disk, small beside the traces


def has(cells: Cells, kind: Kind) -> bool:
    """Say whether a result has such traces; dF/F it has where a cell has a baseline."""
    if kind == "dff":
        return bool(np.isfinite(cells.f0).any())
    if kind == "denoised_dff":
        return cells.denoised is not None and has(cells, "dff")
    return getattr(cells, kind) is not None


def has_model(cells: Cells) -> NDArray[np.bool_]:
    """Say of which cells the method's model has a trace."""
    if cells.denoised is None:
        return np.zeros(cells.n_cells, np.bool_)
    step = max(1, (1 << 22) // max(1, cells.n_frames))
    parts = [np.isfinite(cells.denoised[start : start + step]).any(axis=1) for start in range(0, cells.n_cells, step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.bool_)


def trace_block(cells: Cells, kind: Kind, some: slice, frames: slice = slice(None)) -> Float32:
    """Return traces of some cells at some frames.

    Parameters
    ----------
    cells : Cells
        The result, which :func:`has` them.
    kind : str
        Which traces. dF/F is against ``f0``; NaN for a cell that has none.
    some : slice
        Of the cells.
    frames : slice
        Of the frames.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)`` float32; of what is not dF/F a view.
    """
    stored = {"dff": "traces", "denoised_dff": "denoised"}.get(kind, kind)
    rows: Float32 = getattr(cells, stored)[some, frames]
    return rows if stored == kind else rows / cells.f0[some, None]


def image_block(cells: Cells, some: slice) -> Float32:
    """Return footprints of some cells as dense images.

    Parameters
    ----------
    cells : Cells
        The result.
    some : slice
        Of the cells.

    Returns
    -------
    numpy.ndarray
        ``(n, height, width)`` float32, the maximum of each 1.
    """
    return np.asarray(cells.footprints[some].toarray(), np.float32).reshape(-1, *cells.image_shape)


def blocks(n_rows: int, row_bytes: int, multiple: int = 1) -> Iterator[slice]:
    """Cut rows into slices of about :data:`BLOCK_BYTES`.

    Parameters
    ----------
    n_rows : int
        How many there are.
    row_bytes : int
        Bytes of each.
    multiple : int
        Rows that must stay together, such as those of a chunk.
    """
    step = max(1, BLOCK_BYTES // max(1, row_bytes * multiple)) * multiple
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
