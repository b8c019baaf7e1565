r"""Noise of traces and pixels, from the upper half of the spectrum.

Signals of calcium indicators are slow, so what is left above a quarter of the frame rate is noise. For a row of
:math:`n` frames with Fourier coefficients :math:`F_j`,

.. math:: \sigma^2 = \operatorname{mean}_{j} |F_j|^2 / n, \qquad
          j = \lfloor n/4 \rfloor - 1, \dots, \lfloor n/2 \rfloor - 1,

which are the bins that EXTRACT uses (Inan et al. 2021): from just below .25 cycles a frame up to, not with, the
Nyquist frequency. The estimate of a row of white noise has a relative standard error of :math:`n^{-1/2}`.
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat
import numpy as np

from gpucells.errors import InputError

CHUNK_BYTES = 16 * 2**20  # work space of one block of rows; larger ones fall out of the cache and gain nothing
SMALLEST_FRAMES = 4  # below, no bin but the mean and the Nyquist frequency exists


def noise_std(
    movie: Any, axis: int = -1, segment_frames: int | None = None, max_segments: int | None = None, workers: int = 1
) -> Any:
    """Estimate the standard deviation of the noise of every row.

    Parameters
    ----------
    movie : array
        ``(n_rows, n_frames)`` of any real type, or ``(n_frames, n_rows)`` with ``axis=0``; more axes are kept. NumPy
        or CuPy.
    axis : int
        The axis of frames: 0 or the last.
    segment_frames : int, optional
        Average the estimate over segments of this many frames instead of one transform of all: cheaper, and the same
        for white noise. All frames in one segment where not given, as the original does.
    max_segments : int, optional
        Use at most this many segments, evenly spread over the movie. 4 of 512 frames give 2 % standard error.
    workers : int
        Threads of the transform (NumPy arrays).

    Returns
    -------
    array
        ``movie``'s shape without ``axis``; float32, or float64 where the movie is. NaN where a row has a NaN.

    Raises
    ------
    InputError
        Fewer than 4 frames, or an axis that is neither the first nor the last.
    """
    if axis not in (0, -1, movie.ndim - 1):
        raise InputError(f"axis = {axis} of a movie with {movie.ndim} axes", "frames must be the first or the last")
    n_frames = int(movie.shape[axis])
    if n_frames < SMALLEST_FRAMES:
        raise InputError(f"noise cannot be told from {n_frames} frames", f"give at least {SMALLEST_FRAMES}")
    first = axis == 0
    shape = tuple(movie.shape[1:] if first else movie.shape[:-1])
    rows = movie.reshape((n_frames, -1) if first else (-1, n_frames))
    segments = _segments(n_frames, segment_frames, max_segments)
    xp = array_api_compat.array_namespace(movie)
    dtype = xp.float64 if movie.dtype == xp.float64 else xp.float32
    noise = xp.zeros(math.prod(shape), dtype=dtype, device=array_api_compat.device(movie))
    length = segments[0].stop - segments[0].start
    n_rows = max(1, CHUNK_BYTES // (12 * length))  # 4 bytes of input and 8 of spectrum a sample
    for start in range(0, noise.shape[0], n_rows):
        some = slice(start, start + n_rows)
        for frames in segments:
            block = rows[frames, some] if first else rows[some, frames]
            noise[some] += _upper_power(xp, xp.asarray(block, dtype=dtype), 0 if first else 1, workers)
    return xp.sqrt(noise / len(segments)).reshape(shape)


def _segments(n_frames: int, segment_frames: int | None, max_segments: int | None) -> list[slice]:
    length = min(n_frames, segment_frames or n_frames)
    if length < SMALLEST_FRAMES:
        raise InputError(f"segment_frames = {segment_frames} is too short", f"use {SMALLEST_FRAMES} or more")
    count = max(1, min(n_frames // length, max_segments or n_frames))
    starts = np.linspace(0, n_frames - length, count).round().astype(int)
    return [slice(int(start), int(start) + length) for start in starts]


def _upper_power(xp: Any, block: Any, axis: int, workers: int) -> Any:
    n_frames = block.shape[axis]
    if array_api_compat.is_numpy_array(block):
        from scipy import fft

        spectrum = fft.rfft(block, axis=axis, workers=workers)
    else:
        spectrum = xp.fft.rfft(block, axis=axis)
    upper = slice(max(1, n_frames // 4 - 1), n_frames // 2)
    half = spectrum[upper] if axis == 0 else spectrum[:, upper]
    return xp.mean(xp.real(half) ** 2 + xp.imag(half) ** 2, axis=axis) / n_frames
