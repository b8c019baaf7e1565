r"""Spikes from traces: the sparse non-negative deconvolution of OASIS (Friedrich, Zhou & Paninski 2017), many at once.

A trace is :math:`y = b + c + \text{noise}`, where the calcium :math:`c_t = \sum_j \gamma_j c_{t-j} + s_t` answers to
spikes :math:`s_t \ge 0`. What is solved, exactly, unless something else is asked for, is

.. math:: \min_{b,\ s \ge 0}\ \textstyle\sum_t s_t \quad\text{such that}\quad \lVert y - b - c\rVert^2 \le \sigma^2 T .

Where no spikes come that close, those that come closest are taken (penalty 0). Calcium is 0 before the first frame, so
:math:`s_0 = c_0` counts in the sum; but what stands there is the decay of earlier spikes, so it is 0 in the result.

Traces on a GPU go to ``kernels/oasis_ar1.cu`` and ``kernels/oasis_ar2.cu``, all others to numba.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError
from gpucells.ops.noise import noise_std
from gpucells.ops.oasis_ar1 import FEWEST_SPIKES, L1_NOISE, L1_PENALTY, SPIKE_FLOOR, deconvolve_ar1
from gpucells.ops.oasis_ar2 import deconvolve_ar2
from gpucells.ops.oasis_cuda import deconvolve_cuda
from gpucells.ops.oasis_decay import fitted_decay
from gpucells.ops.row_blocks import each_share
from gpucells.ops.time_constants import time_constants

Float64 = NDArray[np.float64]

NO_TRACE = -1.0  # stands for the noise of a trace that is not finite
CLEAR_EVENT = -4.0  # floor of spikes for that, as ``s_min``: 3 standard errors of a spike's size
ROUNDS = 5  # of time constants and spikes in turn
SETTLED = 1e-3  # change of 1 - g, relative, that ends them


@dataclass(frozen=True)
class Deconvolved:
    """Spikes of traces, and what they were found with.

    Parameters
    ----------
    denoised : array
        ``(n_traces, n_frames)`` float32, calcium without the baseline; NumPy's or CuPy's, as the traces are.
    spikes : array
        ``(n_traces, n_frames)`` float32, in units of the trace: 1 makes the calcium jump by 1.
    baseline : numpy.ndarray
        ``(n_traces,)`` float64.
    noise : numpy.ndarray
        ``(n_traces,)`` float64 standard deviation.
    coefficients : numpy.ndarray
        ``(n_traces, order)`` float64.
    penalty : numpy.ndarray
        ``(n_traces,)`` float64 on the sum of the spikes: the one given, or what the noise amounts to; 0 with ``s_min``.
    """

    denoised: Any
    spikes: Any
    baseline: Float64
    noise: Float64
    coefficients: Float64
    penalty: Float64


@dataclass(frozen=True)
class _Problem:
    """What all traces are solved for; all arrays are ``(n_traces,)`` float64."""

    traces: Any  # float32, with ``shift`` taken off
    shift: Float64
    usable: NDArray[np.bool_]
    noise: Float64
    mode: int
    baseline: Float64 | None
    least: Float64
    penalty: Float64
    s_min: float


def deconvolve(
    traces: Any, order: int = 1, *, coefficients: ArrayLike | None = None, noise: ArrayLike | None = None,
    baseline: ArrayLike | None = None, baseline_nonnegative: bool = False, penalty: ArrayLike | None = None,
    s_min: float | None = None, optimize_g: int = 0, lags: int = 5, fudge: float = 0.96,
) -> Deconvolved:  # fmt: skip
    r"""Find the spikes of traces: the least that explain them to within the noise.

    A trace with a sample that is not finite gives zeros in everything; a constant one no spikes.

    Parameters
    ----------
    traces : array
        ``(n_traces, n_frames)`` of any real type, NumPy's or CuPy's. Solved in float64.
    order : int
        Of the response: 1 decays, 2 rises and decays; 0 has no memory, so that ``denoised`` and ``spikes`` are what is
        positive of the trace.
    coefficients : array_like, optional
        ``(n_traces, order)``, with order 1 also ``(n_traces,)``, or ``(order,)`` for all; by `time_constants` with
        ``lags`` and ``fudge`` if not given.
    noise : array_like, optional
        ``(n_traces,)`` standard deviations, or one for all; by `noise_std` if not given.
    baseline : array_like, optional
        ``(n_traces,)``, or one for all; fitted if not given.
    baseline_nonnegative : bool
        Whether the fitted baseline must not be below 0.
    penalty : array_like, optional
        ``(n_traces,)``, or one for all: minimise :math:`\tfrac12 \lVert y - b - c\rVert^2 + \lambda \sum_t s_t`.
    s_min : float, optional
        Instead of the least sum: spikes of at least this size and no penalty, as OASIS finds them, which is not always
        best. Negative: in units of ``noise * sqrt(1 - g)``, ``g`` the share that is left after a frame in the end.
        0: as few as come within the noise, by keeping the largest of those of the least sum, whose baseline is kept.
    optimize_g : int
        With order 1: fit the decay to so many events, those with the most of it, and deconvolve again, 5 times at most.

    Returns
    -------
    Deconvolved
        The same whatever the number of threads.

    Raises
    ------
    InputError
        Traces, coefficients, noise, a baseline or a penalty that cannot be used, or options that exclude each other.
    """
    if getattr(traces, "ndim", 0) != 2 or traces.shape[1] < 1:
        raise InputError(f"traces of shape {np.shape(traces)}", "give (n_traces, n_frames) with at least one frame")
    if order not in (0, 1, 2):
        raise InputError(f"order = {order} of a response", "use 0, 1 or 2")
    if optimize_g and (order != 1 or optimize_g < 0):
        raise InputError(f"optimize_g = {optimize_g} with order {order}", "it counts events, and needs order 1")
    problem = _problem(traces, order, noise, baseline, baseline_nonnegative, penalty, s_min)
    if order == 0:
        return _without_memory(problem)
    if coefficients is None:
        response = time_constants(problem.traces, order, np.maximum(problem.noise, 0), lags, fudge)
    else:
        response = _response(coefficients, len(traces), order)
    return _solve(problem, _fit_decay(problem, response, optimize_g) if optimize_g else response)


def _problem(
    traces: Any, order: int, noise: Any, baseline: Any, nonnegative: bool, penalty: Any, s_min: float | None
) -> _Problem:
    if penalty is not None and s_min is not None:
        raise InputError(f"penalty and s_min = {s_min}", "a penalty is for the sum of the spikes, s_min instead of it")
    if s_min is not None and not np.isfinite(s_min):
        raise InputError(f"s_min = {s_min}", "give a size, in units of the trace, or negative, of the noise")
    n = len(traces)
    xp = namespace_of(traces)
    usable = np.isfinite(to_host(xp.sum(xp.asarray(traces), axis=1, dtype=np.float64)))
    shift = np.zeros(n)
    if not usable.all():
        traces = xp.where(xp.asarray(usable)[:, None], traces, traces.dtype.type(0))
    if traces.dtype not in (np.float32, np.int16, np.uint16, np.int8, np.uint8):
        # What float32 would lose, it loses of the mean, which is large beside the signal where it loses something.
        mean = xp.mean(traces, axis=1, dtype=np.float64)
        shift, traces = to_host(mean).copy(), traces - mean[:, None]
    single = xp.ascontiguousarray(traces, dtype=np.float32)
    if noise is None and n:
        noise = to_host(noise_std(single)) if order else 0.0
    level = _per_trace("noise", 0.0 if noise is None else noise, n, usable, least=0.0)
    mode = L1_NOISE if s_min is None else SPIKE_FLOOR if s_min else FEWEST_SPIKES
    return _Problem(
        single, shift, usable, np.where(usable, level, NO_TRACE), L1_PENALTY if penalty is not None else mode,
        None if baseline is None else _per_trace("baseline", baseline, n, usable) - shift,
        -shift if nonnegative else np.full(n, -np.inf),
        _per_trace("penalty", 0.0 if penalty is None else penalty, n, usable, least=0.0), s_min or 0.0,
    )  # fmt: skip


def _per_trace(name: str, values: Any, n: int, usable: Any, least: float = -np.inf) -> Float64:
    """Return one number a trace, checked where the trace can be used."""
    given = np.asarray(to_host(values), np.float64)
    if given.shape not in ((), (n,)):
        raise InputError(f"{name} of shape {given.shape} for {n} traces", "give one a trace, or one for all")
    spread = np.where(usable, np.broadcast_to(given, n), max(least, 0.0))
    wrong = np.flatnonzero(~(np.isfinite(spread) & (spread >= least)))
    if len(wrong):
        hint = "it must be a number" if np.isinf(least) else f"it must be a number from {least:g} on"
        raise InputError(f"{name} of trace {wrong[0]} is {spread[wrong[0]]}", hint)
    return spread


def _response(coefficients: ArrayLike, n: int, order: int) -> Float64:
    """Return the coefficients of every trace, checked."""
    given = np.asarray(to_host(coefficients), np.float64)
    if given.ndim < 2:
        given = given.reshape(-1, order) if order in (1, given.size) else given
    if given.ndim != 2 or given.shape[1] != order or len(given) not in (1, n):
        raise InputError(f"coefficients of shape {np.shape(coefficients)} for {n} traces of order {order}",
                         "give (n_traces, order)")  # fmt: skip
    spread = np.ascontiguousarray(np.broadcast_to(given, (n, order)))
    with np.errstate(invalid="ignore"):
        slow, fast = slowest_decay(spread), -1.0 if order == 1 else spread[:, 0] - slowest_decay(spread)
        real = np.isfinite(spread).all(axis=1) & (
            spread[:, 0] ** 2 + 4 * spread[:, -1] >= -1e-9 if order == 2 else True
        )
        wrong = np.flatnonzero(~(real & (slow > 0) & (slow < 1) & ((fast >= 0) | (order == 1))))
    if len(wrong):
        raise InputError(
            f"coefficients {spread[wrong[0]]} of trace {wrong[0]} are no decay",
            "g must be between 0 and 1; with two, the roots of z^2 - g1 z - g2 must be real and between 0 and 1",
        )
    return spread


def slowest_decay(coefficients: Float64) -> Float64:
    """Return the largest root of every response ``(n, order)``: the share that is left after a frame."""
    if coefficients.shape[1] == 1:
        return coefficients[:, 0]
    middle = coefficients[:, 0] / 2
    root: Float64 = middle + np.sqrt(np.maximum(middle**2 + coefficients[:, 1], 0))
    return root


def _without_memory(problem: _Problem) -> Deconvolved:
    xp, n = namespace_of(problem.traces), len(problem.traces)
    level = problem.shift if problem.baseline is None else -problem.baseline
    positive = xp.maximum(problem.traces + xp.asarray(level.astype(np.float32))[:, None], np.float32(0))
    positive = xp.where(xp.asarray(problem.usable)[:, None], positive, np.float32(0))
    baseline = np.zeros(n) if problem.baseline is None else problem.baseline + problem.shift
    noise = np.maximum(problem.noise, 0)
    return Deconvolved(positive, positive.copy(), baseline, noise, np.zeros((n, 0)), np.zeros(n))


def _solve(problem: _Problem, response: Float64) -> Deconvolved:
    xp, n, order = namespace_of(problem.traces), len(problem.traces), response.shape[1]
    free = problem.baseline is None
    c, s = xp.zeros(problem.traces.shape, np.float32), xp.zeros(problem.traces.shape, np.float32)
    baseline = np.zeros(n) if problem.baseline is None else problem.baseline.copy()
    penalty, slow = problem.penalty.copy(), slowest_decay(response)
    floor = problem.s_min if problem.s_min > 0 else -problem.s_min * problem.noise * np.sqrt(1 - slow)
    solve = deconvolve_cuda if is_cupy_array(problem.traces) else _on_host
    others = (np.ascontiguousarray(np.broadcast_to(floor, n)), free, problem.least, c, s)
    if order == 2:
        # The slower decay alone tells nearly where baseline and penalty are; a penalty counts by a spike's area.
        area = (1 - slow) / (1 - response.sum(axis=1))
        start = penalty / area
        mode = L1_PENALTY if problem.mode == L1_PENALTY else L1_NOISE
        solve(problem.traces, slow[:, None], problem.noise, baseline, start, mode, *others)
        penalty = penalty if problem.mode == L1_PENALTY else start * area
    solve(problem.traces, response, problem.noise, baseline, penalty, problem.mode, *others)
    return Deconvolved(
        c, s, np.where(problem.usable, baseline + problem.shift, 0.0), np.maximum(problem.noise, 0), response,
        np.where(problem.usable, penalty, 0.0),
    )  # fmt: skip


def _on_host(
    traces: Any, response: Float64, noise: Float64, baseline: Float64, penalty: Float64, mode: int, floor: Float64,
    free: bool, least: Float64, c: Any, s: Any,
) -> None:  # fmt: skip
    body = deconvolve_ar1 if response.shape[1] == 1 else deconvolve_ar2
    coefficients = response[:, 0].copy() if response.shape[1] == 1 else response
    arguments = (traces, coefficients, noise, baseline, penalty, floor, mode, free, least, c, s)
    each_share(len(traces), lambda begin, end: body(*arguments, begin, end))


def _fit_decay(problem: _Problem, response: Float64, n_events: int) -> Float64:
    """Deconvolve and fit the decays to events, in turn; a penalty's small spikes would cut events into pieces."""
    host = to_host(problem.traces)
    clear = replace(problem, mode=SPIKE_FLOOR, s_min=CLEAR_EVENT)
    for _ in range(ROUNDS):
        found = _solve(clear, response)
        before = response[:, 0]
        decay = fitted_decay(
            host, to_host(found.denoised), to_host(found.spikes), found.baseline - problem.shift, before, n_events
        )
        response = decay[:, None]
        if np.all(np.abs(decay - before) <= SETTLED * (1 - before)):
            break
    return response
