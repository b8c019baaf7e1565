"""The movie times the cells' traces where the cells are: those entries of ``movie @ traces.T`` that are asked for."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@numba.njit(cache=True, fastmath=True)
def _dot(row, trace):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for t in range(len(row)):
        total += row[t] * trace[t]
    return total


@numba.njit(cache=True, parallel=True)
def _products(movie, traces, start, pixels, out):  # type: ignore[no-untyped-def]
    for k in numba.prange(len(traces)):
        for e in range(start[k], start[k + 1]):
            out[e] = _dot(movie[pixels[e]], traces[k])


def support_products(
    movie: Float32, traces: Float32, start: NDArray[np.integer], pixels: NDArray[np.integer]
) -> Float32:
    """Multiply each trace with the pixels on its support.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    start : numpy.ndarray
        ``(n_cells + 1,)`` where each cell's pixels begin in ``pixels``.
    pixels : numpy.ndarray
        ``(n,)`` their numbers.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` float32, ``movie[p] @ traces[k]`` for each pixel ``p`` of each cell ``k``.
    """
    out = np.empty(len(pixels), np.float32)
    _products(
        movie, np.ascontiguousarray(traces, np.float32), np.asarray(start, np.int64), np.asarray(pixels, np.int64), out
    )
    return out
