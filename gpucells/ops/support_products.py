"""The movie times the cells' traces where the cells are: those entries of ``movie @ traces.T`` that are asked for.

Movies on a GPU go to ``kernels/support_products.cu``, all others to numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

WARPS = 8  # a block of the CUDA kernel

SUPPORT_PRODUCTS = Kernel(
    "support_products.cu",
    "support_products",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Array("traces", "float32", ("n_cells", "n_frames")),
        Scalar("n_frames"), Array("cells", "int64", ("n_entries",)), Array("pixels", "int64", ("n_entries",)),
        Scalar("n_entries"), Array("out", "float32", ("n_entries",), written=True),
    ),
    threads=32 * WARPS, registers=48, defines=(Define("WARPS", (WARPS,)),),
)  # fmt: skip


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _products(movie, traces, start, pixels, out, begin, end):  # type: ignore[no-untyped-def]
    for k in range(begin, end):
        trace = traces[k]
        for e in range(start[k], start[k + 1]):
            row = movie[pixels[e]]
            total = np.float32(0)
            for t in range(len(row)):
                total += row[t] * trace[t]
            out[e] = total


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
    if is_cupy_array(movie):
        return _products_cuda(movie, traces, to_host(start), pixels)
    out = np.empty(len(pixels), np.float32)
    arguments = (
        movie, np.ascontiguousarray(traces, np.float32), np.ascontiguousarray(start, np.int64),
        np.ascontiguousarray(pixels, np.int64), out,
    )  # fmt: skip
    each_share(len(traces), lambda begin, end: _products(*arguments, begin, end))
    return out


def _products_cuda(movie: Any, traces: Any, start: NDArray[np.integer], pixels: Any) -> Float32:
    xp = namespace_of(movie)
    begin = np.asarray(start, np.int64)
    sizes = begin[1:] - begin[:-1]
    out = xp.empty(len(pixels), np.float32)
    SUPPORT_PRODUCTS.launch(
        (-(-len(out) // WARPS),), (32, WARPS), movie=movie, traces=xp.ascontiguousarray(traces, np.float32),
        cells=xp.asarray(np.repeat(np.arange(len(sizes)), sizes)), pixels=xp.ascontiguousarray(pixels, np.int64),
        out=out,
    )  # fmt: skip
    return to_host(out)
