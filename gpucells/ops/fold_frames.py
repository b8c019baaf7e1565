"""From frames to pixels: averaging, whitening and summing up while the axes change places.

Files keep frames, solvers want each pixel's trace in one piece. Turning a block of frames around is a pass over memory
anyway, so what else each sample needs is done on the way, from the file's own integers.

Arrays on a GPU go to ``kernels/fold_frames.cu``, all others to numba.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

NATIVE = (np.uint8, np.uint16, np.int16, np.float32)  # types with code of their own; others become float32 first
LARGEST = np.float32(3.4028235e38)  # finite number of single precision
RUN = 64  # pixels turned around at once: a few cache lines of every frame
# NaN and infinity mean something here, so only what leaves them alone is allowed.
SAFE = {"reassoc", "nsz", "arcp", "contract"}
TILE, ROWS = 32, 8  # of the CUDA kernels: a warp wide, and rows that give a block 256 threads

_SIZES = (Define("TILE", (TILE,)), Define("ROWS", (ROWS,)))
_ANY_MOVIE = (*_SIZES, Define("T_FRAME", tuple(np.dtype(native).name for native in NATIVE)))
_NO_MOVIE = (*_SIZES, Define("T_FRAME", ("float32",)))
FOLD_FRAMES = Kernel(
    "fold_frames.cu",
    "fold_frames",
    (
        Array("frames", "T_FRAME", ("n_frames", "n_image")), Scalar("n_frames"), Scalar("n_image"), Scalar("factor"),
        Array("averaged", "float32", ("n_image", "n_columns"), written=True), Scalar("n_columns"), Scalar("first"),
        Array("total", "float64", ("n_image",), written=True), Array("maximum", "float32", ("n_image",), written=True),
        Array("minimum", "float32", ("n_image",), written=True), Array("broken", "bool", ("n_image",), written=True),
    ),
    threads=TILE * ROWS, registers=64, defines=_ANY_MOVIE,
)  # fmt: skip
WHITEN_FRAMES = Kernel(
    "fold_frames.cu",
    "whiten_frames",
    (
        Array("frames", "T_FRAME", ("n_frames", "n_image")), Scalar("n_frames"), Scalar("n_image"),
        Array("baseline", "float32", ("n_image",)), Array("noise", "float32", ("n_image",)),
        Array("pixels", "int64", ("n_pixels",)), Scalar("n_pixels"),
        Array("out", "float32", ("n_pixels", "n_columns"), written=True), Scalar("n_columns"), Scalar("first"),
    ),
    threads=TILE * ROWS, registers=64, defines=_ANY_MOVIE,
)  # fmt: skip
UNFOLD_FRAMES = Kernel(
    "fold_frames.cu",
    "unfold_frames",
    (
        Array("traces", "float32", ("n_pixels", "n_columns")), Scalar("n_pixels"), Scalar("n_columns"), Scalar("first"),
        Array("scale", "float32", ("n_pixels",)), Array("frames", "float32", ("n_frames", "n_pixels"), written=True),
        Scalar("n_frames"),
    ),
    threads=TILE * ROWS, registers=64, defines=_NO_MOVIE,
)  # fmt: skip


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
    def empty(cls, n_pixels: int, xp: Any = np) -> PixelSummary:
        """Before the first frame; ``xp`` is the namespace of the frames, ``numpy`` or ``cupy``."""
        return cls(
            xp.zeros(n_pixels), xp.full(n_pixels, -np.inf, np.float32), xp.full(n_pixels, np.inf, np.float32),
            xp.zeros(n_pixels, bool),
        )  # fmt: skip


def as_native(frames: NDArray[Any]) -> NDArray[Any]:
    """Return frames ``(n, n_pixels)`` in C order, of a type that has code of its own."""
    flat: NDArray[Any] = (
        namespace_of(frames).ascontiguousarray(frames).reshape(len(frames), int(np.prod(frames.shape[1:])))
    )
    return flat if flat.dtype.type in NATIVE and flat.dtype.isnative else flat.astype(np.float32)


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _fold(frames, factor, averaged, first, total, maximum, minimum, broken, first_run, last_run):  # type: ignore[no-untyped-def]
    n_frames, n_pixels = frames.shape
    n_averaged = n_frames // factor
    inverse = np.float32(1) / np.float32(factor)
    for run in range(first_run, last_run):
        p0 = run * RUN
        n = min(RUN, n_pixels - p0)
        sums = np.zeros((n_averaged + 1, RUN), np.float32)
        high = np.full(RUN, -np.inf, np.float32)
        low = np.full(RUN, np.inf, np.float32)
        bad = np.zeros(RUN, np.float32)
        for t in range(n_frames):
            row = frames[t, p0 : p0 + n]
            k = min(t // factor, n_averaged)  # frames that fill no average go to the last row
            line = sums[k]
            for i in range(n):
                value = np.float32(row[i])
                finite = abs(value) <= LARGEST
                bad[i] += np.float32(0) if finite else np.float32(1)
                value = value if finite else np.float32(0)
                line[i] += value
                high[i] = value if value > high[i] else high[i]
                low[i] = value if value < low[i] else low[i]
        highest, lowest = maximum[p0 : p0 + n], minimum[p0 : p0 + n]
        hurt, whole = broken[p0 : p0 + n], total[p0 : p0 + n]
        for i in range(n):
            highest[i] = max(highest[i], high[i])
            lowest[i] = min(lowest[i], low[i])
            hurt[i] |= bad[i] > 0
        for k in range(n_averaged + 1):
            line = sums[k]
            for i in range(n):
                whole[i] += line[i]
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
    if is_cupy_array(frames):
        _fold_cuda(as_native(frames), factor, averaged, first, summary)
        return
    arguments = (
        as_native(frames), factor, averaged, first, summary.total, summary.maximum, summary.minimum, summary.broken,
    )  # fmt: skip
    each_share(_runs(len(averaged)), lambda begin, end: _fold(*arguments, begin, end))


def _runs(n_pixels: int) -> int:
    return -(-n_pixels // RUN)


def _fold_cuda(frames: Any, factor: int, averaged: Any, first: int, summary: PixelSummary) -> None:
    FOLD_FRAMES.launch(
        (_tiles(frames.shape[1]),), (TILE, ROWS), frames=frames, factor=factor, averaged=averaged, first=first,
        total=summary.total, maximum=summary.maximum, minimum=summary.minimum, broken=summary.broken,
    )  # fmt: skip


def _sent(xp: Any, small: Any, dtype: Any) -> Any:
    """Return a small array, from either side, as the kernels want it."""
    return xp.ascontiguousarray(xp.asarray(small, dtype))


def _tiles(n: int) -> int:
    return -(-n // TILE)


def _pixels_by_frames(n_pixels: int, n_frames: int) -> tuple[int, int]:
    """Return the grid of the kernels in which blocks share a pixel's frames; they take turns beyond CUDA's limit."""
    return _tiles(n_pixels), min(_tiles(n_frames), 65535)


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _profiles(frames, rows, columns, first_frame, last_frame):  # type: ignore[no-untyped-def]
    _, height, width = frames.shape
    for t in range(first_frame, last_frame):
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
    if is_cupy_array(native):
        return _profiles_cuda(native)
    rows, columns = np.empty(frames.shape[:2], np.float32), np.empty((len(frames), frames.shape[2]), np.float32)
    each_share(len(native), lambda begin, end: _profiles(native, rows, columns, begin, end))
    return rows, columns


def _profiles_cuda(frames: Any) -> tuple[Any, Any]:
    size = frames
    if frames.dtype.kind != "u":  # copies of the frames, which those that are their own size do without
        xp = namespace_of(frames)
        size = abs(frames.astype(np.float32))
        size = xp.where(size <= LARGEST, size, np.float32(0))
    return size.mean(axis=2, dtype=np.float32), size.mean(axis=1, dtype=np.float32)


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _whiten(frames, pixels, baseline, noise, out, first, first_run, last_run):  # type: ignore[no-untyped-def]
    n_frames = len(frames)
    n_pixels = len(pixels)
    for run in range(first_run, last_run):
        p0 = run * RUN
        n = min(RUN, n_pixels - p0)
        some = pixels[p0 : p0 + n]  # sliced first: an index that might be negative is looked up one by one
        part = np.zeros((RUN, RUN), np.float32)
        for t0 in range(0, n_frames, RUN):
            width = min(RUN, n_frames - t0)
            for t in range(width):
                row = frames[t0 + t]
                seen = part[t]
                for i in range(n):
                    seen[i] = np.float32(row[some[i]])
                for i in range(RUN):
                    seen[i] = seen[i] if abs(seen[i]) <= LARGEST else np.float32(0)
            for i in range(n):
                trace = out[p0 + i, first + t0 : first + t0 + width]
                b = baseline[some[i]]
                w = np.float32(1) / noise[some[i]]
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
    if is_cupy_array(frames):
        return _whiten_cuda(as_native(frames), baseline, noise, pixels, out, first)
    result = np.empty((len(pixels), len(frames)), np.float32) if out is None else out
    arguments = (
        as_native(frames), np.ascontiguousarray(pixels, np.uint64), np.ascontiguousarray(baseline, np.float32),
        np.ascontiguousarray(noise, np.float32), result, first,
    )  # fmt: skip
    each_share(_runs(len(pixels)), lambda begin, end: _whiten(*arguments, begin, end))
    return result


def _whiten_cuda(frames: Any, baseline: Any, noise: Any, pixels: Any, out: Any, first: int) -> Float32:
    xp = namespace_of(frames)
    result: Float32 = xp.empty((len(pixels), len(frames)), np.float32) if out is None else out
    WHITEN_FRAMES.launch(
        _pixels_by_frames(len(pixels), len(frames)), (TILE, ROWS), frames=frames, out=result, first=first,
        baseline=_sent(xp, baseline, np.float32), noise=_sent(xp, noise, np.float32),
        pixels=_sent(xp, pixels, np.int64),
    )  # fmt: skip
    return result


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _unfold(traces, first, scale, frames, first_run, last_run):  # type: ignore[no-untyped-def]
    n_frames, n_pixels = frames.shape
    for run in range(first_run, last_run):
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
    if is_cupy_array(traces):
        return _unfold_cuda(traces, first, n_frames, scale, out)
    frames = np.empty((n_frames, len(traces)), np.float32) if out is None else out
    factors = np.ascontiguousarray(scale, np.float32)
    each_share(_runs(len(traces)), lambda begin, end: _unfold(traces, first, factors, frames, begin, end))
    return frames


def _unfold_cuda(traces: Any, first: int, n_frames: int, scale: Any, out: Any) -> Float32:
    xp = namespace_of(traces)
    frames: Float32 = xp.empty((n_frames, len(traces)), np.float32) if out is None else out
    UNFOLD_FRAMES.launch(
        _pixels_by_frames(len(traces), n_frames), (TILE, ROWS), traces=traces, first=first,
        scale=_sent(xp, scale, np.float32), frames=frames,
    )  # fmt: skip
    return frames
