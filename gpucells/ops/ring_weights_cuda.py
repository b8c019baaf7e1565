"""The ring model's weights on a GPU: products by cuBLAS, all else by ``kernels/ring_weights.cu``.

`ring_weights` has the equations and the order of the passes; these are its three steps for movies on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Define, Kernel, Scalar

WARPS, FRAMES = 4, 256  # of a thread block: of the solver, and of the prediction
SHARED_BYTES = 46 << 10
SCRATCH_BLOCKS = 1024  # whose matrices lie in memory at once, where rings are larger: 69 MB for 128 neighbours
NEAR_BYTES = 64 << 20  # of float64 deviations that are multiplied at once

_MACROS = (Define("WARPS", (WARPS,)),)
SOLVE_RINGS = Kernel(
    "ring_weights.cu",
    "solve_rings",
    (
        Array("sums", "float64", ("n_sums",)), Array("lead", "int64", ("n_blocks",)),
        Array("follow", "int64", ("n_blocks",)), Array("start", "int32", ("n_starts",)),
        Array("columns", "int32", ("n_entries",)), Scalar("ridge", "float64"), Scalar("dependent", "float64"),
        Scalar("first"), Scalar("widest"), Array("scratch", "float64", ("n_scratch",), written=True),
        Scalar("in_shared"), Array("weights", "float32", ("n_entries",), written=True),
        Array("explained", "float32", ("n_blocks",), written=True),
    ),
    threads=32 * WARPS, registers=64, defines=_MACROS,
)  # fmt: skip
PREDICT_BLOCKS = Kernel(
    "ring_weights.cu",
    "predict_blocks",
    (
        Array("movie", "float32", ("n_blocks", "n_frames")), Scalar("n_frames"),
        Array("start", "int32", ("n_starts",)), Array("columns", "int32", ("n_entries",)),
        Array("weights", "float32", ("n_entries",)), Array("means", "float32", ("n_blocks",)),
        Array("above", "float32", ("n_blocks",)), Scalar("clipping"), Scalar("t0"), Scalar("first"),
        Array("out", "float32", ("n_some", "n_out"), written=True), Scalar("n_out"),
    ),
    threads=FRAMES, registers=64, defines=_MACROS,
)  # fmt: skip


def multiply_tiles(rows: Any, means: Any, inside: Any, near: int, own: tuple[int, int], out: Any) -> None:
    """Multiply each tile in the first of some rows of blocks with all that is near it, below or beside.

    Parameters
    ----------
    rows : cupy.ndarray
        ``(n_rows, width, n_frames)`` float32.
    means : cupy.ndarray
        ``(n_rows, width)`` float64, taken off.
    inside : numpy.ndarray
        ``(n_rows, width)`` bool; the others count as constant.
    near : int
        Columns on either side.
    own : tuple of int
        Rows and columns of a tile.
    out : cupy.ndarray
        ``(n_tiles, rows * columns, rows of the window, columns of the window)`` float64. What lies beyond the border is
        filled with products of what lies at it, which no ring asks for.
    """
    xp, (n_rows, width, n_frames), (n_tiles, _, high, wide) = namespace_of(rows), rows.shape, out.shape
    y = np.minimum(np.arange(high), n_rows - 1)
    x = np.clip(np.arange(n_tiles)[:, None] * own[1] - near + np.arange(wide), 0, width - 1)
    window = xp.asarray((y[:, None] * width + x[:, None, :]).reshape(n_tiles, -1))
    tile = xp.asarray((np.arange(own[0])[:, None] * wide + near + np.arange(own[1])).ravel())
    counted, centre = xp.asarray(inside).ravel()[window][..., None], means.reshape(-1)[window][..., None]
    movie, products = rows.reshape(n_rows * width, n_frames), out.reshape(n_tiles, -1, high * wide)
    products[...] = 0
    n = max(NEAR_BYTES // (8 * window.size), 1)
    for t in range(0, n_frames, n):
        part = xp.where(counted, xp.take(movie[:, t : t + n], window, axis=0) - centre, 0.0)
        products += xp.matmul(xp.take(part, tile, axis=1), part.transpose(0, 2, 1))


def solve_rings(
    sums: Any, lists: tuple[Any, Any, Any, Any], widest: int, ridge: float, dependent: float, weights: Any,
    explained: Any, begin: int, end: int,
) -> None:  # fmt: skip
    """Fit some blocks by their rings.

    Parameters
    ----------
    sums : cupy.ndarray
        ``(n,)`` float64 products.
    lists : tuple of cupy.ndarray
        Two numbers a block whose sum is where a product lies, where each block's neighbours begin, and which they are.
    widest : int
        Neighbours of the block that has most.
    ridge, dependent : float
        As in `ring_weights`.
    weights, explained : cupy.ndarray
        Results, of all neighbours and of all blocks.
    begin, end : int
        Which blocks.
    """
    xp, (lead, follow, start, columns) = namespace_of(sums), lists
    matrix = widest * (widest + 3) // 2
    in_shared = 8 * (3 * widest + matrix) <= SHARED_BYTES
    at_once = max(end - begin, 1) if in_shared else SCRATCH_BLOCKS
    scratch = xp.empty(0 if in_shared else min(at_once, end - begin) * matrix)
    for first in range(begin, end, at_once):
        SOLVE_RINGS.launch(
            (min(at_once, end - first),), (32, WARPS), shared_bytes=8 * (3 * widest + (matrix if in_shared else 0)),
            sums=sums, lead=lead, follow=follow, start=start, columns=columns, ridge=ridge, dependent=dependent,
            first=first, widest=widest, scratch=scratch, in_shared=int(in_shared), weights=weights,
            explained=explained,
        )  # fmt: skip


def predict_blocks(
    movie: Any, csr: tuple[Any, Any, Any], means: Any, above: Any, t0: int, first: int, out: Any
) -> None:  # fmt: skip
    """Tell some blocks from their rings.

    Parameters
    ----------
    movie : cupy.ndarray
        ``(n_blocks, n_frames)`` float32.
    csr : tuple of cupy.ndarray
        Where each block's neighbours begin, which they are, their weights.
    means : cupy.ndarray
        ``(n_blocks,)`` float32.
    above : cupy.ndarray
        ``(n_blocks,)`` float32, how far above the prediction a sample is replaced by it and others are kept; or empty.
    t0, first : int
        First frame and first block.
    out : cupy.ndarray
        ``(n_some, n_out)`` float32, the result.
    """
    start, columns, weights = csr
    PREDICT_BLOCKS.launch(
        (len(out), min(-(-out.shape[1] // FRAMES), 65535)), (FRAMES,), movie=movie, start=start, columns=columns,
        weights=weights, means=means, above=above if len(above) else means, clipping=int(len(above) > 0), t0=t0,
        first=first, out=out,
    )  # fmt: skip
