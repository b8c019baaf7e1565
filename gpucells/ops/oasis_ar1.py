r"""Spikes of a first-order decay, one trace after another: the pools of OASIS (Friedrich, Zhou & Paninski 2017).

With :math:`s_0 = c_0` and :math:`s_t = c_t - \gamma c_{t-1}`, for a baseline :math:`b` and a penalty :math:`\lambda`,

.. math:: \min_{c,\ s \ge 0}\ \tfrac12 \lVert y - b - c\rVert^2 + \lambda \textstyle\sum_t s_t .

Between spikes the solution decays: a *pool* of :math:`l` frames has the one free number :math:`h = v / w`, where
:math:`v = \sum_j \gamma^j (y_j - b - \mu_j)`, :math:`w = \sum_j \gamma^{2j}`, and :math:`\mu_j` is :math:`\lambda (1 -
\gamma)`, or :math:`\lambda` in the last frame. A pool that would begin below where the one before it ends is joined to
it. One pass is exact.

:math:`b` and :math:`\lambda` that meet a sum of squares are found by Newton steps on pools. As long as the pools are
what they are, the best :math:`b` is linear in :math:`\lambda` and the sum of squares is :math:`A + B \lambda^2`, so a
step ends where the two conditions hold for these pools; when it no longer changes anything, they hold. Almost all
depends on :math:`b + (1 - \gamma) \lambda` alone, and a step that does not lower this number only joins pools: it costs
a pass over pools, not over frames. (The original takes such steps too, but at most five, and refits :math:`b` between.)
"""

from __future__ import annotations

import numba
import numpy as np

from gpucells.device.kernels import Array, Define, Kernel, Scalar

MAX_STEPS = 60  # Newton steps; 4 to 12 are usual
DAMPED_STEPS = 25  # from here on half steps, should whole ones ever go round in a circle
TOLERANCE = 1e-10  # of a step, relative to the trace's standard deviation
L1_NOISE, L1_PENALTY, SPIKE_FLOOR, FEWEST_SPIKES = 0, 1, 2, 3
HALVINGS = 40  # of the smallest spike that is kept, when the fewest are looked for
BASELINE_ROUNDS = 5  # of the baseline and the spikes above a floor, in turn
WARP = 32  # traces a block of the CUDA kernels

