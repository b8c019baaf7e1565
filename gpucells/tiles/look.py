"""A first look at a movie: some of its frames, which pixels vary, and their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.model.movie import Movie
from gpucells.ops.difference_noise import ENOUGH, difference_noise
from gpucells.ops.fold_frames import PixelSummary, fold_frames
from gpucells.ops.row_blocks import each_block
from gpucells.preprocess.probe_frames import PIXELS
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
        ``(n, height, width)`` of the movie's type, what is not finite as 0; to be read only, since a movie that is held
        in memory hands out itself.
    starts : list of int
        Where in ``frames`` each block of consecutive frames begins.
    varies : numpy.ndarray
        ``(height, width)`` bool.
    noise : numpy.ndarray
        ``(height, width)`` float32 noise of single frames, from second differences: the few across two blocks do not
        move a median.
    """

    frames: NDArray[Any]
    starts: list[int]
    varies: NDArray[np.bool_]
    noise: Float32


def look_at(movie: Movie, fewest_frames: int) -> Look:
    """Read some frames, as many as a fixed number of bytes holds but not fewer than ``fewest_frames``."""
    frame_bytes = 4 * movie.height * movie.width
    blocks = probe(movie, max(fewest_frames, min(FRAMES, BYTES // frame_bytes)))
    starts = [0, *np.cumsum([len(block) for block in blocks]).tolist()]
    frames = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    n_frames, shape = len(frames), frames.shape[1:]
    varies, noise = np.empty(shape, bool), np.empty(shape, np.float32)
    broken = []

    def measure(some: slice) -> None:
        part = frames[:, some]
        seen = PixelSummary.empty(part[0].size)
        pixels = np.empty((part[0].size, n_frames), np.float32)
        fold_frames(part, 1, pixels, 0, seen)
        if seen.broken.any():
            broken.append(some)
        lowest = np.where(seen.broken, np.minimum(seen.minimum, 0), seen.minimum)
        highest = np.where(seen.broken, np.maximum(seen.maximum, 0), seen.maximum)
        varies[some] = (highest > lowest).reshape(part.shape[1:])
        noise[some] = difference_noise(pixels, ENOUGH).reshape(part.shape[1:])

    each_block(noise, measure, max(1, PIXELS // max(1, shape[1])))
    if broken:
        frames = np.nan_to_num(frames, nan=0.0, posinf=0.0, neginf=0.0)
    return Look(frames, starts[:-1], varies, noise)
