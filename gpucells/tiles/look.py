"""A first look at a movie: some of its frames, which pixels vary, and their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucells.model.movie import Movie
from gpucells.ops.difference_noise import ENOUGH, difference_noise
from gpucells.ops.fold_frames import PixelSummary, fold_frames
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
    shape = frames.shape[1:]
    summary = PixelSummary.empty(frames[0].size)
    pixels = np.empty((frames[0].size, len(frames)), np.float32)
    fold_frames(frames, 1, pixels, 0, summary)
    if summary.broken.any():
        np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    noise = np.empty(len(pixels), np.float32)

    def measure(rows: slice) -> None:
        noise[rows] = difference_noise(pixels[rows], ENOUGH)

    each_block(pixels, measure)
    return Look(frames, starts[:-1], (summary.maximum > summary.minimum).reshape(shape), noise.reshape(shape))
