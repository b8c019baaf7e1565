"""Footprints that a user gives, instead of finding cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, SettingsError
from gpucells.io.footprints_file import read_footprints
from gpucells.methods.registry import Method, find_method
from gpucells.model.cells import Cells
from gpucells.settings import RunSettings
from gpucells.tiles.grid import Tile

BROAD = 0.2  # share of a footprint's maximum above which a pixel counts for its width


@dataclass(frozen=True)
class Seeds:
    """Points where cells are, instead of their footprints.

    Parameters
    ----------
    points : numpy.ndarray
        ``(n_cells, 2)`` (row, column) in px.
    image_shape : tuple of int
        ``(height, width)``.
    """

    points: NDArray[np.float64]
    image_shape: tuple[int, int]

    def footprints(self, radius_px: float) -> sparse.csr_array:
        """Put a disc of this radius at every point; ``(n_cells, n_pixels)`` float32."""
        reach = int(np.ceil(radius_px))
        shift = np.arange(-reach, reach + 1)
        row, column = (self.points[:, axis, None].round().astype(int) + shift for axis in (0, 1))
        distance = np.hypot((row - self.points[:, :1])[:, :, None], (column - self.points[:, 1:])[:, None, :])
        height, width = self.image_shape
        there = (distance <= max(radius_px, 0.75)) & ((row >= 0) & (row < height))[:, :, None]
        there &= ((column >= 0) & (column < width))[:, None, :]
        cell, i, j = np.nonzero(there)
        entries = np.ones(len(cell), np.float32), (cell, row[cell, i] * width + column[cell, j])
        return sparse.csr_array(entries, shape=(len(self.points), height * width))


def take_footprints(
    given: Any, image_shape: tuple[int, int], run: RunSettings, hold: bool
) -> tuple[sparse.csr_array | Seeds | None, RunSettings]:
    """Check footprints or seeds, where there are any; take the cell diameter from those that are held.

    Where cells are looked for and refined, too, it is the movie's own, as it is without a start: footprints of
    another method are up to a fifth wider, and that much less found in a crowd.

    Parameters
    ----------
    given
        As in :func:`check_footprints`; ``(n_cells, 2)`` points (row, column); or None.
    image_shape : tuple of int
        ``(height, width)`` of the movie.
    run : RunSettings
        Of the run; a diameter that it has stays.
    hold : bool
        Whether footprints are held as they are.

    Raises
    ------
    InputError
        As :func:`check_footprints`; a point lies outside the image.
    """
    if given is None:
        return None, run
    if not isinstance(given, Cells | str | Path) and not sparse.issparse(given):
        points = np.asarray(given)
        if points.ndim == 2 and points.shape[1] == 2 != image_shape[0] * image_shape[1]:
            return _check_seeds(points, image_shape), run
    footprints = check_footprints(given, image_shape)
    if not hold:
        return footprints, run
    return footprints, run.changed(cell_diameter_px=run.cell_diameter_px or typical_diameter_px(footprints))


def as_footprints(given: sparse.csr_array | Seeds | None, radius_px: float) -> sparse.csr_array | None:
    """Make discs of seeds; footprints stay as they are.

    Parameters
    ----------
    given : scipy.sparse.csr_array, Seeds or None
        As :func:`take_footprints` returns them.
    radius_px : float
        Of the discs (px).
    """
    return given.footprints(radius_px) if isinstance(given, Seeds) else given


def require_footprints(name: str, given: Any, hold: bool) -> tuple[Method, bool]:
    """Look a method up, and say whether footprints are held: always by one that finds no cells.

    Parameters
    ----------
    name : str
        Of the method.
    given
        What the user gave, or None.
    hold : bool
        Whether they are to be held.

    Raises
    ------
    SettingsError
        The method finds no cells, and nothing was given.
    """
    method = find_method(name)
    if not method.finds and given is None:
        raise SettingsError(
            f"method {name!r} finds no cells: it reads the traces of footprints",
            "give them: --footprints FILE, init=, or gpucells.apply_footprints",
        )
    return method, hold or not method.finds


def _check_seeds(points: NDArray[Any], image_shape: tuple[int, int]) -> Seeds:
    seeds = points.astype(np.float64)
    outside = np.flatnonzero(~((seeds > -0.5) & (seeds < np.array(image_shape) - 0.5)).all(axis=1))
    if len(outside):
        row, column = seeds[outside[0]]
        raise InputError(
            f"seed {outside[0]} at row {row:g}, column {column:g} lies outside the image of {image_shape[0]} x "
            f"{image_shape[1]} px",
            "give (row, column) in pixels, counted from 0",
        )
    return Seeds(seeds, image_shape)


def check_footprints(given: Any, image_shape: tuple[int, int]) -> sparse.csr_array:
    """Make footprints of what a user gave.

    Parameters
    ----------
    given : Cells, path, sparse array, or array_like
        Cells or a file of them, of which the accepted ones count; a file of masks as
        :func:`gpucells.io.footprints_file.read_footprints` takes them; ``(n_cells, height * width)``, sparse or dense;
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
        given = read_footprints(given, image_shape)
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
