"""Level and noise of every pixel, from some of its frames; and the movie in units of them, in place.

A quantile and a median need order, not arithmetic: 512 samples a pixel know both to 5 % of the noise, so that the cost
does not grow with the movie.

Arrays on a GPU go to ``kernels/pixel_levels.cu``, all others to NumPy, a block of pixels at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.difference_noise import ENOUGH, difference_noise
from gpucells.ops.row_blocks import each_block

Float32 = NDArray[np.float32]

WARPS = 4  # a block of the CUDA kernels: with the samples of each it takes 32 KiB of shared memory
SOME_AT_ONCE = 256  # pixels that are copied, where only some are whitened
SAMPLES = 2 * ENOUGH  # more than are ever taken of a pixel: every second one of 2 * ENOUGH, each of 2 * ENOUGH - 1

_SIZES = (Define("WARPS", (WARPS,)), Define("SAMPLES", (SAMPLES,)))
STANDARDISE_PIXELS = Kernel(
    "pixel_levels.cu",
    "standardise_pixels",
    (
        Array("movie", "float32", ("n_pixels", "n_frames"), written=True), Scalar("n_pixels"), Scalar("n_frames"),
        Scalar("level_every", "int32"), Scalar("level_count", "int32"), Scalar("level_at", "int32"),
        Scalar("noise_every", "int32"), Scalar("noise_count", "int32"),
        Array("level", "float32", ("n_pixels",), written=True), Array("noise", "float32", ("n_pixels",), written=True),
        Array("finite", "bool", ("n_pixels",), written=True),
    ),
    threads=32 * WARPS, registers=96, defines=_SIZES,
)  # fmt: skip
WHITEN_PIXELS = Kernel(
    "pixel_levels.cu",
    "whiten_pixels",
    (
        Array("movie", "float32", ("n_pixels", "n_frames"), written=True), Scalar("n_frames"),
        Array("pixels", "int64", ("n_some",)), Scalar("n_some"), Array("level", "float32", ("n_pixels",)),
        Array("noise", "float32", ("n_pixels",)), Array("live", "bool", ("n_pixels",)),
    ),
    threads=32 * WARPS, registers=40, defines=_SIZES,
)  # fmt: skip


def standardise_pixels(movie: Float32, quantile: float) -> tuple[Float32, Float32, NDArray[np.bool_]]:
    """Measure every pixel, take its level off and divide it by its noise, in place and in one pass.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32, at least one frame; pixels with a NaN or an infinity become 0, those without
        noise are not divided.
    quantile : float
        Level of a pixel, 0 to 1.

    Returns
    -------
    level : numpy.ndarray
        ``(n_pixels,)`` float32, the quantile; 0 where a pixel was emptied.
    noise : numpy.ndarray
        ``(n_pixels,)`` float32, of the second differences; 0 where a pixel is constant, was emptied, or has fewer than
        3 frames.
    finite : numpy.ndarray
        ``(n_pixels,)`` bool, the pixels that were not emptied.
    """
    if is_cupy_array(movie):
        return _standardise_cuda(movie, quantile)
    level, noise = np.empty(len(movie), np.float32), np.empty(len(movie), np.float32)
    finite = np.empty(len(movie), bool)

    def standardise(rows: slice) -> None:
        some = movie[rows]
        finite[rows] = np.isfinite(some.sum(axis=1))  # a sum is finite only where all of it is: no array of flags
        some[~finite[rows]] = 0
        level[rows] = row_quantile(some, quantile)
        noise[rows] = difference_noise(some, ENOUGH)
        some -= level[rows, None]
        some /= np.where(noise[rows] > 0, noise[rows], np.float32(1))[:, None]

    each_block(movie, standardise)
    return level, noise, finite


def whiten_pixels(
    movie: Float32, level: Float32, noise: Float32, live: NDArray[np.bool_], some: NDArray[np.int64] | None = None
) -> None:
    """Take the level off and divide by the noise, in place.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    level : numpy.ndarray
        ``(n_pixels,)`` float32.
    noise : numpy.ndarray
        ``(n_pixels,)`` float32, above 0 where a pixel is live.
    live : numpy.ndarray
        ``(n_pixels,)`` bool; the other pixels are emptied, whatever they hold.
    some : numpy.ndarray, optional
        Numbers of the pixels that this is done to; all where not given.
    """
    if is_cupy_array(movie):
        _whiten_cuda(movie, level, noise, live, np.arange(len(movie)) if some is None else some)
        return

    def whiten(rows: Any) -> None:
        part = movie[rows]  # a copy where rows are numbers
        part -= level[rows, None]
        part /= noise[rows, None]
        part[~live[rows]] = 0
        movie[rows] = part

    if some is None:
        each_block(movie, whiten)
        return
    for first in range(0, len(some), SOME_AT_ONCE):
        whiten(some[first : first + SOME_AT_ONCE])


def row_quantile(rows: Float32, quantile: float) -> Float32:
    """``(n,)`` quantile of every row, from some of its samples where it has many."""
    every, _, at = _sampling(rows.shape[1], quantile)
    return np.partition(rows[:, ::every], at, axis=1)[:, at]


def _sampling(n_frames: int, quantile: float) -> tuple[int, int, int]:
    """Return which frames a quantile is taken of, how many those are, and where it is among them in order."""
    every = max(1, n_frames // ENOUGH)
    count = -(-n_frames // every)
    return every, count, min(int(quantile * count), count - 1)


def _standardise_cuda(movie: Any, quantile: float) -> tuple[Float32, Float32, NDArray[np.bool_]]:
    xp, (n_pixels, n_frames) = namespace_of(movie), movie.shape
    every, count, at = _sampling(n_frames, quantile)
    noise_every = max(1, (n_frames - 2) // ENOUGH)  # as difference_noise takes them
    level, noise, finite = xp.empty(n_pixels, np.float32), xp.empty(n_pixels, np.float32), xp.empty(n_pixels, bool)
    STANDARDISE_PIXELS.launch(
        (-(-n_pixels // WARPS),), (32, WARPS), movie=movie, level_every=every, level_count=count, level_at=at,
        noise_every=noise_every, noise_count=max(0, -(-(n_frames - 2) // noise_every)), level=level, noise=noise,
        finite=finite,
    )  # fmt: skip
    return to_host(level), to_host(noise), to_host(finite)


def _whiten_cuda(movie: Any, level: Float32, noise: Float32, live: NDArray[np.bool_], some: NDArray[np.int64]) -> None:
    xp = namespace_of(movie)
    WHITEN_PIXELS.launch(
        (-(-len(some) // WARPS),), (32, WARPS), movie=movie, pixels=xp.asarray(some, np.int64),
        level=xp.asarray(level, np.float32), noise=xp.asarray(noise, np.float32), live=xp.asarray(live, bool),
    )  # fmt: skip
