"""Products with frames as they come from a file: footprints times frames, and frames times traces at the footprints.

Files keep frames, ``(n, n_pixels)`` of 8 or 16 bits or float32, and every step of CNMF that sees the movie is one of
two sums over it: ``A Y``, and the entries of ``Y C'`` on the footprints' support. Both work from the file's own type,
so that a movie of any length streams through.

On a CPU, 8 frames of ``PIECE`` pixels at a time are turned around into a buffer of float32 that the cache holds, a
pixel's 8 samples side by side: that is where one instruction multiplies 8 samples. Of what was tried on 128 x 128 with
150 cells of 100 pixels it was the fastest: gathering from rows of the file's type or of float32, or runs of 16 pixels
with weights 0 between, were slower in both products together, and erratic between types. A block's floor is reading it
once: 2 bytes a sample of 16 bits, and 2 flops and 36 bytes of cache a group of 8 frames and entry.

Frames on a GPU go to ``kernels/frame_products.cu``. Samples that are not finite count as 0.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import InputError
from gpucells.ops.fold_frames import LARGEST, NATIVE, as_native
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

GROUP = 8  # frames turned around together: one register of 256 bits
PIECE = 8192  # pixels turned around together: 256 KiB of float32, a share of any second-level cache
WARPS, SLICE, ROWS = 8, 8192, 4  # of the CUDA kernels: warps a block, pixels of a partial sum, dense rows at once
#: Sums of a pixel's frames may be reordered; those of a cell's pixels may not, so that 8 frames share an instruction.
REORDERED, IN_ORDER = {"reassoc", "nsz", "arcp", "contract"}, {"nsz", "contract"}

_MOVIE = (Array("frames", "T_FRAME", ("n_frames", "n_pixels")), Scalar("n_frames"), Scalar("n_pixels"))
_DEFINES = (
    Define("T_FRAME", tuple(np.dtype(native).name for native in NATIVE)), Define("WARPS", (WARPS,)),
    Define("GROUP", (GROUP,)), Define("SLICE", (SLICE,)), Define("ROWS", (ROWS,)),
)  # fmt: skip
_SUPPORT = (Array("start", "int64", ("n_starts",)), Array("pixels", "int32", ("n_entries",)))
PROJECT_CELLS = Kernel(
    "frame_products.cu",
    "project_cells",
    (
        *_MOVIE, *_SUPPORT, Array("weights", "float32", ("n_entries",)),
        Array("out", "float32", ("n_cells", "n_frames"), written=True), Scalar("n_cells"),
    ),
    threads=32 * WARPS, registers=64, defines=_DEFINES,
)  # fmt: skip
PROJECT_ROWS = Kernel(
    "frame_products.cu",
    "project_rows",
    (
        *_MOVIE, Array("rows", "float32", ("n_rows", "n_pixels")),
        Array("partial", "float32", ("n_rows", "n_slices", "n_frames"), written=True), Scalar("n_slices"),
    ),
    threads=32 * WARPS, registers=64, defines=_DEFINES,
)  # fmt: skip
ACCUMULATE_ENTRIES = Kernel(
    "frame_products.cu",
    "accumulate_entries",
    (
        *_MOVIE, Array("traces", "float32", ("n_cells", "n_frames")), Scalar("n_cells"), *_SUPPORT,
        Scalar("n_entries"), Array("out", "float64", ("n_entries",), written=True),
    ),
    threads=32 * WARPS, registers=64, defines=_DEFINES,
)  # fmt: skip
ACCUMULATE_ROWS = Kernel(
    "frame_products.cu",
    "accumulate_rows",
    (
        *_MOVIE, Array("traces", "float32", ("n_rows", "n_frames")), Scalar("n_rows"),
        Array("out", "float64", ("n_rows", "n_pixels"), written=True),
        Array("total", "float64", ("n_pixels",), written=True),
        Array("energy", "float64", ("n_pixels",), written=True), Scalar("with_sums"),
    ),
    threads=32 * WARPS, registers=64, defines=_DEFINES,
)  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _count_runs(indptr, pixels, first, owner, begin, fill):  # type: ignore[no-untyped-def]
    """Count, then with ``fill`` list, the runs of entries that a cell has in a piece; ``first`` is by piece."""
    for k in range(len(indptr) - 1):
        last = -1
        for e in range(indptr[k], indptr[k + 1]):
            piece = pixels[e] // PIECE
            if piece != last:
                if fill:
                    owner[first[piece]] = k
                    begin[first[piece]] = e
                first[piece] += 1
                last = piece


def _runs(indptr: Any, pixels: Any, n_pixels: int) -> tuple[NDArray[np.int64], ...]:
    """Return where each piece's runs begin, and of each run its cell, its first entry and the one after its last."""
    n_pieces = -(-n_pixels // PIECE)
    nothing, count = np.empty(0, np.int64), np.zeros(n_pieces, np.int64)
    _count_runs(indptr, pixels, count, nothing, nothing, False)
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    owner, begin = np.empty(first[-1], np.int64), np.empty(first[-1], np.int64)
    _count_runs(indptr, pixels, first[:-1].copy(), owner, begin, True)
    begins = np.append(np.sort(begin), len(pixels))  # a run ends where the next one in the list of entries begins
    return first, owner, begin, begins[np.searchsorted(begins, begin, side="right")]


@numba.njit(cache=True, fastmath=REORDERED, error_model="numpy", nogil=True, forceinline=True)
def _sample(value):  # type: ignore[no-untyped-def]
    seen = np.float32(value)
    return seen if abs(seen) <= LARGEST else np.float32(0)


@numba.njit(cache=True, fastmath=REORDERED, error_model="numpy", nogil=True)
def _turn8(r0, r1, r2, r3, r4, r5, r6, r7, out):  # type: ignore[no-untyped-def]
    for i in range(len(r0)):  # written out: the compiler then weaves vectors of 8 rows together
        o = np.uint64(i) * np.uint64(8)
        out[o], out[o + np.uint64(1)] = _sample(r0[i]), _sample(r1[i])
        out[o + np.uint64(2)], out[o + np.uint64(3)] = _sample(r2[i]), _sample(r3[i])
        out[o + np.uint64(4)], out[o + np.uint64(5)] = _sample(r4[i]), _sample(r5[i])
        out[o + np.uint64(6)], out[o + np.uint64(7)] = _sample(r6[i]), _sample(r7[i])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _turn(frames, nothing, t, p0, p1, out):  # type: ignore[no-untyped-def]
    """Put pixels ``p0`` to ``p1`` of 8 frames from ``t`` on side by side; after the last frame come zeros."""
    n = len(frames)
    empty = nothing[: p1 - p0]
    _turn8(
        frames[t, p0:p1], frames[t + 1, p0:p1] if t + 1 < n else empty, frames[t + 2, p0:p1] if t + 2 < n else empty,
        frames[t + 3, p0:p1] if t + 3 < n else empty, frames[t + 4, p0:p1] if t + 4 < n else empty,
        frames[t + 5, p0:p1] if t + 5 < n else empty, frames[t + 6, p0:p1] if t + 6 < n else empty,
        frames[t + 7, p0:p1] if t + 7 < n else empty, out,
    )  # fmt: skip


@numba.njit(cache=True, fastmath=IN_ORDER, error_model="numpy", nogil=True)
def _weigh(turned, p0, pixels, weights, begin, end, out):  # type: ignore[no-untyped-def]
    z0 = z1 = z2 = z3 = z4 = z5 = z6 = z7 = np.float32(0)
    for e in range(begin, end):
        w = weights[e]
        p = np.uint64(pixels[e] - p0) * np.uint64(8)
        z0 += w * turned[p]
        z1 += w * turned[p + np.uint64(1)]
        z2 += w * turned[p + np.uint64(2)]
        z3 += w * turned[p + np.uint64(3)]
        z4 += w * turned[p + np.uint64(4)]
        z5 += w * turned[p + np.uint64(5)]
        z6 += w * turned[p + np.uint64(6)]
        z7 += w * turned[p + np.uint64(7)]
    out[0] += z0
    out[1] += z1
    out[2] += z2
    out[3] += z3
    out[4] += z4
    out[5] += z5
    out[6] += z6
    out[7] += z7


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _project(frames, nothing, runs, pixels, weights, rows, every, out, begin, end):  # type: ignore[no-untyped-def]
    first, owner, run_begin, run_end = runs
    n_pixels = frames.shape[1]
    turned = np.empty(GROUP * min(PIECE, n_pixels), np.float32)
    n_cells = len(out) - len(rows)
    for g in range(begin, end):
        t = g * GROUP
        for piece in range(len(first) - 1):
            p0 = piece * PIECE
            p1 = min(p0 + PIECE, n_pixels)
            _turn(frames, nothing, t, p0, p1, turned)
            for r in range(first[piece], first[piece + 1]):
                _weigh(turned, p0, pixels, weights, run_begin[r], run_end[r], out[owner[r], t : t + GROUP])
            for r in range(len(rows)):
                _weigh(turned, 0, every, rows[r, p0:p1], 0, p1 - p0, out[n_cells + r, t : t + GROUP])


@numba.njit(cache=True, fastmath=REORDERED, error_model="numpy", nogil=True)
def _add_products(turned, p0, pixels, trace, begin, end, out):  # type: ignore[no-untyped-def]
    c0, c1, c2, c3 = trace[0], trace[1], trace[2], trace[3]
    c4, c5, c6, c7 = trace[4], trace[5], trace[6], trace[7]
    for e in range(begin, end):
        p = np.uint64(pixels[e] - p0) * np.uint64(8)
        early = c0 * turned[p] + c1 * turned[p + np.uint64(1)]
        early += c2 * turned[p + np.uint64(2)] + c3 * turned[p + np.uint64(3)]
        late = c4 * turned[p + np.uint64(4)] + c5 * turned[p + np.uint64(5)]
        late += c6 * turned[p + np.uint64(6)] + c7 * turned[p + np.uint64(7)]
        out[e] += np.float64(early + late)


@numba.njit(cache=True, fastmath=REORDERED, error_model="numpy", nogil=True)
def _add_sums(turned, total, energy):  # type: ignore[no-untyped-def]
    for i in range(len(total)):
        sum_ = square = np.float64(0)
        for j in range(GROUP):
            value = np.float64(turned[i * GROUP + j])
            sum_ += value
            square += value * value
        total[i] += sum_
        energy[i] += square


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _accumulate(frames, nothing, traces, runs, pixels, out, row_traces, every, row_out, total, energy, begin, end):  # type: ignore[no-untyped-def]
    first, owner, run_begin, run_end = runs
    n_pixels = frames.shape[1]
    turned = np.empty(GROUP * min(PIECE, n_pixels), np.float32)
    for piece in range(begin, end):
        p0 = piece * PIECE
        p1 = min(p0 + PIECE, n_pixels)
        for t in range(0, len(frames), GROUP):
            _turn(frames, nothing, t, p0, p1, turned)
            for r in range(first[piece], first[piece + 1]):
                _add_products(turned, p0, pixels, traces[owner[r], t : t + GROUP], run_begin[r], run_end[r], out)
            for r in range(len(row_out)):
                _add_products(turned, 0, every, row_traces[r, t : t + GROUP], 0, p1 - p0, row_out[r, p0:p1])
            if len(total):
                _add_sums(turned, total[p0:p1], energy[p0:p1])


def _whole_groups(traces: Any) -> Float32:
    """Return traces followed by zeros, so that every group of frames is whole."""
    out = np.zeros((traces.shape[0], -(-traces.shape[1] // GROUP) * GROUP), np.float32)
    out[:, : traces.shape[1]] = traces
    return out


def project(frames: NDArray[Any], footprints: sparse.csr_array, rows: Float32 | None = None) -> Float32:
    """Multiply footprints with frames.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n, n_pixels)`` or ``(n, height, width)`` of any real type; uint8, uint16, int16 and float32 are read as they
        are. NumPy or CuPy. What is not finite counts as 0.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    rows : numpy.ndarray, optional
        ``(n_rows, n_pixels)`` float32, images with every pixel: the background.

    Returns
    -------
    numpy.ndarray
        ``(n_cells + n_rows, n)`` float32: cells, then rows.

    Raises
    ------
    InputError
        Frames and footprints have not the same number of pixels.
    """
    native = as_native(frames)
    xp = namespace_of(native)
    n_pixels = native.shape[1]
    dense = xp.zeros((0, n_pixels), np.float32) if rows is None else xp.ascontiguousarray(xp.asarray(rows, np.float32))
    if footprints.shape[1] != n_pixels or dense.shape[1] != n_pixels:
        raise InputError(f"frames have {n_pixels} pixels, footprints {footprints.shape[1]}, rows {dense.shape[1]}")
    n_cells, n_frames = footprints.shape[0], len(native)
    if is_cupy_array(native):
        return _project_cuda(native, footprints, dense)
    indptr, pixels = footprints.indptr.astype(np.int64), footprints.indices.astype(np.int32)
    out = np.zeros((n_cells + len(dense), -(-n_frames // GROUP) * GROUP), np.float32)
    arguments = (
        native, np.zeros(min(PIECE, n_pixels), native.dtype), _runs(indptr, pixels, n_pixels), pixels,
        footprints.data.astype(np.float32), dense, np.arange(min(PIECE, n_pixels), dtype=np.int32), out,
    )  # fmt: skip
    each_share(-(-n_frames // GROUP), lambda begin, end: _project(*arguments, begin, end))
    return np.ascontiguousarray(out[:, :n_frames])


def _project_cuda(frames: Any, footprints: sparse.csr_array, rows: Any) -> Float32:
    xp = namespace_of(frames)
    n_cells, (n_frames, n_pixels) = footprints.shape[0], frames.shape
    out = xp.zeros((n_cells + len(rows), n_frames), np.float32)
    groups = min(-(-n_frames // GROUP), 65535)
    PROJECT_CELLS.launch(
        (-(-n_cells // WARPS), groups), (32, WARPS), frames=frames, start=xp.asarray(footprints.indptr, np.int64),
        pixels=xp.asarray(footprints.indices, np.int32), weights=xp.asarray(footprints.data, np.float32),
        out=out[:n_cells],
    )  # fmt: skip
    if len(rows):
        partial = xp.zeros((len(rows), -(-n_pixels // SLICE), n_frames), np.float32)
        PROJECT_ROWS.launch(
            (partial.shape[1], groups, len(rows)), (32, WARPS), frames=frames, rows=rows, partial=partial
        )
        out[n_cells:] = partial.sum(axis=1)
    return to_host(out)


def accumulate(
    frames: NDArray[Any], traces: Any, indptr: Any, pixels: Any, out: Float64, *, row_traces: Any = None,
    row_out: Float64 | None = None, total: Float64 | None = None, energy: Float64 | None = None,
) -> None:  # fmt: skip
    """Add what a block of frames gives to the products of pixels and traces.

    ``out[e] += frames[:, pixels[e]] @ traces[k]`` for every entry ``e`` of every cell ``k``.

    Sums are single precision over 8 frames (on a GPU an eighth of the block), double precision beyond, so that the
    number of frames costs no digit.

    Parameters
    ----------
    frames : numpy.ndarray
        As `project` takes them.
    traces : numpy.ndarray
        ``(n_cells, n)``: the same frames.
    indptr, pixels : numpy.ndarray
        ``(n_cells + 1,)`` and ``(n_entries,)``: the support, as a CSR matrix has it.
    out : numpy.ndarray
        ``(n_entries,)`` float64, C order, added to; on the frames' device, as all results.
    row_traces, row_out : numpy.ndarray, optional
        ``(n_rows, n)``, and ``(n_rows, n_pixels)`` float64, added to: the same for every pixel.
    total, energy : numpy.ndarray, optional
        ``(n_pixels,)`` float64, added to: sum and sum of squares of every pixel. Both or none.
    """
    native = as_native(frames)
    xp = namespace_of(native)
    nothing = xp.zeros((0, native.shape[1])), xp.zeros(0)
    of_rows = xp.zeros((0, len(native)), np.float32) if row_traces is None else row_traces
    results = (
        out, nothing[0] if row_out is None else row_out, nothing[1] if total is None else total,
        nothing[1] if energy is None else energy,
    )  # fmt: skip
    if len(results[2]) != len(results[3]):
        raise InputError("of total and energy only one is given", "give both or none")
    if len(native) == 0:
        return
    if is_cupy_array(native):
        _accumulate_cuda(native, traces, indptr, pixels, of_rows, *results)
        return
    places, support = np.ascontiguousarray(pixels, np.int32), np.ascontiguousarray(indptr, np.int64)
    length = min(PIECE, native.shape[1])
    arguments = (
        native, np.zeros(length, native.dtype), _whole_groups(traces), _runs(support, places, native.shape[1]), places,
        results[0], _whole_groups(of_rows), np.arange(length, dtype=np.int32), *results[1:],
    )  # fmt: skip
    each_share(-(-native.shape[1] // PIECE), lambda begin, end: _accumulate(*arguments, begin, end))


def _accumulate_cuda(
    frames: Any, traces: Any, indptr: Any, pixels: Any, row_traces: Any, out: Any, row_out: Any, total: Any, energy: Any
) -> None:
    xp = namespace_of(frames)
    n_pixels = frames.shape[1]
    ACCUMULATE_ENTRIES.launch(
        (-(-len(out) // 32),), (32, WARPS), frames=frames, out=out, start=xp.asarray(indptr, np.int64),
        traces=xp.ascontiguousarray(xp.asarray(traces, np.float32)), pixels=xp.asarray(pixels, np.int32),
    )  # fmt: skip
    with_sums = len(total) > 0
    if len(row_out) == 0 and not with_sums:
        return
    sums = (total, energy) if with_sums else (xp.zeros(n_pixels), xp.zeros(n_pixels))
    ACCUMULATE_ROWS.launch(
        (-(-n_pixels // 32),), (32, WARPS), frames=frames, out=row_out, total=sums[0], energy=sums[1],
        traces=xp.ascontiguousarray(xp.asarray(row_traces, np.float32)), with_sums=int(with_sums),
    )  # fmt: skip
