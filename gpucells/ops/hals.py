r"""Temporal sweeps of HALS: block coordinate descent over the traces, with the movie long out of sight.

With footprints :math:`A`, :math:`U = A Y` (`frame_products.project`) and :math:`V = A A^\top`, each row in turn is
set to its best value given all others (Cichocki & Phan 2009; the temporal step of CNMF, Pnevmatikakis et al. 2016),

.. math:: C_m \leftarrow \max(l_m,\; C_m + (U_m - V_{m \cdot} C) / V_{mm}),

in the order of the rows, in place. Frames do not know of each other, so all sweeps over a block of frames are done
while the cache, or a GPU's shared memory, holds it: C is read and written once, and on the CPU U is read once.

Rows that share no pixel could be set at the same time. Levels say which: a row's level is one above the highest of the
rows before it that it overlaps, so that a level at a time gives the very numbers that a row at a time does. The CUDA
body goes by levels.

Spatial sweeps are `masked_lasso` with ``n_sweeps``. Traces on a GPU go to ``kernels/hals.cu``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import InputError
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

BLOCK_BYTES = 2**19  # of traces and products on the CPU: what a second-level cache holds
THREADS, WIDE = 256, 128  # of the CUDA kernel; a row with so many neighbours is summed up by all threads
SHARED_BYTES = 46 << 10  # of traces; 48 KiB with the partial sums

HALS = Kernel(
    "hals.cu",
    "hals",
    (
        Array("traces", "float32", ("n_rows", "n_frames"), written=True), Scalar("n_rows"), Scalar("n_frames"),
        Array("products", "float32", ("n_rows", "n_frames")), Array("start", "int32", ("n_starts",)),
        Array("columns", "int32", ("n_pairs",)), Array("gram", "float32", ("n_pairs",)),
        Array("inverse", "float32", ("n_rows",)), Array("lower", "float32", ("n_rows",)),
        Array("levels", "int32", ("n_levels_and_one",)), Scalar("n_levels"), Array("order", "int32", ("n_rows",)),
        Scalar("n_sweeps"), Scalar("in_shared"),
    ),
    threads=THREADS, registers=64, defines=(Define("WIDE", (WIDE,)),),
)  # fmt: skip


@numba.njit(cache=True, fastmath={"nsz", "contract"}, error_model="numpy", nogil=True)
def _sweep(held, wanted, start, columns, gram, inverse, lower, left):  # type: ignore[no-untyped-def]
    width = len(left)
    for m in range(len(held)):
        if inverse[m] == 0:
            continue
        row, goal = held[m], wanted[m]
        for f in range(width):
            left[f] = goal[f]
        for e in range(start[m], start[m + 1]):
            other, v = held[columns[e]], gram[e]
            for f in range(width):
                left[f] -= v * other[f]
        by, low = inverse[m], lower[m]
        for f in range(width):
            new = row[f] + left[f] * by
            row[f] = new if new > low else low


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _sweep_blocks(traces, products, start, columns, gram, inverse, lower, n_sweeps, width, begin, end):  # type: ignore[no-untyped-def]
    n_rows, n_frames = traces.shape
    held, wanted = np.zeros((n_rows, width), np.float32), np.zeros((n_rows, width), np.float32)
    left = np.empty(width, np.float32)
    for block in range(begin, end):
        t0 = block * width
        n = min(width, n_frames - t0)
        for m in range(n_rows):
            for f in range(n):
                held[m, f], wanted[m, f] = traces[m, t0 + f], products[m, t0 + f]
        for _ in range(n_sweeps):
            _sweep(held, wanted, start, columns, gram, inverse, lower, left)
        for m in range(n_rows):
            for f in range(n):
                traces[m, t0 + f] = held[m, f]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _levels(start, columns, level):  # type: ignore[no-untyped-def]
    for m in range(len(level)):
        level[m] = 0
        for e in range(start[m], start[m + 1]):
            if columns[e] < m:
                level[m] = max(level[m], level[columns[e]] + 1)


def hals_traces(
    traces: Float32, products: Float32, gram: sparse.csr_array, *, n_sweeps: int = 2, lower: ArrayLike | None = None
) -> None:
    """Improve traces in place.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_rows, n_frames)`` float32, C order: cells, then background. NumPy or CuPy; they pick the body.
    products : numpy.ndarray
        ``(n_rows, n_frames)`` float32 ``U = A Y``.
    gram : scipy.sparse.csr_array
        ``(n_rows, n_rows)`` ``V = A A'``, symmetric. A row without a diagonal, a cell without pixels, stays as it is.
    n_sweeps : int
        Over all rows; 2 in CNMF.
    lower : numpy.ndarray, optional
        ``(n_rows,)`` least value: 0 (default), or ``-inf`` for a background that may be negative.

    Raises
    ------
    InputError
        Shapes or types do not fit.
    """
    n_rows = traces.shape[0]
    if traces.dtype != np.float32 or not traces.flags.c_contiguous:
        raise InputError(
            f"traces are {traces.dtype}, C order: {traces.flags.c_contiguous}", "they are changed in place"
        )
    if products.shape != traces.shape or gram.shape != (n_rows, n_rows):
        raise InputError(f"traces {traces.shape}, products {products.shape} and gram {gram.shape} do not fit")
    rows = sparse.csr_array(gram, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    diagonal = rows.diagonal()
    inverse = np.divide(1, diagonal, out=np.zeros(n_rows, np.float32), where=diagonal > 0)
    least = np.zeros(n_rows, np.float32) if lower is None else np.array(lower, np.float32)
    if least.shape != (n_rows,):
        raise InputError(f"lower has shape {least.shape}; ({n_rows},) is wanted")
    start, columns = rows.indptr.astype(np.int32), rows.indices.astype(np.int32)
    if n_rows == 0 or traces.shape[1] == 0:
        return
    arguments = start, columns, rows.data, inverse, least
    if is_cupy_array(traces):
        _sweep_cuda(traces, products, *arguments, n_sweeps)
        return
    width = int(np.clip(BLOCK_BYTES // (8 * n_rows) // 16 * 16, 16, 256))
    goals = np.ascontiguousarray(products, np.float32)
    n_blocks = -(-traces.shape[1] // width)
    each_share(n_blocks, lambda begin, end: _sweep_blocks(traces, goals, *arguments, n_sweeps, width, begin, end))


def _sweep_cuda(
    traces: Any, products: Any, start: Any, columns: Any, gram: Any, inverse: Any, lower: Any, n_sweeps: int
) -> None:
    xp = namespace_of(traces)
    n_rows, n_frames = traces.shape
    level = np.empty(n_rows, np.int32)
    _levels(start, columns, level)
    levels = np.concatenate([[0], np.cumsum(np.bincount(level))]).astype(np.int32)
    order = np.argsort(level, kind="stable").astype(np.int32)
    width = next((w for w in (32, 16, 8, 4, 2, 1) if 4 * w * n_rows <= SHARED_BYTES), 0)
    in_shared, width = int(width > 0), width or 32  # more rows than fit: the caches hold the block
    HALS.launch(
        (-(-n_frames // width),), (width, THREADS // width), shared_bytes=4 * width * n_rows * in_shared,
        traces=traces, products=xp.ascontiguousarray(xp.asarray(products, np.float32)), start=xp.asarray(start),
        columns=xp.asarray(columns), gram=xp.asarray(gram), inverse=xp.asarray(inverse), lower=xp.asarray(lower),
        levels=xp.asarray(levels), n_levels=len(levels) - 1, order=xp.asarray(order), n_sweeps=n_sweeps,
        in_shared=in_shared,
    )  # fmt: skip
