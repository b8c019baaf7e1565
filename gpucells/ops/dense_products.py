"""A few whole images, or a few traces, times the movie: the movie is read once for all of them.

The host's bodies are not BLAS: products this thin are bound by memory, and where the cores are busy its threads spend
more time on waiting for each other than on the product. Movies on a GPU go to cuBLAS.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

PIXELS = 4096  # whose products are summed up in one piece: always the same pieces, whatever the number of threads


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _images(movie, images, out, begin, end):  # type: ignore[no-untyped-def]
    for piece in range(begin, end):
        total = out[piece]
        for p in range(piece * PIXELS, min((piece + 1) * PIXELS, len(movie))):
            row = movie[p]
            for k in range(len(images)):
                weight, line = images[k, p], total[k]
                for t in range(len(row)):
                    line[t] += weight * row[t]


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _traces(movie, traces, out, begin, end):  # type: ignore[no-untyped-def]
    for p in range(begin, end):
        row = movie[p]
        for k in range(len(traces)):
            trace, total = traces[k], np.float32(0)
            for t in range(len(row)):
                total += row[t] * trace[t]
            out[k, p] = total


def image_products(movie: Any, images: Float32) -> Float32:
    """Multiply whole images with every frame.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, NumPy's or CuPy's.
    images : numpy.ndarray
        ``(n_images, n_pixels)`` float32.

    Returns
    -------
    numpy.ndarray
        ``(n_images, n_frames)`` float32, ``images @ movie``.
    """
    if is_cupy_array(movie):
        return np.asarray(to_host(namespace_of(movie).asarray(images, np.float32) @ movie), np.float32)
    n_pieces = -(-len(movie) // PIXELS)
    out = np.zeros((n_pieces, len(images), movie.shape[1]), np.float32)
    weights = np.ascontiguousarray(images, np.float32)
    each_share(n_pieces, lambda begin, end: _images(movie, weights, out, begin, end))
    return np.asarray(out.sum(axis=0), np.float32)


def trace_products(movie: Any, traces: Float32) -> Float32:
    """Multiply traces with every pixel.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, NumPy's or CuPy's.
    traces : numpy.ndarray
        ``(n_traces, n_frames)`` float32.

    Returns
    -------
    numpy.ndarray
        ``(n_traces, n_pixels)`` float32, ``traces @ movie.T``.
    """
    if is_cupy_array(movie):
        products = movie @ namespace_of(movie).asarray(np.ascontiguousarray(traces.T), np.float32)
        return np.ascontiguousarray(to_host(products).T, np.float32)
    out = np.empty((len(traces), len(movie)), np.float32)
    weights = np.ascontiguousarray(traces, np.float32)
    each_share(len(movie), lambda begin, end: _traces(movie, weights, out, begin, end))
    return out
