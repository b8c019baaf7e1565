"""Tiles of the image: cores that partition it, and halos wide enough for a whole cell and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import DeviceMemoryError

Float32 = NDArray[np.float32]

HALO_RADII = 5.0  # a cell on the core's edge reaches 2 radii, its neighbours and their halos 3 more
BYTES_PER_SAMPLE = 5.0  # the tile's movie in float32, and a quarter for all that is small


@dataclass(frozen=True)
class Tile:
    """A box of the image.

    Parameters
    ----------
    core_rows, core_columns : slice
        The pixels that this tile answers for; the cores of a grid partition the image.
    rows, columns : slice
        The pixels that it reads: the core and its halo, cut at the image's border.
    """

    core_rows: slice
    core_columns: slice
    rows: slice
    columns: slice

    @property
    def core_within(self) -> tuple[slice, slice]:
        """The core, counted from the corner of the tile's box."""
        return (
            slice(self.core_rows.start - self.rows.start, self.core_rows.stop - self.rows.start),
            slice(self.core_columns.start - self.columns.start, self.core_columns.stop - self.columns.start),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` with the halo."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def n_pixels(self) -> int:
        """Pixels with the halo."""
        return self.shape[0] * self.shape[1]


def cut(image_shape: tuple[int, int], n_rows: int, n_columns: int, halo_px: int) -> list[Tile]:
    """Cut an image into tiles of nearly equal cores.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    n_rows, n_columns : int
        Tiles along each axis.
    halo_px : int
        Width of the halo (px); it ends at the image's border.
    """
    height, width = image_shape
    tiles = []
    for i in range(n_rows):
        top, bottom = height * i // n_rows, height * (i + 1) // n_rows
        for j in range(n_columns):
            left, right = width * j // n_columns, width * (j + 1) // n_columns
            tiles.append(
                Tile(
                    slice(top, bottom),
                    slice(left, right),
                    slice(max(0, top - halo_px), min(height, bottom + halo_px)),
                    slice(max(0, left - halo_px), min(width, right + halo_px)),
                )
            )
    return tiles


def core_weights(tiles: list[Tile], hats: sparse.csr_array, image_shape: tuple[int, int]) -> Float32:
    """How much of each node of the background lies in each tile's core.

    Parameters
    ----------
    tiles : list of Tile
        Whose cores partition the image.
    hats : scipy.sparse.csr_array
        ``(n_hats, n_pixels)`` nodes over the whole image.
    image_shape : tuple of int
        ``(height, width)``.

    Returns
    -------
    numpy.ndarray
        ``(n_tiles, n_hats)`` float32.
    """
    weights = np.empty((len(tiles), hats.shape[0]), np.float32)
    for row, tile in zip(weights, tiles, strict=True):
        core = np.zeros(image_shape, np.float32)
        core[tile.core_rows, tile.core_columns] = 1
        row[:] = hats @ core.ravel()
    return weights


def plan_tiles(image_shape: tuple[int, int], n_frames: int, halo_px: int, budget_bytes: int) -> list[Tile]:
    """Choose the fewest tiles whose largest fits the budget.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    n_frames : int
        Frames that a tile holds (after averaging in time).
    halo_px : int
        Width of the halo (px).
    budget_bytes : int
        Memory for one tile.

    Raises
    ------
    DeviceMemoryError
        Not even the smallest useful tile (a core as wide as its halo) fits.
    """
    height, width = image_shape
    n_rows = n_columns = 1
    while True:
        tiles = cut(image_shape, n_rows, n_columns, halo_px)
        needed = max(tile.n_pixels for tile in tiles) * n_frames * BYTES_PER_SAMPLE
        if needed <= budget_bytes:
            return tiles
        if height / n_rows >= width / n_columns:
            n_rows += 1
        else:
            n_columns += 1
        if max(height / n_rows, width / n_columns) < max(halo_px, 1):
            raise DeviceMemoryError(
                f"the smallest tile that holds whole cells needs {needed / 1e6:,.0f} MB, {budget_bytes / 1e6:,.1f} MB "
                "are left for it",
                "give more memory (--memory), or average more frames (--set downsample_time_by=8)",
            )
