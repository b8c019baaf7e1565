"""A first look at a movie: some of its frames, which pixels vary, and their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucells.model.movie import Movie
from gpucells.ops.difference_noise import ENOUGH, difference_noise
from gpucells.ops.row_blocks import each_block
from gpucells.tiles.frames import probe

Float32 = NDArray[np.float32]

FRAMES = 1500  # enough for some transients of every active cell
BYTES = 256 * 2**20  # of those frames as float32, at most


@dataclass(frozen=True)
class Look:
    """Some frames of a movie and what they tell.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n, height, width)`` float32, what is not finite as 0.
    starts : list of int
        Where in ``frames`` each block of consecutive frames begins.
    varies : numpy.ndarray
        ``(height, width)`` bool.
    noise : numpy.ndarray
        ``(height, width)`` float32 noise of single frames, from second differences: the few across two blocks do not
        move a median.
    """

    frames: Float32
    starts: list[int]
    varies: NDArray[np.bool_]
    noise: Float32


def look_at(movie: Movie, fewest_frames: int) -> Look:
    """Read some frames, as many as a fixed number of bytes holds but not fewer than ``fewest_frames``."""
    frame_bytes = 4 * movie.height * movie.width
    blocks = probe(movie, max(fewest_frames, min(FRAMES, BYTES // frame_bytes)))
    starts = [0, *np.cumsum([len(block) for block in blocks]).tolist()]
    frames = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    flat = frames.reshape(len(frames), -1)
    varies, noise = np.empty(flat.shape[1], bool), np.empty(flat.shape[1], np.float32)
    broken = []

    def measure(some: slice) -> None:
        pixels = np.ascontiguousarray(flat[:, some].T)
        if not np.isfinite(pixels.sum()):
            broken.append(some)
            np.nan_to_num(pixels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        varies[some] = pixels.max(axis=1) > pixels.min(axis=1)
        noise[some] = difference_noise(pixels, ENOUGH)

    each_block(noise, measure)
    if broken:
        np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    shape = frames.shape[1:]
    return Look(frames, starts[:-1], varies.reshape(shape), noise.reshape(shape))
