"""Going over a movie in blocks of whole frames: how every pass reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpucells.device.memory import free_host_memory_bytes
from gpucells.device.upload import upload
from gpucells.model.movie import Movie

Key = TypeVar("Key")

HELD_SHARE = 1 / 16  # of the memory that a movie may take to be held
BLOCK_BYTES = 48 * 2**20  # float32 bytes of a block of frames
SHORTEST_BLOCK = 250  # frames of a probe in a row: ten seconds at a usual rate, several transients long


class HeldFrames:
    """Frames ``(n_frames, height, width)`` that are in memory, as the reader of a movie."""

    def __init__(self, frames: NDArray[Any]) -> None:
        n_frames, height, width = frames.shape
        self.shape, self.dtype = (n_frames, height, width), frames.dtype
        self._frames = frames

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Return that box, not a copy of it."""
        return self._frames[frames, rows, columns]

    def close(self) -> None:
        """Do nothing: there is no file."""


def hold_small(movie: Movie, memory_bytes: int | None) -> Movie:
    """Read a movie that is small beside the memory once and for all, instead of in each of four passes.

    Parameters
    ----------
    movie : Movie
        The source.
    memory_bytes : int or None
        What the run may use; half of what is free where not given.
    """
    budget = memory_bytes or free_host_memory_bytes() // 2
    if int(np.prod(movie.shape)) * movie.dtype.itemsize > HELD_SHARE * budget:
        return movie
    return replace(movie, reader=HeldFrames(movie.read()), scale=1.0, offset=0.0)


def frames_per_block(
    movie: Movie, multiple: int = 1, budget_bytes: int = BLOCK_BYTES, most_bytes: int | None = None
) -> int:
    """Return how many frames a block may have.

    Parameters
    ----------
    movie : Movie
        The source.
    multiple : int
        The result is a multiple of it, and at least it, as far as ``most_bytes`` allows.
    budget_bytes : int
        Size of the block as float32 that is aimed at.
    most_bytes : int, optional
        Size that it may not exceed, but for a single frame.
    """
    frame_bytes = 4 * movie.height * movie.width
    n_frames = max(multiple, budget_bytes // frame_bytes // multiple * multiple)
    return n_frames if most_bytes is None else max(1, min(n_frames, most_bytes // frame_bytes))


def blocks(movie: Movie, n_frames: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Read the movie block by block, in order.

    Yields
    ------
    slice
        The frames.
    numpy.ndarray
        ``(n, height, width)`` of the movie's type.
    """
    for start in range(0, movie.n_frames, n_frames):
        some = slice(start, min(start + n_frames, movie.n_frames))
        yield some, movie.read(some)


def sent_to(device: str, blocks: Iterable[tuple[Key, NDArray[Any]]]) -> Iterable[tuple[Key, Any]]:
    """Return blocks as arrays of a device, which must be the current one if it is a GPU."""
    return blocks if device == "cpu" else upload(blocks)


def probe(movie: Movie, n_frames: int, n_blocks: int = 3) -> list[NDArray[Any]]:
    """Read a few blocks of consecutive frames, evenly spread: enough to know noise, cell size and decay.

    Fewer blocks where each would be short: long transients and a pixel's baseline need some time in a row. Who joins
    the blocks minds the joins where time matters; a median of differences need not, 2 of them span a join.

    Parameters
    ----------
    movie : Movie
        The source.
    n_frames : int
        Frames to read in all.
    n_blocks : int
        Places to read them at, at most.

    Returns
    -------
    list of numpy.ndarray
        ``(n, height, width)`` of the movie's type each, to be read only; one block where the movie is short.
    """
    if movie.n_frames <= n_frames:
        return [movie.read()]
    n_blocks = max(1, min(n_blocks, n_frames // SHORTEST_BLOCK))
    length = n_frames // n_blocks
    last = movie.n_frames - length
    starts = np.linspace(0, last, n_blocks).astype(int) if n_blocks > 1 else [last // 2]
    return [movie.read(slice(int(start), int(start) + length)) for start in starts]


def blocks_within(movie: Movie, n_frames: int, margin: int) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Read the movie block by block, each with some frames of its neighbours.

    Parameters
    ----------
    movie : Movie
        The source.
    n_frames : int
        Frames of a block.
    margin : int
        Frames of its neighbours on either side.

    Yields
    ------
    slice
        The block's own frames.
    slice
        The frames that were read: up to ``margin`` more on either side.
    numpy.ndarray
        ``(n, height, width)`` of the movie's type, what was read.
    """
    for start in range(0, movie.n_frames, n_frames):
        stop = min(start + n_frames, movie.n_frames)
        read = slice(max(0, start - margin), min(stop + margin, movie.n_frames))
        yield slice(start, stop), read, movie.read(read)
