"""Tiles of the image: cores that partition it, and halos wide enough for a whole cell and its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import DeviceMemoryError

Float32 = NDArray[np.float32]

HALO_RADII = 5.0  # a cell on the core's edge reaches 2 radii, its neighbours and their halos 3 more
BYTES_PER_SAMPLE = 5.0  # the tile's movie in float32, and a quarter for all that is small
# On a GPU the same, and for each pixel some frames that are filtered at once, ten times over while the transforms run.
# From the sizes of arrays, to be measured on one; where it is too little, tiles are split (gpucells.tiles.recovery).
DEVICE_BYTES_PER_SAMPLE = 5.0
DEVICE_BYTES_PER_PIXEL = 1600.0


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
        return Tile(self.core_rows, self.core_columns, self.core_rows, self.core_columns).within(self)

    def holds(self, other: Tile) -> bool:
        """Whether another tile's box lies in this one's."""
        return all(
            mine.start <= its.start and its.stop <= mine.stop
            for mine, its in ((self.rows, other.rows), (self.columns, other.columns))
        )

    def within(self, other: Tile) -> tuple[slice, slice]:
        """Return the box, counted from the corner of another tile's."""
        return (
            slice(self.rows.start - other.rows.start, self.rows.stop - other.rows.start),
            slice(self.columns.start - other.columns.start, self.columns.stop - other.columns.start),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` with the halo."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def n_pixels(self) -> int:
        """Pixels with the halo."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Room:
    """Memory that a tile has to fit.

    Parameters
    ----------
    n_bytes : int
        How much of it there is for one tile.
    bytes_per_sample : float
        What a tile takes of it for each pixel and frame.
    option : str
        What the user gives to have more.
    bytes_per_pixel : float
        What it takes for each pixel on top.
    """

    n_bytes: int
    bytes_per_sample: float = BYTES_PER_SAMPLE
    option: str = "--memory"
    bytes_per_pixel: float = 0.0

    def needed_bytes(self, n_pixels: int, n_frames: int) -> int:
        """Return what a tile takes, halo included."""
        return math.ceil(n_pixels * (n_frames * self.bytes_per_sample + self.bytes_per_pixel))


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
            tiles.append(with_halo(slice(top, bottom), slice(left, right), image_shape, halo_px))
    return tiles


def with_halo(core_rows: slice, core_columns: slice, image_shape: tuple[int, int], halo_px: int) -> Tile:
    """Return the tile of a core.

    Parameters
    ----------
    core_rows, core_columns : slice
        The core.
    image_shape : tuple of int
        ``(height, width)``.
    halo_px : int
        Width of the halo (px); it ends at the image's border.
    """
    rows, columns = (
        slice(max(0, core.start - halo_px), min(size, core.stop + halo_px))
        for core, size in zip((core_rows, core_columns), image_shape, strict=True)
    )
    return Tile(core_rows, core_columns, rows, columns)


def halves(tile: Tile, image_shape: tuple[int, int], halo_px: int) -> tuple[Tile, Tile] | None:
    """Cut a tile's core in two across its longer axis, each half with a halo of its own inside the tile's box.

    Parameters
    ----------
    tile : Tile
        With a halo of ``halo_px``.
    image_shape : tuple of int
        ``(height, width)``.
    halo_px : int
        Width of the halo (px).

    Returns
    -------
    tuple of Tile or None
        None where the halves would be smaller than the smallest useful tile.
    """
    height, width = (core.stop - core.start for core in (tile.core_rows, tile.core_columns))
    long, short = max(height, width), min(height, width)
    if long < 2 or not _is_useful(long / 2, short, halo_px):
        return None
    if height >= width:
        cores = [(rows, tile.core_columns) for rows in _in_two(tile.core_rows)]
    else:
        cores = [(tile.core_rows, columns) for columns in _in_two(tile.core_columns)]
    first, second = (with_halo(rows, columns, image_shape, halo_px) for rows, columns in cores)
    return first, second


def _in_two(pixels: slice) -> tuple[slice, slice]:
    middle = (pixels.start + pixels.stop) // 2
    return slice(pixels.start, middle), slice(middle, pixels.stop)


def _is_useful(height: float, width: float, halo_px: int) -> bool:
    """Whether a core is as wide as its halo, which below it would be most of the work."""
    return max(height, width) >= max(halo_px, 1)


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


def plan_tiles(
    image_shape: tuple[int, int], n_frames: int, halo_px: int, *rooms: Room, n_devices: int = 1
) -> list[Tile]:
    """Choose the fewest tiles whose largest fits; for several devices, those that are done soonest.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    n_frames : int
        Frames that a tile holds (after averaging in time).
    halo_px : int
        Width of the halo (px).
    *rooms : Room
        Memories that each tile has to fit, all of them: the host's, and a GPU's.
    n_devices : int
        Devices that solve a tile each at the same time. Where the image is so small that halves with their halos are
        as large as the whole, some of them get none.

    Raises
    ------
    DeviceMemoryError
        Not even the smallest useful tile (a core as wide as its halo) fits.
    """
    height, width = image_shape
    n_rows = n_columns = 1
    while True:
        tiles = cut(image_shape, n_rows, n_columns, halo_px)
        largest = max(tile.n_pixels for tile in tiles)
        tight = [room for room in rooms if room.needed_bytes(largest, n_frames) > room.n_bytes]
        if not tight:
            return tiles if n_devices == 1 else _shared_out(tiles, image_shape, halo_px, n_devices)
        if height / n_rows >= width / n_columns:
            n_rows += 1
        else:
            n_columns += 1
        if not _is_useful(height / n_rows, width / n_columns, halo_px):
            raise DeviceMemoryError(
                f"the smallest tile that holds whole cells needs "
                f"{tight[0].needed_bytes(largest, n_frames) / 1e6:,.0f} MB, {tight[0].n_bytes / 1e6:,.1f} MB are left "
                "for it",
                f"give more memory ({tight[0].option}), or average more frames (--set downsample_time_by=8)",
            )


def whole_field(image_shape: tuple[int, int], n_frames: int, *rooms: Room) -> list[Tile]:
    """Return one tile of the whole image, for a method that is told to see all of it at once.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    n_frames : int
        Frames that it holds (after averaging in time).
    *rooms : Room
        Memories that it has to fit.

    Raises
    ------
    DeviceMemoryError
        It does not.
    """
    tiles = cut(image_shape, 1, 1, 0)
    for room in rooms:
        needed = room.needed_bytes(tiles[0].n_pixels, n_frames)
        if needed > room.n_bytes:
            raise DeviceMemoryError(
                f"the whole field at once needs {needed / 1e6:,.0f} MB, {room.n_bytes / 1e6:,.1f} MB are left for it",
                f"give more memory ({room.option}), average more frames (--set downsample_time_by=8), or let it be cut "
                "into tiles (--set whole_field=false)",
            )
    return tiles


def _shared_out(fewest: list[Tile], image_shape: tuple[int, int], halo_px: int, n_devices: int) -> list[Tile]:
    """Cut into no larger tiles, so that the device with most to do has least: pixels of its tiles, halos included."""
    height, width = image_shape
    most_pixels = max(tile.n_pixels for tile in fewest)
    best, least = fewest, math.ceil(len(fewest) / n_devices) * most_pixels
    most_tiles = math.ceil(len(fewest) / n_devices) * n_devices
    for n_rows in range(1, min(most_tiles, height) + 1):
        for n_columns in range(math.ceil(len(fewest) / n_rows), min(most_tiles // n_rows, width) + 1):
            tiles = cut(image_shape, n_rows, n_columns, halo_px)
            largest = max(tile.n_pixels for tile in tiles)
            work = math.ceil(len(tiles) / n_devices) * largest
            is_possible = largest <= most_pixels and _is_useful(height / n_rows, width / n_columns, halo_px)
            if is_possible and (work, len(tiles)) < (least, len(best)):
                best, least = tiles, work
    return best
