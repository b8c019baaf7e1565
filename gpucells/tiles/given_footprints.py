"""Footprints that a user gives, instead of finding cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError
from gpucells.io.cells_file import load_cells
from gpucells.model.cells import Cells
from gpucells.settings import RunSettings
from gpucells.tiles.grid import Tile

BROAD = 0.2  # share of a footprint's maximum above which a pixel counts for its width


def take_footprints(
    given: Any, image_shape: tuple[int, int], run: RunSettings
) -> tuple[sparse.csr_array | None, RunSettings]:
    """Check footprints, where there are any; take the cell diameter from them where the run has none.

    Parameters
    ----------
    given, image_shape
        As in :func:`check_footprints`, or None.
    run : RunSettings
        Of the run.
    """
    if given is None:
        return None, run
    footprints = check_footprints(given, image_shape)
    return footprints, run.changed(cell_diameter_px=run.cell_diameter_px or typical_diameter_px(footprints))


def check_footprints(given: Any, image_shape: tuple[int, int]) -> sparse.csr_array:
    """Make footprints of what a user gave.

    Parameters
    ----------
    given : Cells, path, sparse array, or array_like
        Cells or a file of cells, of which the accepted ones count; ``(n_cells, height * width)``, sparse or dense;
        dense ``(n_cells, height, width)``. Pixels are in C order. Values below 0 count as 0.
    image_shape : tuple of int
        ``(height, width)`` of the movie.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, height * width)`` float32, each row's maximum 1.

    Raises
    ------
    InputError
        The shape is another, a value is not finite, or a footprint is empty.
    """
    if isinstance(given, str | Path):
        given = load_cells(given)
    images = sparse.csr_array(given.accepted_only().footprints) if isinstance(given, Cells) else given
    if not sparse.issparse(images):
        images = np.asarray(images)
        if images.ndim == 3 and images.shape[1:] == image_shape:
            images = images.reshape(len(images), -1)
    size = image_shape[0] * image_shape[1]
    shape = given.image_shape if isinstance(given, Cells) else images.shape
    fits = shape == image_shape if isinstance(given, Cells) else len(shape) == 2 and shape[1] == size
    if not fits:
        raise InputError(
            f"the footprints' shape is {tuple(shape)}, but the movie is {image_shape[0]} x {image_shape[1]} px",
            f"give cells of a movie of that size, (n_cells, {size}), or (n_cells, {image_shape[0]}, {image_shape[1]})",
        )
    result = sparse.csr_array(images, dtype=np.float32, copy=True)
    if not np.isfinite(result.data).all():
        raise InputError("some values of the footprints are not finite", "replace NaN and infinity, by 0 for example")
    result.data = np.maximum(result.data, 0)
    result.sum_duplicates()
    result.eliminate_zeros()
    empty = np.flatnonzero(np.diff(result.indptr) == 0)
    if len(empty):
        raise InputError(f"{len(empty)} footprints are empty, the first is number {empty[0]}", "leave them out")
    peak = np.maximum.reduceat(result.data, result.indptr[:-1]) if result.shape[0] else np.zeros(0, np.float32)
    result.data = (result.data / np.repeat(peak, np.diff(result.indptr))).astype(np.float32)
    return result


def typical_diameter_px(footprints: sparse.csr_array) -> float | None:
    """Median width of footprints (px), of a disk of the area above a fifth of the maximum; None without any."""
    if footprints.shape[0] == 0:
        return None
    cells = np.repeat(np.arange(footprints.shape[0]), np.diff(footprints.indptr))
    area = np.bincount(cells[footprints.data > BROAD], minlength=footprints.shape[0])
    return max(2.0, float(2 * np.sqrt(np.median(area) / np.pi)))


def of_tile(tile: Tile, footprints: sparse.csr_array, width: int) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """Cut footprints to a tile.

    Parameters
    ----------
    tile : Tile
        The box.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` of an image.
    width : int
        Of the image (px).

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n, tile.n_pixels)`` of the cells that reach into the tile.
    cells : numpy.ndarray
        ``(n,)`` which they are.
    """
    rows, columns = np.arange(tile.rows.start, tile.rows.stop), np.arange(tile.columns.start, tile.columns.stop)
    inside = footprints[:, (rows[:, None] * width + columns).ravel()]
    cells = np.flatnonzero(np.diff(inside.indptr))
    return sparse.csr_array(inside[cells]), cells
