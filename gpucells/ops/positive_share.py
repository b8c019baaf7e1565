"""In what share of a cell's pixels a frame is brighter than the model: what adaptive kappa is estimated from.

``share[c, t] = #{p in c : movie[p, t] - sum_k footprints[k, p] traces[k, t] > 0} / #{p in c}`` with the pixels of cell
c those where its footprint is above a share of its maximum (.01 in EXTRACT 1.3). Light that the model lacks makes it
larger than a half.

A movie on a GPU goes to ``kernels/positive_share.cu``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

BLOCK = 256  # frames a block: its counts stay in the cache
LEVEL = 0.01  # share of a footprint's maximum that belongs to the cell (EXTRACT 1.3)
THREADS, RUN = 256, 16  # of the CUDA kernel: frames of a block, and pixels that a thread goes over

POSITIVE_SHARE = Kernel(
    "positive_share.cu",
    "positive_share",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_frames"),
        Array("pixels", "int32", ("n_covered",)), Scalar("n_covered"), Array("start", "int32", ("n_starts",)),
        Array("cells", "int32", ("n_entries",)), Array("weights", "float32", ("n_entries",)),
        Array("least", "float32", ("n_cells",)), Array("traces", "float32", ("n_cells", "n_frames")),
        Array("count", "int32", ("n_cells", "n_frames"), written=True),
    ),
    threads=THREADS, registers=40, defines=(Define("RUN", (RUN,)),),
)  # fmt: skip


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _count(movie, pixels, start, cells, weights, least, traces, out, begin, end):  # type: ignore[no-untyped-def]
    n_frames = movie.shape[1]
    for b in range(begin, end):
        t0 = b * BLOCK
        width = min(BLOCK, n_frames - t0)
        residual = np.empty(BLOCK, np.float32)
        for i in range(len(pixels)):
            p = pixels[i]
            for f in range(width):
                residual[f] = movie[p, t0 + f]
            for e in range(start[i], start[i + 1]):
                row = traces[cells[e]]
                a = weights[e]
                for f in range(width):
                    residual[f] -= a * row[t0 + f]
            for e in range(start[i], start[i + 1]):
                if weights[e] > least[cells[e]]:
                    row = out[cells[e]]
                    for f in range(width):
                        row[t0 + f] += np.float32(1) if residual[f] > 0 else np.float32(0)


def _count_here(movie: Float32, graph: OverlapGraph, least: Float32, traces: Float32) -> Float32:
    out = np.zeros((len(least), movie.shape[1]), np.float32)
    model = np.ascontiguousarray(traces, np.float32)
    arguments = movie, graph.pixels, graph.start, graph.cells, graph.weights, least, model, out
    each_share(-(-movie.shape[1] // BLOCK), lambda begin, end: _count(*arguments, begin, end))
    return out


def _count_on_device(movie: Any, graph: OverlapGraph, least: Float32, traces: Any) -> Float32:
    import cupy

    count = cupy.zeros((len(least), movie.shape[1]), np.int32)
    POSITIVE_SHARE.launch(
        (-(-len(graph.pixels) // RUN), min(-(-movie.shape[1] // THREADS), 65535)), (THREADS,), movie=movie,
        pixels=cupy.asarray(graph.pixels), start=cupy.asarray(graph.start), cells=cupy.asarray(graph.cells),
        weights=cupy.asarray(graph.weights), least=cupy.asarray(least),
        traces=cupy.ascontiguousarray(cupy.asarray(traces), np.float32), count=count,
    )  # fmt: skip
    return to_host(count).astype(np.float32)


def positive_share(
    movie: Float32,
    footprints: sparse.csr_array,
    traces: Float32,
    *,
    level: float = LEVEL,
    graph: OverlapGraph | None = None,
) -> Float32:
    """Count where the residual is positive.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 without baseline and background.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, non-negative.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    level : float
        Share of a footprint's maximum above which a pixel belongs to the cell.
    graph : OverlapGraph, optional
        Of ``footprints``, where it is at hand.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32 in 0 to 1; a half where a cell has no pixel.
    """
    n_cells, n_frames = footprints.shape[0], movie.shape[1]
    if n_cells == 0:
        return np.zeros((n_cells, n_frames), np.float32)
    graph = graph or OverlapGraph.of(footprints)
    peak = np.zeros(n_cells, np.float32)
    np.maximum.at(peak, graph.cells, graph.weights)
    least = np.float32(level) * peak
    size = np.bincount(graph.cells[graph.weights > least[graph.cells]], minlength=n_cells)
    count = _count_on_device if is_cupy_array(movie) else _count_here
    out = count(movie, graph, least, traces)
    out /= np.maximum(size, 1).astype(np.float32)[:, None]
    out[size == 0] = 0.5
    return out
