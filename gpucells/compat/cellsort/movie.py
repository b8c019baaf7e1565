"""A movie as CellSort prepares it: some of its frames, binned, each pixel relative to its mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.compat.parameters import is_empty
from gpucells.errors import InputError, SettingsError
from gpucells.io.open_movie import open_movie
from gpucells.model.movie import Movie
from gpucells.tiles.frames import blocks, frames_per_block
from gpucells.tiles.lost_frames import PickedFrames

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Relative:
    """A movie in units of each pixel's mean.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` float32, F / mean - 1; 0 where a pixel's mean is 0.
    mean : numpy.ndarray
        ``(height, width)`` of the movie's units.
    frame_means : numpy.ndarray
        ``(n_frames,)`` over all pixels.
    """

    frames: Float32
    mean: Float32
    frame_means: Float32

    @property
    def matrix(self) -> Float32:
        """``(n_pixels, n_frames)``, not a copy."""
        return self.frames.reshape(len(self.frames), -1).T


@contextmanager
def opened(fn: Any, flims: Any = None, badframes: Any = None) -> Iterator[Movie]:
    """Open some frames of a movie.

    Parameters
    ----------
    fn : path, array or Movie
        Anything :func:`gpucells.open_movie` takes.
    flims : pair of int, optional
        First and last frame, from 1.
    badframes : sequence of int, optional
        Frames to leave out, from 1.
    """
    with open_movie(fn) as movie:
        if is_empty(flims) and is_empty(badframes):
            yield movie
            return
        first, last = (1, movie.n_frames) if is_empty(flims) else (int(flims[0]), int(flims[-1]))
        if not 1 <= first <= last <= movie.n_frames:
            raise SettingsError(f"flims = [{first} {last}] of {movie.n_frames} frames", "frames count from 1")
        bad = np.zeros(0, np.int64) if is_empty(badframes) else np.asarray(badframes, np.int64).ravel()
        kept = np.setdiff1d(np.arange(first, last + 1), bad) - 1
        if len(kept) == 0:
            raise SettingsError("all frames are badframes", "leave some")
        yield replace(movie, reader=PickedFrames(movie.reader, kept))


def relative(movie: Movie, in_time: int = 1, in_space: int = 1) -> Relative:
    """Read a movie relative to each pixel's mean, binned.

    Parameters
    ----------
    movie : Movie
        The source; what is read is held in memory as float32.
    in_time, in_space : int
        Frames, and pixels a side, that are averaged into one; what is left over at the end is dropped.
    """
    n_frames, height, width = movie.n_frames // in_time, movie.height // in_space, movie.width // in_space
    if 0 in (n_frames, height, width):
        raise InputError(f"a movie of {movie.shape} has nothing left by dsamp = [{in_time} {in_space}]")
    frames = np.empty((n_frames, height, width), np.float32)
    for some, block in blocks(movie, frames_per_block(movie, in_time)):
        first, n = some.start // in_time, len(block) // in_time
        cut = block[: n * in_time, : height * in_space, : width * in_space]
        shape = (n, in_time, height, in_space, width, in_space)
        frames[first : first + n] = cut.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float64)
    frames[~np.isfinite(frames)] = 0
    mean = frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    frames /= np.where(mean == 0, 1, mean)
    frames -= mean != 0
    return Relative(frames, mean, frames.mean(axis=(1, 2), dtype=np.float64).astype(np.float32))
