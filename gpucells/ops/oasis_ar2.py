r"""Spikes of a response that rises and decays: :math:`s_t = c_t - \gamma_1 c_{t-1} - \gamma_2 c_{t-2}`.

The problem is that of `gpucells.ops.oasis_ar1`, but joining pools is not exact here: how a pool begins depends on the
two last frames of the one before. (OASIS leaves it at that.) So we look for the set of frames with spikes, :math:`S`:

* With :math:`S` given, the best :math:`c` is a linear-quadratic control problem with the state :math:`(c_{t-1},
  c_{t-2})`. One pass back in time finds, for the frames of :math:`S`, what :math:`c_t` is best, a linear function of
  :math:`c_{t-1}`, as in a Kalman smoother; one pass forth follows it. No matrix is built.
* :math:`p_t = \sum_{u \ge t} h_{u-t} (y_u - b - c_u)` is what a spike at :math:`t` would take off the sum of squares.
  The solution has :math:`p_t = \lambda` and :math:`s_t \ge 0` in :math:`S`, :math:`p_t \le \lambda` elsewhere: the
  conditions of a convex problem, so what meets them is exact.
* Frames of :math:`S` with negative spikes leave it, and the largest :math:`p_t > \lambda` of each run of such frames
  joins it, all at once (block pivoting; Júdice & Pires 1994). 8 to 15 rounds are usual. Should it go round in a circle,
  only the last wrong frame of every stretch is exchanged, then only the last of all, which ends (Murty 1974).
* :math:`b` and :math:`\lambda` are brought up to date in each round, as with one decay.
"""

from __future__ import annotations

import numba
import numpy as np

from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.oasis_ar1 import FEWEST_SPIKES, L1_PENALTY, MODES, NUMBERS, RESULTS, balance

HELD_ROUNDS = 3  # before baseline and penalty are brought up to date: the first sets are far off
FAST_ROUNDS = 40  # of exchanging all wrong frames
STRETCH_ROUNDS = 300  # of exchanging the last of each stretch
MAX_ROUNDS = 3000
STRETCH = 200  # frames, longer than a response
FLOOR_STEPS = 3  # in which a floor rises to where it is wanted
HALVINGS = 24  # of the smallest spike that is kept, when the fewest are looked for
TOLERANCE = 1e-9  # of a spike or p, relative to the trace's standard deviation

