"""The CUDA body of :mod:`gpucells.ops.robust_footprints`: ``kernels/robust_footprints.cu``.

Pixels are sorted by how many cells they have, because unknowns that are held in registers have to be counted when the
kernel is compiled. The movie stays where it is; all else goes to the device once a call, and the footprints come back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.robust_footprints import CURVATURE_FLOOR, SWEEPS, WORSE, Known

Float32 = NDArray[np.float32]

WORD = 32  # frames a word of `active`: a warp's lanes
WARPS = 4  # of a block, one pixel each
WIDTHS = (1, 2, 4)  # cells of a pixel, at most, for the variants that hold them in registers
SHARED_BYTES = 48 << 10  # of a block, what every device gives unasked
KEPT = 0.9  # share of the pixels whose frames are to fit in shared memory whole; more would cost all of them occupancy
MOST_PARTS = 8192  # warps at work on pixels of many cells: more than any device runs at once
SCRATCH_BYTES = 64 << 20  # for all their curvatures

_SIZES = (Define("WARPS", (WARPS,)), Define("SWEEPS", (SWEEPS,)))
_PROBLEM = (
    Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_frames"), Array("offset", "float32", ("n_pixels",)),
    Array("kappa", "float32", ("n_pixels",)), Array("known_start", "int32", ("n_starts",)),
    Array("known_component", "int32", ("n_known_entries",)), Array("known_weight", "float32", ("n_known_entries",)),
    Array("known_traces", "float32", ("n_known", "n_frames")), Array("traces", "float32", ("n_cells", "n_frames")),
    Array("active", "uint32", ("n_cells", "n_words")), Scalar("n_words"), Array("norm", "float32", ("n_cells",)),
    Array("penalty", "float32", ("n_cells",)), Array("pixels", "int32", ("n_solved",)), Scalar("n_solved"),
    Array("start", "int32", ("n_starts",)), Array("cells", "int32", ("n_entries",)),
    Array("values", "float32", ("n_entries",), written=True), Scalar("n_steps"), Scalar("tolerance", "float32"),
    Scalar("worse", "float32"), Scalar("curvature_floor", "float32"), Scalar("capacity"),
)  # fmt: skip
_SCRATCH = (
    Array("scratch", "float32", ("n_parts", "n_rows", "widest"), written=True), Scalar("n_parts"), Scalar("n_rows"),
    Scalar("widest"),
)  # fmt: skip
MARK_ACTIVE = Kernel(
    "robust_footprints.cu",
    "mark_active",
    (
        Array("traces", "float32", ("n_cells", "n_frames")), Scalar("n_cells"), Scalar("n_frames"),
        Array("active", "uint32", ("n_cells", "n_words"), written=True), Scalar("n_words"),
        Array("norm", "float32", ("n_cells",), written=True), Array("n_active", "int32", ("n_cells",), written=True),
    ),
    threads=WORD * WARPS, registers=40, defines=(*_SIZES, Define("WIDTH", WIDTHS[-1:])),
)  # fmt: skip
FEW = Kernel(
    "robust_footprints.cu", "footprints_of_few", _PROBLEM, threads=WORD * WARPS, registers=128,
    defines=(*_SIZES, Define("WIDTH", WIDTHS)),
)  # fmt: skip
MANY = Kernel(
    "robust_footprints.cu", "footprints_of_many", (*_PROBLEM, *_SCRATCH), threads=WORD * WARPS, registers=168,
    defines=(*_SIZES, Define("WIDTH", WIDTHS[-1:])),
)  # fmt: skip


def solve_on_device(
    movie: Any, traces: Any, by_pixel: sparse.csc_array, kappa: Any, *, known: Known, offset: Any, penalty: Any,
    n_steps: int, tolerance: float,
) -> Float32:  # fmt: skip
    """Solve every pixel.

    Parameters
    ----------
    movie : cupy.ndarray
        ``(n_pixels, n_frames)`` float32, C order.
    traces, kappa, known, offset, penalty, n_steps, tolerance
        As of :func:`gpucells.ops.robust_footprints.robust_footprints`; arrays of either side.
    by_pixel : scipy.sparse.csc_array
        ``(n_cells, n_pixels)`` where to begin, at least one entry.

    Returns
    -------
    numpy.ndarray
        ``(n_entries,)`` float32 the footprints, in the order of ``by_pixel``.
    """
    import cupy

    def on_device(array: Any, dtype: Any = np.float32) -> Any:
        return cupy.ascontiguousarray(cupy.asarray(array), dtype)

    (n_cells, n_pixels), n_frames = by_pixel.shape, movie.shape[1]
    model = on_device(traces)
    active = cupy.empty((n_cells, -(-n_frames // WORD)), np.uint32)
    norm, n_active = cupy.empty(n_cells, np.float32), cupy.empty(n_cells, np.int32)
    MARK_ACTIVE.launch(
        (-(-n_cells // WARPS),), (WORD * WARPS,), traces=model, active=active, norm=norm, n_active=n_active
    )
    known_start, known_component, known_weight, known_traces = known.arrays()
    values = on_device(by_pixel.data)
    arguments = {
        "movie": movie,
        "offset": cupy.zeros(n_pixels, np.float32) if offset is None else on_device(offset),
        "kappa": on_device(kappa),
        "known_start": on_device(known_start, np.int32),
        "known_component": on_device(known_component, np.int32),
        "known_weight": on_device(known_weight),
        "known_traces": on_device(known_traces),
        "traces": model,
        "active": active,
        "norm": norm,
        "penalty": on_device(np.broadcast_to(np.asarray(to_host(penalty), np.float32), n_cells)),
        "start": on_device(by_pixel.indptr, np.int32),
        "cells": on_device(by_pixel.indices, np.int32),
        "values": values,
        "n_steps": n_steps,
        "tolerance": tolerance,
        "worse": WORSE,
        "curvature_floor": CURVATURE_FLOOR,
    }
    _launch(arguments, by_pixel, np.minimum(_most_frames(to_host(n_active), by_pixel), n_frames))
    return to_host(values)


def _most_frames(n_active: NDArray[np.int32], by_pixel: sparse.csc_array) -> NDArray[np.int64]:
    """Return for every pixel with cells a bound of the frames in which any of them has light."""
    begins = by_pixel.indptr[:-1][np.diff(by_pixel.indptr) > 0]
    bound: NDArray[np.int64] = np.add.reduceat(n_active[by_pixel.indices].astype(np.int64), begins)
    return bound


def _launch(arguments: dict[str, Any], by_pixel: sparse.csc_array, most_frames: NDArray[np.int64]) -> None:
    """Solve the pixels of each number of cells by the kernel for it."""
    import cupy

    counts = np.diff(by_pixel.indptr)
    pixels = np.flatnonzero(counts)
    n_cells = counts[pixels]
    for width, fewer in zip(WIDTHS, (0, *WIDTHS), strict=False):
        chosen = (n_cells > fewer) & (n_cells <= width)
        if chosen.any():
            warps, capacity = _room(most_frames[chosen], 1 + width)
            FEW.launch(
                (-(-int(chosen.sum()) // warps),), (WORD * warps,), shared_bytes=4 * warps * (1 + width) * capacity,
                **arguments, pixels=cupy.asarray(pixels[chosen].astype(np.int32)), capacity=capacity, WIDTH=width,
            )  # fmt: skip
    chosen = n_cells > WIDTHS[-1]
    if chosen.any():
        warps, capacity = _room(most_frames[chosen], 3)
        widest = int(n_cells.max())
        rows = 5 + widest
        n_parts = min(int(chosen.sum()), MOST_PARTS, max(1, SCRATCH_BYTES // (4 * rows * widest)))
        MANY.launch(
            (-(-n_parts // warps),), (WORD * warps,), shared_bytes=4 * warps * 3 * capacity,
            **arguments, pixels=cupy.asarray(pixels[chosen].astype(np.int32)), capacity=capacity,
            scratch=cupy.empty((n_parts, rows, widest), np.float32),
        )  # fmt: skip


def _room(most_frames: NDArray[np.int64], n_rows: int) -> tuple[int, int]:
    """Return the warps of a block, and for how many frames each has room, a multiple of 32, in rows of 4 bytes."""
    wanted = WORD * max(1, -(-int(np.quantile(most_frames, KEPT)) // WORD))
    warps = int(np.clip(SHARED_BYTES // (4 * n_rows * wanted), 1, WARPS))
    return warps, min(wanted, SHARED_BYTES // (4 * n_rows * warps * WORD) * WORD)
