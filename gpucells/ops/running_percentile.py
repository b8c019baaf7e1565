"""A quantile of the frames around each frame, of every trace: the light that a trace falls back to.

The window of ``n`` frames about frame ``t`` is ``t - n // 2`` to ``t - n // 2 + n - 1``, clipped at the ends of the
trace: there it has fewer frames, none is mirrored or repeated. A window longer than the trace is the whole trace for
every frame. Of the finite samples in it, in order, the one at ``quantile * (count - 1)`` counts, between two of them in
proportion, as NumPy's ``linear`` has it.

On a CPU samples are replaced by their ranks in the trace, and the ranks that lie in the window are bits of a set in
which the wanted one moves by a few places a frame: no time depends on the window's length. Arrays on a GPU go to
``kernels/running_percentile.cu``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Kernel, Scalar
from gpucells.errors import InputError
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

LARGEST = np.float32(3.4028235e38)  # finite number of single precision
SIGN = np.uint32(0x80000000)
DIGIT, DIGITS = 11, 3  # bits sorted by at once: three times 11 are 32, and 2048 counters stay in the first cache
WARPS = 8  # a block of the CUDA kernel
SCRATCH_BYTES = 256 << 20  # of the CUDA kernel, which has as many blocks as that is enough for

#: Which bit of a word is the only one set, by the top six bits of its product with B(2, 6), a de Bruijn sequence.
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
BIT_OF = np.empty(64, np.int64)
BIT_OF[[(((int(DE_BRUIJN) << i) & (2**64 - 1)) >> 58) for i in range(64)]] = np.arange(64)

RUNNING_PERCENTILE = Kernel(
    "running_percentile.cu",
    "running_percentile",
    (
        Array("traces", "float32", ("n_traces", "n_frames")), Scalar("n_traces"), Scalar("n_frames"),
        Array("quantiles", "float64", ("n_traces",)), Scalar("before", "int32"), Scalar("after", "int32"),
        Scalar("step", "int32"), Scalar("per_step", "float64"), Scalar("per_rest", "float64"), Scalar("n_places"),
        Array("keys", "uint32", ("n_blocks", 2, "n_frames"), written=True),
        Array("words", "uint32", ("n_blocks", "n_words"), written=True),
        Array("counts", "int32", ("n_blocks", "n_words"), written=True), Scalar("n_words"),
        Array("search", "int32", ("n_blocks", 7, "n_places"), written=True),
        Array("out", "float32", ("n_traces", "n_frames"), written=True),
    ),
    threads=32 * WARPS, registers=64,
)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _rank(trace, pairs, other, ranks, ordered):  # type: ignore[no-untyped-def]
    """Put the finite samples in order, and say which each is; a pair is a sample's bits above its frame's number."""
    bits = trace.view(np.uint32)
    start = np.zeros((DIGITS, 1 << DIGIT), np.int64)
    mask, half = np.uint64((1 << DIGIT) - 1), np.uint64(32)
    n = 0
    for t in range(len(trace)):
        ranks[t] = -1
        if abs(trace[t]) <= LARGEST:
            # as an unsigned number, a float's bits sort as the float does once the sign is turned around
            key = np.uint64(~bits[t] if bits[t] & SIGN else bits[t] | SIGN)
            pairs[n] = key << half | np.uint64(t)
            n += 1
            for digit in range(DIGITS):
                start[digit, (key >> np.uint64(digit * DIGIT)) & mask] += 1
    for digit in range(DIGITS):
        first, shift = start[digit], np.uint64(32 + digit * DIGIT)
        total = 0
        for d in range(len(first)):
            total, first[d] = total + first[d], total
        for i in range(n):
            pair = pairs[i]
            d = (pair >> shift) & mask
            other[first[d]] = pair
            first[d] += 1
        pairs, other = other, pairs
    for i in range(n):
        frame = pairs[i] & np.uint64(0xFFFFFFFF)
        ranks[frame] = i
        ordered[i] = trace[frame]


@numba.njit(cache=True, nogil=True)
def _lowest(word):  # type: ignore[no-untyped-def]
    return BIT_OF[((word & (~word + np.uint64(1))) * DE_BRUIJN) >> np.uint64(58)]


@numba.njit(cache=True, nogil=True)
def _highest(word):  # type: ignore[no-untyped-def]
    for by in (1, 2, 4, 8, 16, 32):
        word |= word >> np.uint64(by)
    return BIT_OF[((word ^ (word >> np.uint64(1))) * DE_BRUIJN) >> np.uint64(58)]


@numba.njit(cache=True, nogil=True)
def _above(words, groups, rank):  # type: ignore[no-untyped-def]
    """Return the next rank of the set, -1 if there is none."""
    place, every = rank + 1, ~np.uint64(0)
    w = place >> 6
    word = words[w] & (every << np.uint64(place & 63))
    if word:
        return (w << 6) + _lowest(word)
    place = w + 1
    g = place >> 6
    group = groups[g] & (every << np.uint64(place & 63))
    while not group:
        g += 1
        if g == len(groups):
            return -1
        group = groups[g]
    w = (g << 6) + _lowest(group)
    return (w << 6) + _lowest(words[w])


@numba.njit(cache=True, nogil=True)
def _below(words, groups, rank):  # type: ignore[no-untyped-def]
    """Return the last rank of the set before this one, -1 if there is none."""
    one = np.uint64(1)
    w = rank >> 6
    word = words[w] & ((one << np.uint64(rank & 63)) - one)
    if word:
        return (w << 6) + _highest(word)
    g = w >> 6
    group = groups[g] & ((one << np.uint64(w & 63)) - one)
    while not group:
        g -= 1
        if g < 0:
            return -1
        group = groups[g]
    w = (g << 6) + _highest(group)
    return (w << 6) + _highest(words[w])


@numba.njit(cache=True, nogil=True)
def _slide(ranks, ordered, quantile, before, after, step, words, groups, out):  # type: ignore[no-untyped-def]
    """Fill in every ``step``-th frame, and the last one.

    ``less`` ranks of the set come before ``here``, one of them, and ``following`` after it: -1 where there is none.
    """
    n, one = len(ranks), np.uint64(1)
    words.fill(0)
    groups.fill(0)
    begin = end = t = count = less = 0
    here = following = -1
    while True:
        for new in range(end, min(t + after, n)):
            r = ranks[new]
            if r >= 0:
                words[r >> 6] |= one << np.uint64(r & 63)
                groups[r >> 12] |= one << np.uint64((r >> 6) & 63)
                count += 1
                if here < 0:
                    here = r
                elif r < here:
                    less += 1
                elif following < 0 or r < following:
                    following = r
        end = max(end, min(t + after, n))
        for old in range(begin, t - before):
            r = ranks[old]
            if r >= 0:
                words[r >> 6] &= ~(one << np.uint64(r & 63))
                if not words[r >> 6]:
                    groups[r >> 12] &= ~(one << np.uint64((r >> 6) & 63))
                count -= 1
                if r < here:
                    less -= 1
                elif r == following:
                    following = _above(words, groups, r)
                elif r == here:
                    here = following
                    if here < 0:
                        here = _below(words, groups, r)
                        less -= here >= 0
                    else:
                        following = _above(words, groups, here)
        begin = max(begin, t - before)
        if count:
            place = quantile * (count - 1)
            wanted = int(place)
            while less < wanted:
                here = following
                following = _above(words, groups, here)
                less += 1
            while less > wanted:
                following = here
                here = _below(words, groups, here)
                less -= 1
            value = np.float64(ordered[here])
            if place > wanted:
                value += (ordered[following] - value) * (place - wanted)
            out[t] = value
        else:
            out[t] = np.nan
        if t == n - 1:
            return
        t = min(t + step, n - 1)


@numba.njit(cache=True, nogil=True)
def _running(traces, quantiles, before, after, step, out, begin, end):  # type: ignore[no-untyped-def]
    n = traces.shape[1]
    pairs, other = np.empty(n, np.uint64), np.empty(n, np.uint64)
    ranks, ordered = np.empty(n, np.int64), np.empty(n, np.float32)
    words, groups = np.empty((n >> 6) + 2, np.uint64), np.empty((n >> 12) + 2, np.uint64)
    for i in range(begin, end):
        _rank(traces[i], pairs, other, ranks, ordered)
        _slide(ranks, ordered, quantiles[i], before, after, step, words, groups, out[i])
        for first in range(0, n - 1, step):
            last = min(first + step, n - 1)
            a, b = np.float64(out[i, first]), np.float64(out[i, last])
            per_frame = 1 / (last - first)
            for t in range(first + 1, last):
                out[i, t] = a + (b - a) * ((t - first) * per_frame)


def running_percentile(
    traces: Any, quantile: float | ArrayLike, window_frames: int, step_frames: int = 1, out: Any = None
) -> Any:
    """Return the quantile of the frames around each frame.

    Parameters
    ----------
    traces : array
        ``(n_traces, n_frames)`` of any real type, taken as float32. What is NaN or infinite is left out.
    quantile : float or array_like
        0 to 1; one for all, or ``(n_traces,)``.
    window_frames : int
        Length of the window, 1 or more.
    step_frames : int
        Work it out at every so-many-th frame, and at the last, and draw straight lines between.
    out : array, optional
        ``(n_traces, n_frames)`` float32, C order, where the result goes; not ``traces`` itself.

    Returns
    -------
    array
        ``(n_traces, n_frames)`` float32, where ``traces`` are: NumPy or CuPy. NaN where a window has no finite sample.

    Raises
    ------
    InputError
        A quantile outside 0 to 1, a window or a step below 1, or traces that are not ``(n_traces, n_frames)``.
    """
    xp = namespace_of(traces)
    rows = xp.ascontiguousarray(traces, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] > np.iinfo(np.int32).max:
        raise InputError(f"traces have shape {rows.shape}", "give (n_traces, n_frames), at most 2^31 - 1 frames")
    if window_frames < 1 or step_frames < 1:
        raise InputError(f"a window of {window_frames} frames, every {step_frames} frames", "both must be 1 or more")
    quantiles = np.ascontiguousarray(np.broadcast_to(np.asarray(quantile, np.float64), (len(rows),)))
    if not ((quantiles >= 0) & (quantiles <= 1)).all():
        raise InputError(f"quantiles from {quantiles.min()} to {quantiles.max()}", "they are fractions, 0 to 1")
    result = xp.empty(rows.shape, np.float32) if out is None else out
    n = rows.shape[1]
    if n == 0 or len(rows) == 0:
        return result
    before = n if window_frames > n else window_frames // 2
    after = n if window_frames > n else window_frames - before
    arguments = (before, after, min(step_frames, n))
    if is_cupy_array(rows):
        _running_cuda(xp, rows, quantiles, *arguments, result)
    else:
        each_share(len(rows), lambda begin, end: _running(rows, quantiles, *arguments, result, begin, end))
    return result


def _running_cuda(
    xp: Any, traces: Any, quantiles: NDArray[np.float64], before: int, after: int, step: int, out: Any
) -> None:
    n_traces, n_frames = traces.shape
    n_places, n_words = (n_frames - 2) // step + 2 if n_frames > 1 else 1, n_frames // 32 + 1
    n_blocks = int(min(n_traces, max(1, SCRATCH_BYTES // (8 * n_frames + 8 * n_words + 28 * n_places))))
    RUNNING_PERCENTILE.launch(
        (n_blocks,), (32, WARPS), traces=traces, quantiles=xp.asarray(quantiles), before=before, after=after, step=step,
        per_step=1 / step, per_rest=1 / max(1, (n_frames - 1) % step),
        keys=xp.empty((n_blocks, 2, n_frames), np.uint32), words=xp.empty((n_blocks, n_words), np.uint32),
        counts=xp.empty((n_blocks, n_words), np.int32), search=xp.empty((n_blocks, 7, n_places), np.int32), out=out,
    )  # fmt: skip
