"""From frames to pixels: averaging, whitening and summing up while the axes change places.

Files keep frames, solvers want each pixel's trace in one piece. Turning a block of frames around is a pass over memory
anyway, so what else each sample needs is done on the way, from the file's own integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

NATIVE = (np.uint8, np.uint16, np.int16, np.float32)  # types with code of their own; others become float32 first
LARGEST = np.float32(3.4028235e38)  # finite number of single precision
RUN = 64  # pixels turned around at once: a few cache lines of every frame
# NaN and infinity mean something here, so only what leaves them alone is allowed.
SAFE = {"reassoc", "nsz", "arcp", "contract"}


@dataclass(frozen=True)
class PixelSummary:
    """What the frames so far say of every pixel; samples that are not finite count as 0.

    Parameters
    ----------
    total : numpy.ndarray
        ``(n_pixels,)`` float64.
    maximum, minimum : numpy.ndarray
        ``(n_pixels,)`` float32.
    broken : numpy.ndarray
        ``(n_pixels,)`` bool: NaN or infinite in some frame.
    """

    total: NDArray[np.float64]
    maximum: Float32
    minimum: Float32
    broken: NDArray[np.bool_]

    @classmethod
    def empty(cls, n_pixels: int) -> PixelSummary:
        """Before the first frame."""
        return cls(
            np.zeros(n_pixels), np.full(n_pixels, -np.inf, np.float32), np.full(n_pixels, np.inf, np.float32),
            np.zeros(n_pixels, bool),
        )  # fmt: skip


def as_native(frames: NDArray[Any]) -> NDArray[Any]:
    """Return frames ``(n, n_pixels)`` in C order, of a type that has code of its own."""
    flat = np.ascontiguousarray(frames).reshape(len(frames), int(np.prod(frames.shape[1:])))
    return flat if flat.dtype.type in NATIVE and flat.dtype.isnative else flat.astype(np.float32)


@numba.njit(cache=True, parallel=True, fastmath=SAFE, error_model="numpy")
def _fold(frames, factor, averaged, first, total, maximum, minimum, broken):  # type: ignore[no-untyped-def]
    n_frames, n_pixels = frames.shape
    n_averaged = n_frames // factor
    inverse = np.float32(1) / np.float32(factor)
    for run in numba.prange((n_pixels + RUN - 1) // RUN):
        p0 = run * RUN
        n = min(RUN, n_pixels - p0)
        sums = np.zeros((n_averaged + 1, RUN), np.float32)
        high = np.full(RUN, -np.inf, np.float32)
        low = np.full(RUN, np.inf, np.float32)
        bad = np.zeros(RUN, np.float32)
        for t in range(n_frames):
            row = frames[t, p0 : p0 + n]
            k = min(t // factor, n_averaged)  # frames that fill no average go to the last row
            for i in range(n):
                value = np.float32(row[i])
                finite = abs(value) <= LARGEST
                bad[i] += np.float32(0) if finite else np.float32(1)
                value = value if finite else np.float32(0)
                sums[k, i] += value
                high[i] = value if value > high[i] else high[i]
                low[i] = value if value < low[i] else low[i]
        for i in range(n):
            maximum[p0 + i] = max(maximum[p0 + i], high[i])
            minimum[p0 + i] = min(minimum[p0 + i], low[i])
            broken[p0 + i] |= bad[i] > 0
        for k in range(n_averaged + 1):
            for i in range(n):
                total[p0 + i] += sums[k, i]
        for i in range(n):
            trace = averaged[p0 + i, first : first + n_averaged]
            for k in range(n_averaged):
                trace[k] = sums[k, i] * inverse


def fold_frames(frames: NDArray[Any], factor: int, averaged: Float32, first: int, summary: PixelSummary) -> None:
    """Average frames in time into pixels' traces, and sum them up.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n, height, width)`` of any real type.
    factor : int
        Frames averaged into one; those left over at the end are only summed up.
    averaged : numpy.ndarray
        ``(n_pixels, n_averaged)`` float32, C order, filled from column ``first`` on with ``n // factor`` averages.
    first : int
        Where to begin.
    summary : PixelSummary
        Brought up to date.
    """
    _fold(as_native(frames), factor, averaged, first, summary.total, summary.maximum, summary.minimum, summary.broken)


@numba.njit(cache=True, parallel=True, fastmath=SAFE, error_model="numpy")
def _profiles(frames, rows, columns):  # type: ignore[no-untyped-def]
    n_frames, height, width = frames.shape
    for t in numba.prange(n_frames):
        of_rows, of_columns = rows[t], columns[t]
        of_columns[:] = 0
        for y in range(height):
            row = frames[t, y]
            sum_ = np.float32(0)
            for x in range(width):
                size = abs(np.float32(row[x]))
                size = size if size <= LARGEST else np.float32(0)
                sum_ += size
                of_columns[x] += size
            of_rows[y] = sum_ / np.float32(width)
        for x in range(width):
            of_columns[x] /= np.float32(height)


def frame_profiles(frames: NDArray[Any]) -> tuple[Float32, Float32]:
    """Return the mean absolute value of every row and every column of every frame.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n, height, width)`` of any real type; what is not finite counts as 0.

    Returns
    -------
    rows, columns : numpy.ndarray
        ``(n, height)`` and ``(n, width)`` float32.
    """
    native = as_native(frames).reshape(frames.shape)
    rows, columns = np.empty(frames.shape[:2], np.float32), np.empty((len(frames), frames.shape[2]), np.float32)
    _profiles(native, rows, columns)
    return rows, columns


@numba.njit(cache=True, parallel=True, fastmath=SAFE, error_model="numpy")
def _whiten(frames, pixels, baseline, noise, out, first):  # type: ignore[no-untyped-def]
    n_frames = len(frames)
    n_pixels = len(pixels)
    for run in numba.prange((n_pixels + RUN - 1) // RUN):
        p0 = run * RUN
        n = min(RUN, n_pixels - p0)
        part = np.zeros((RUN, RUN), np.float32)
        for t0 in range(0, n_frames, RUN):
            width = min(RUN, n_frames - t0)
            for t in range(width):
                row = frames[t0 + t]
                seen = part[t]
                for i in range(n):
                    seen[i] = np.float32(row[pixels[p0 + i]])
            for t in range(width):
                seen = part[t]
                for i in range(RUN):
                    seen[i] = seen[i] if abs(seen[i]) <= LARGEST else np.float32(0)
            for i in range(n):
                trace = out[p0 + i, first + t0 : first + t0 + width]
                b = baseline[pixels[p0 + i]]
                w = np.float32(1) / noise[pixels[p0 + i]]
                for t in range(width):
                    trace[t] = (part[t, i] - b) * w


def whiten_frames(
    frames: NDArray[Any], baseline: Float32, noise: Float32, pixels: NDArray[np.integer],
    out: Float32 | None = None, first: int = 0,
) -> Float32:  # fmt: skip
    """Turn frames into pixels' traces in units of the noise.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n, height, width)`` of any real type; what is not finite counts as 0.
    baseline, noise : numpy.ndarray
        ``(height * width,)`` float32, taken off every pixel, and what it is divided by.
    pixels : numpy.ndarray
        Which pixels, by number.
    out : numpy.ndarray, optional
        ``(len(pixels), n_frames)`` float32, where the result goes, from frame ``first`` on; a new array if not given.
    first : int
        Where in ``out`` to begin.

    Returns
    -------
    numpy.ndarray
        ``(len(pixels), n)`` float32, or ``out``.
    """
    result = np.empty((len(pixels), len(frames)), np.float32) if out is None else out
    _whiten(
        as_native(frames), np.ascontiguousarray(pixels, np.uint64), np.ascontiguousarray(baseline, np.float32),
        np.ascontiguousarray(noise, np.float32), result, first,
    )  # fmt: skip
    return result


@numba.njit(cache=True, parallel=True, fastmath=SAFE, error_model="numpy")
def _unfold(traces, first, scale, frames):  # type: ignore[no-untyped-def]
    n_frames, n_pixels = frames.shape
    for run in numba.prange((n_pixels + RUN - 1) // RUN):
        p0 = run * RUN
        n = min(RUN, n_pixels - p0)
        part = np.empty((RUN, RUN), np.float32)
        for t0 in range(0, n_frames, RUN):
            width = min(RUN, n_frames - t0)
            for i in range(n):
                trace = traces[p0 + i, first + t0 : first + t0 + width]
                for t in range(width):
                    part[i, t] = trace[t] * scale[p0 + i]
            for t in range(width):
                row = frames[t0 + t, p0 : p0 + n]
                for i in range(n):
                    row[i] = part[i, t]


def unfold_frames(traces: Float32, first: int, n_frames: int, scale: Float32, out: Float32 | None = None) -> Float32:
    """Turn pixels' traces back into frames.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_pixels, n)`` float32.
    first, n_frames : int
        Which frames.
    scale : numpy.ndarray
        ``(n_pixels,)`` float32 factor on every pixel.
    out : numpy.ndarray, optional
        ``(n_frames, n_pixels)`` float32, where the result goes; a new array if not given.

    Returns
    -------
    numpy.ndarray
        ``(n_frames, n_pixels)`` float32.
    """
    frames = np.empty((n_frames, len(traces)), np.float32) if out is None else out
    _unfold(traces, first, np.ascontiguousarray(scale, np.float32), frames)
    return frames