OASIS_AR2 = Kernel(
    "oasis_ar2.cu",
    "oasis_ar2",
    (
        Array("traces", "float32", ("n_frames", "n_traces")), Array("coefficients", "float64", ("n_traces", 2)),
        *NUMBERS, Array("gains", "float64", (4, "n_frames", "n_traces"), written=True),
        Array("path", "float64", ("n_frames", "n_traces"), written=True),
        Array("inside", "bool", ("n_frames", "n_traces"), written=True),
        Array("sizes", "float64", ("n_sizes", "n_traces"), written=True), *RESULTS, Scalar("mode"),
        Scalar("free", "bool"),
    ),
    threads=256, registers=255,
    defines=(
        *MODES, Define("HELD_ROUNDS", (HELD_ROUNDS,)), Define("FAST_ROUNDS", (FAST_ROUNDS,)),
        Define("STRETCH_ROUNDS", (STRETCH_ROUNDS,)), Define("MAX_ROUNDS", (MAX_ROUNDS,)), Define("STRETCH", (STRETCH,)),
        Define("FLOOR_STEPS", (FLOOR_STEPS,)), Define("TOLERANCE", (str(TOLERANCE),)), Define("HALVINGS", (HALVINGS,)),
    ),
)  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _gains(y, offset, g1, g2, inside, gains):  # type: ignore[no-untyped-def]
    """Fill in ``c_t = gains[t, 0] c_{t-1} + gains[t, 1] - b gains[t, 2] - lambda gains[t, 3]`` for frames inside S.

    The cost of all frames from t on is x'Qx / 2 - r'x of the state x; Q is ``q11, q12, q22``, and r has a part for y,
    one for b and one for lambda.
    """
    q11 = q12 = q22 = 0.0
    y1 = y2 = b1 = b2 = m1 = m2 = 0.0
    for t in range(len(y) - 1, -1, -1):
        h = 1 + q11
        hy, hb, hm = y[t] - offset + y1, 1 + b1, m1
        if inside[t]:
            hm += 1
            per_h = 1 / h
            k = -q12 * per_h
            gains[t, 0], gains[t, 1], gains[t, 2], gains[t, 3] = k, hy * per_h, hb * per_h, hm * per_h
            y1, b1, m1 = y2 + hy * k, b2 + hb * k, m2 + hm * k - g1
            y2, b2, m2 = 0.0, 0.0, -g2
            q11 = q22 + q12 * k
            q12 = q22 = 0.0
        else:
            y1, b1, m1 = y2 + hy * g1, b2 + hb * g1, m2 + hm * g1
            y2, b2, m2 = hy * g2, hb * g2, hm * g2
            q11, q12, q22 = (h * g1 + 2 * q12) * g1 + q22, (h * g1 + q12) * g2, h * g2 * g2


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _moments(y, offset, g1, g2, inside, gains):  # type: ignore[no-untyped-def]
    """Return what `balance` asks for: the first five."""
    yy = yb = bb = mm = mb = 0.0
    y1 = y2 = b1 = b2 = m1 = m2 = 0.0
    for t in range(len(y)):
        if inside[t]:
            k = gains[t, 0]
            cy, cb, cm = k * y1 + gains[t, 1], k * b1 + gains[t, 2], k * m1 + gains[t, 3]
        else:
            cy, cb, cm = g1 * y1 + g2 * y2, g1 * b1 + g2 * b2, g1 * m1 + g2 * m2
        ry, rb = y[t] - offset - cy, 1 - cb
        yy += ry * ry
        yb += ry * rb
        bb += rb * rb
        mm += cm * cm
        mb += cm
        y2, b2, m2 = y1, b1, m1
        y1, b1, m1 = cy, cb, cm
    return yy, yb, bb, mm, mb


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _follow(g1, g2, inside, gains, b, lam, c):  # type: ignore[no-untyped-def]
    c1 = c2 = 0.0
    for t in range(len(c)):
        following = g1 * c1 + g2 * c2
        if inside[t]:
            following = gains[t, 0] * c1 + gains[t, 1] - b * gains[t, 2] - lam * gains[t, 3]
        c1, c2 = following, c1
        c[t] = following


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _spike(c, t, g1, g2):  # type: ignore[no-untyped-def]
    before = g1 * c[t - 1] if t > 0 else 0.0
    return c[t] - before - (g2 * c[t - 2] if t > 1 else 0.0)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _exchange(y, level, g1, g2, lam, c, inside, small, stretch):  # type: ignore[no-untyped-def]
    """Put right which frames are in S, from the last to the first; return how many were wrong.

    Of a run of frames with p > lambda, only the highest is wrong. ``stretch`` is the least distance between two that
    are exchanged.
    """
    wrong = 0
    p1 = p2 = 0.0  # of frames t + 1, t + 2
    rising = False  # whether p1 is at least p2
    next_change = len(y) + stretch
    for t in range(len(y) - 1, -2, -1):
        p = y[t] - level - c[t] + g1 * p1 + g2 * p2 if t >= 0 else -1e300
        # One frame later than it could: only now is it known whether frame t + 1 was the highest of its run.
        later = t + 1
        if later < len(y) and next_change - later >= stretch:
            if inside[later]:
                if _spike(c, later, g1, g2) < -small:
                    inside[later] = False
                    wrong += 1
                    next_change = later
            elif p1 > lam + small and rising and p <= p1:
                inside[later] = True
                wrong += 1
                next_change = later
        rising = p > p1 or t == len(y) - 1
        p1, p2 = p, p1
    return wrong


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _fit(y, offset, g1, g2, target, lam, b, lowest, free, small, inside, gains, c):  # type: ignore[no-untyped-def]
    """Find S, ``c``, the baseline and the penalty; return the latter two."""
    n = len(y)
    for rounds in range(MAX_ROUNDS):
        _gains(y, offset, g1, g2, inside, gains)
        if rounds >= HELD_ROUNDS:
            yy, yb, bb, mm, mb = _moments(y, offset, g1, g2, inside, gains)
            b, lam = balance(yy, yb, bb, mm, mb, n, target, lam, b, lowest, free)
        _follow(g1, g2, inside, gains, b, lam, c)
        stretch = 1 if rounds < FAST_ROUNDS else STRETCH if rounds < STRETCH_ROUNDS else n
        wrong = _exchange(y, offset + b, g1, g2, lam, c, inside, small, stretch)
        if wrong == 0 and rounds > HELD_ROUNDS:
            break
    return b, lam


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _merge_neighbours(g1, g2, inside, c, sizes):  # type: ignore[no-untyped-def]
    """Fill in the size of every spike; of those in neighbouring frames, one event, the largest gets all of it."""
    n = len(c)
    t = 0
    largest = 0.0
    while t < n:
        sizes[t] = 0.0
        if not inside[t]:
            t += 1
            continue
        total = highest = 0.0
        at = t
        while t < n and inside[t]:
            spike = _spike(c, t, g1, g2)
            sizes[t] = spike
            total += spike
            if spike > highest:
                at, highest = t, spike
            t += 1
        sizes[at] = total
        largest = max(largest, total)
    return largest


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _drop(g1, g2, inside, c, floor):  # type: ignore[no-untyped-def]
    """Take spikes below a floor from S, no two in a row, for what one leaves goes to others; return how many."""
    dropped = 0
    at, size, before = -1, 1e300, 1e300  # a spike that may go, and the one before it
    for t in range(len(c) + 1):
        if t == len(c) or inside[t]:
            spike = _spike(c, t, g1, g2) if t < len(c) else 1e300
            if size < floor and size <= before and size < spike:
                inside[at] = False
                dropped += 1
            at, size, before = t, spike, size
    return dropped


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _above_floor(y, offset, g1, g2, b, lowest, free, floor, inside, gains, c):  # type: ignore[no-untyped-def]
    """Drop spikes below a floor that rises in steps, for what is dropped makes others larger; return the baseline."""
    for rounds in range(len(y) + FLOOR_STEPS):
        _gains(y, offset, g1, g2, inside, gains)
        if free:
            yy, yb, bb, mm, mb = _moments(y, offset, g1, g2, inside, gains)
            b, _ = balance(yy, yb, bb, mm, mb, len(y), -1.0, 0.0, b, lowest, free)
        _follow(g1, g2, inside, gains, b, 0.0, c)
        dropped = _drop(g1, g2, inside, c, floor * min(1.0, (rounds + 1) / FLOOR_STEPS))
        if dropped == 0 and rounds >= FLOOR_STEPS:
            break
    return b


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _fewest(y, offset, g1, g2, b, target, largest, sizes, inside, gains, c):  # type: ignore[no-untyped-def]
    """Keep the largest spikes, as few as fit within ``target``: halve the interval of the smallest that is kept."""
    low, high = 0.0, 1.001 * largest
    for halving in range(HALVINGS + 1):
        keep = 0.5 * (low + high) if halving < HALVINGS else low
        for t in range(len(y)):
            inside[t] = sizes[t] > keep
        _gains(y, offset, g1, g2, inside, gains)
        yy, yb, bb, _, _ = _moments(y, offset, g1, g2, inside, gains)
        if yy + b * (b * bb - 2 * yb) <= target:
            low = keep
        else:
            high = keep
    _above_floor(y, offset, g1, g2, b, b, False, 0.0, inside, gains, c)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _write(g1, g2, inside, c, out_c, out_s):  # type: ignore[no-untyped-def]
    for t in range(len(c)):
        out_c[t] = max(c[t], 0.0)
        out_s[t] = max(_spike(c, t, g1, g2), 0.0) if inside[t] and t > 0 else 0.0