MODES = (
    Define("L1_PENALTY", (L1_PENALTY,)), Define("SPIKE_FLOOR", (SPIKE_FLOOR,)),
    Define("FEWEST_SPIKES", (FEWEST_SPIKES,)),
)  # fmt: skip
NUMBERS = (
    Array("noise", "float64", ("n_traces",)), Array("baseline", "float64", ("n_traces",), written=True),
    Array("penalty", "float64", ("n_traces",), written=True), Array("floor", "float64", ("n_traces",)),
    Array("least", "float64", ("n_traces",)),
)  # fmt: skip
RESULTS = (
    Array("c", "float32", ("n_frames", "n_traces"), written=True),
    Array("s", "float32", ("n_frames", "n_traces"), written=True), Scalar("n_frames"), Scalar("n_traces"),
)  # fmt: skip
OASIS_AR1 = Kernel(
    "oasis_ar1.cu",
    "oasis_ar1",
    (
        Array("traces", "float32", ("n_frames", "n_traces")), Array("coefficients", "float64", ("n_traces",)),
        *NUMBERS, Array("pools_of_all", "float64", (5, "n_frames", "n_traces"), written=True),
        Array("spare_of_all", "float64", (4, "n_spare", "n_traces"), written=True), *RESULTS, Scalar("n_spare"),
        Scalar("mode"), Scalar("free", "bool"),
    ),
    threads=256, registers=144,
    defines=(
        *MODES, Define("MAX_STEPS", (MAX_STEPS,)), Define("DAMPED_STEPS", (DAMPED_STEPS,)),
        Define("TOLERANCE", (str(TOLERANCE),)), Define("HALVINGS", (HALVINGS,)),
        Define("BASELINE_ROUNDS", (BASELINE_ROUNDS,)),
    ),
)  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _join(pools, count, g, shift, penalty, floor, keep):  # type: ignore[no-untyped-def]
    """Join pools until each begins at least ``floor`` above where the one before ends; return how many are left.

    The columns of ``pools`` are sum(g^j y_j), g^l, l, the size of the spike in an earlier solution, and h; pools whose
    spike was smaller than ``keep`` are joined whatever they begin with. ``shift`` is b + (1 - g) lambda.
    """
    per_frame, per_square = 1 / (1 - g), 1 - g * g
    k = 0
    for i in range(count):
        v, decay, length, size = pools[i, 0], pools[i, 1], pools[i, 2], pools[i, 3]
        end = penalty if i == count - 1 else 0.0
        h = (v - shift * (1 - decay) * per_frame - end * decay) * per_square / (1 - decay * decay)
        while k > 0 and (size < keep or max(pools[k - 1, 4], 0.0) * pools[k - 1, 1] + floor > h):
            k -= 1
            v = pools[k, 0] + pools[k, 1] * v
            decay *= pools[k, 1]
            if decay < 1e-100:  # squares of it would be denormal: slow, and nothing beside 1
                decay = 0.0
            length += pools[k, 2]
            size = pools[k, 3]
            h = (v - shift * (1 - decay) * per_frame - end * decay) * per_square / (1 - decay * decay)
        pools[k, 0], pools[k, 1], pools[k, 2], pools[k, 3], pools[k, 4] = v, decay, length, size, h
        k += 1
    return k


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _start(y, offset, pools, g, shift, penalty, floor):  # type: ignore[no-untyped-def]
    """Make every frame a pool and join them."""
    for t in range(len(y)):
        pools[t, 0], pools[t, 1], pools[t, 2], pools[t, 3] = y[t] - offset, g, 1.0, 0.0
    return _join(pools, len(y), g, shift, penalty, floor, 0.0)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _step(pools, count, n, g, total, square, target, penalty, baseline, least, free):  # type: ignore[no-untyped-def]
    """Return the baseline and penalty that meet the conditions as long as pools stay what they are."""
    per_frame, per_square = 1 / (1 - g), 1 - g * g
    vv = av = aa = am = mm = 0.0
    for i in range(count):
        if pools[i, 4] > 0:
            v, decay = pools[i, 0], pools[i, 1]
            a = (1 - decay) * per_frame
            m = 1.0 if i == count - 1 else 1 - decay
            w = per_square / (1 - decay * decay)
            vv += v * v * w
            av += a * v * w
            aa += a * a * w
            am += a * m * w
            mm += m * m * w
    return balance(square - vv, total - av, n - aa, mm, am, n, target, penalty, baseline, least, free)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _penalty(target, fixed, slope, penalty):  # type: ignore[no-untyped-def]
    """Solve ``fixed + slope * penalty**2 = target``; 0 where that is too much, unchanged where it has no effect."""
    if fixed >= target:
        return 0.0
    return (max(target - fixed, 0.0) / slope) ** 0.5 if slope > 0 else penalty


@numba.njit(cache=True, error_model="numpy", nogil=True)
def balance(yy, y1, ones, mm, m1, n, target, penalty, baseline, least, free):  # type: ignore[no-untyped-def]
    """Return the baseline and penalty that meet the conditions as long as the places of spikes stay what they are.

    Parameters
    ----------
    yy, y1, ones, mm, m1 : float
        With P the projection on what the spikes can make: y'(1 - P)y, y'(1 - P)1, 1'(1 - P)1, |Pm|^2 and 1'Pm, where m
        is what a penalty of 1 takes off.
    n : int
        Frames.
    target : float
        The wanted sum of squares, negative where the penalty is given.
    penalty, baseline : float
        As they are.
    least : float
        The lowest that the baseline may be.
    free : bool
        Whether it is fitted.
    """
    if free and ones > 1e-9 * n:
        at_zero, slope = y1 / ones, m1 / ones
        lam = penalty
        if target >= 0:
            lam = _penalty(target, yy - at_zero * y1, mm + slope * m1, penalty)
        if at_zero + slope * lam >= least:
            return at_zero + slope * lam, lam
        baseline = least
    elif free:
        baseline = max(baseline, least)
    if target >= 0:
        penalty = _penalty(target, yy - 2 * baseline * y1 + baseline * baseline * ones, mm, penalty)
    return baseline, penalty


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _write(pools, count, g, c, s):  # type: ignore[no-untyped-def]
    t = 0
    before = 0.0
    for i in range(count):
        value = max(pools[i, 4], 0.0)
        s[t] = value - before if t > 0 else 0.0
        for j in range(int(pools[i, 2])):
            if j > 0:
                s[t] = 0.0
            c[t] = value
            value *= g
            value = value if value > 1e-30 else 0.0
            t += 1
        before = value


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _squares(pools, count, n, g, total, square, baseline):  # type: ignore[no-untyped-def]
    """Return the sum of squares of y - b - c and the mean of y - c, from pools that solve for no penalty."""
    per_frame, per_square = 1 / (1 - g), 1 - g * g
    rss = square - 2 * baseline * total + n * baseline * baseline
    rest = total
    for i in range(count):
        if pools[i, 4] > 0:
            w = (1 - pools[i, 1] * pools[i, 1]) / per_square
            a = (1 - pools[i, 1]) * per_frame
            rss += pools[i, 4] * (pools[i, 4] * w - 2 * (pools[i, 0] - baseline * a))
            rest -= pools[i, 4] * a
    return rss, rest / n


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _sparsify(y, offset, pools, spare, count, g, total, square, target, baseline):  # type: ignore[no-untyped-def]
    """Keep the largest spikes, as few as fit within ``target``: halve the interval of the smallest that is kept."""
    n = len(y)
    largest = 0.0
    for i in range(count):
        before = max(pools[i - 1, 4], 0.0) * pools[i - 1, 1] if i > 0 else 0.0
        pools[i, 3] = max(pools[i, 4], 0.0) - before
        largest = max(largest, pools[i, 3])
        for j in range(4):
            spare[i, j] = pools[i, j]
    low, high = 0.0, 1.001 * largest
    kept = count
    for halving in range(HALVINGS + 1):
        keep = 0.5 * (low + high) if halving < HALVINGS else low
        for i in range(count):
            for j in range(4):
                pools[i, j] = spare[i, j]
        kept = _join(pools, count, g, baseline, 0.0, 0.0, keep)
        if _squares(pools, kept, n, g, total, square, baseline)[0] <= target:
            low = keep
        else:
            high = keep
    return kept