@numba.njit(cache=True, error_model="numpy", nogil=True)
def deconvolve_ar2(  # type: ignore[no-untyped-def]
    traces, coefficients, noise, baseline, penalty, floor, mode, free, least, c, s, begin, end
):
    """Fill ``c``, ``s``, ``baseline`` and ``penalty`` of some traces; begin with what the latter two say.

    Parameters
    ----------
    traces, noise, baseline, penalty, floor, mode, free, least, c, s, begin, end
        As in `gpucells.ops.oasis_ar1.deconvolve_ar1`.
    coefficients : numpy.ndarray
        ``(n_traces, 2)`` float64.
    """
    n = traces.shape[1]
    gains, path, inside = np.empty((n, 4)), np.empty(n), np.empty(n, np.bool_)
    for trace in range(begin, end):
        y, g1, g2 = traces[trace], coefficients[trace, 0], coefficients[trace, 1]
        if noise[trace] < 0:
            continue
        offset = 0.0
        for t in range(n):
            inside[t] = False
            offset += y[t]
        offset = offset / n if free else baseline[trace]
        scale = 0.0
        for t in range(n):
            scale += (y[t] - offset) ** 2
        small = TOLERANCE * (scale / n) ** 0.5
        target = -1.0 if mode == L1_PENALTY else noise[trace] * noise[trace] * n
        lowest = least[trace] - offset
        b, lam = baseline[trace] - offset, penalty[trace]
        b, lam = _fit(y, offset, g1, g2, target, lam, b, lowest, free, small, inside, gains, path)
        if mode > L1_PENALTY:
            sizes = gains[:, 0].copy()
            largest = _merge_neighbours(g1, g2, inside, path, sizes)
            if mode == FEWEST_SPIKES:
                _fewest(y, offset, g1, g2, b, target, largest, sizes, inside, gains, path)
            else:
                b = _above_floor(y, offset, g1, g2, b, lowest, free, floor[trace], inside, gains, path)
            lam = 0.0
        _write(g1, g2, inside, path, c[trace], s[trace])
        baseline[trace], penalty[trace] = b + offset, lam