@numba.njit(cache=True, error_model="numpy", nogil=True)
def deconvolve_ar1(  # type: ignore[no-untyped-def]
    traces, coefficients, noise, baseline, penalty, floor, mode, free, least, c, s, begin, end
):
    """Fill ``c``, ``s``, ``baseline`` and ``penalty`` of some traces.

    Parameters
    ----------
    traces, c, s : numpy.ndarray
        ``(n_traces, n_frames)`` float32.
    coefficients, noise, baseline, penalty, floor : numpy.ndarray
        ``(n_traces,)`` float64; a trace whose ``noise`` is negative is left alone.
    mode : int
        ``L1_NOISE``, ``L1_PENALTY``, ``SPIKE_FLOOR`` or ``FEWEST_SPIKES``.
    free : bool
        Whether the baseline is fitted.
    least : numpy.ndarray
        ``(n_traces,)`` float64, the lowest that it may be.
    begin, end : int
        Which traces.
    """
    n = traces.shape[1]
    pools = np.empty((n, 5))
    spare = np.empty((n if mode == FEWEST_SPIKES else 0, 4))
    for trace in range(begin, end):
        y, g = traces[trace], coefficients[trace]
        if noise[trace] < 0:
            continue
        mean = 0.0
        for t in range(n):
            mean += y[t]
        offset = mean / n if free else baseline[trace]
        total = square = 0.0
        for t in range(n):
            deviation = y[t] - offset
            total += deviation
            square += deviation * deviation
        target = -1.0 if mode == L1_PENALTY else noise[trace] * noise[trace] * n
        lowest = least[trace] - offset
        scale = (square / n) ** 0.5
        lam = penalty[trace] if mode == L1_PENALTY else 0.0
        b = max(-0.5 * scale if free else 0.0, lowest if free else 0.0)
        shift = b + (1 - g) * lam
        count = _start(y, offset, pools, g, shift, lam, 0.0)
        for step in range(MAX_STEPS):
            new_b, new_lam = _step(pools, count, n, g, total, square, target, lam, b, lowest, free)
            if step >= DAMPED_STEPS:
                new_b, new_lam = 0.5 * (b + new_b), 0.5 * (lam + new_lam)
            new_shift = new_b + (1 - g) * new_lam
            done = abs(new_b - b) + (1 - g) * abs(new_lam - lam) <= TOLERANCE * scale
            only_joins = new_shift >= shift and new_lam >= lam
            b, lam, shift = new_b, new_lam, new_shift
            if only_joins:
                count = _join(pools, count, g, shift, lam, 0.0, 0.0)
            else:
                count = _start(y, offset, pools, g, shift, lam, 0.0)
            if done:
                break
        if mode == SPIKE_FLOOR:
            for _ in range(BASELINE_ROUNDS):
                count = _start(y, offset, pools, g, b, 0.0, floor[trace])
                if not free:
                    break
                refitted = max(_squares(pools, count, n, g, total, square, b)[1], lowest)
                done = abs(refitted - b) <= 1e-4 * noise[trace]
                if done:
                    break
                b = refitted
        elif mode == FEWEST_SPIKES:
            count = _sparsify(y, offset, pools, spare, count, g, total, square, target, b)
        _write(pools, count, g, c[trace], s[trace])
        baseline[trace] = b + offset
        penalty[trace] = lam if mode <= L1_PENALTY else 0.0
