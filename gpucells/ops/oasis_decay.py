"""The decay of an indicator from a trace's own events: what fits best between one spike and the next."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from gpucells.ops.row_blocks import each_share

FASTEST, SLOWEST = 0.05, 0.9999  # share left after a frame: half a frame to 10,000 frames
SEARCH_STEPS = 40  # of the golden section, each .618 of the interval before
GOLDEN = 0.6180339887498949


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _misfit(y, level, begin, end, g):  # type: ignore[no-untyped-def]
    """Return what decays of their best heights leave of events, but for the part that no decay changes."""
    total = 0.0
    for event in range(len(begin)):
        v = w = 0.0
        weight = 1.0
        for t in range(begin[event], end[event]):
            v += weight * (y[t] - level)
            w += weight * weight
            weight *= g
            if weight < 1e-30:
                break
        total -= max(v, 0.0) ** 2 / w
    return total


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _largest_events(c, s, begin, end, energy):  # type: ignore[no-untyped-def]
    """Fill in first and last frame of the events with the most calcium after their first frame; return how many."""
    n, n_events = len(c), 0
    t = 0
    while t < n:
        first = t
        inside = 0.0
        t += 1
        while t < n and not s[t] > 0:
            inside += c[t] * c[t]
            t += 1
        if not inside > 0:
            continue
        at = n_events if n_events < len(begin) else int(np.argmin(energy))
        if n_events < len(begin):
            n_events += 1
        elif inside <= energy[at]:
            continue
        begin[at], end[at], energy[at] = first, t, inside
    return n_events


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _fit(traces, c, s, baseline, n_events, decay, first, last):  # type: ignore[no-untyped-def]
    begin, end = np.empty(n_events, np.int64), np.empty(n_events, np.int64)
    energy = np.empty(n_events)
    for trace in range(first, last):
        y, level = traces[trace], baseline[trace]
        found = _largest_events(c[trace], s[trace], begin, end, energy)
        if found == 0:
            continue
        low, high = np.log(FASTEST), np.log(SLOWEST)
        low, high = -1 / low, -1 / high  # time constants; their logarithms are searched
        low, high = np.log(low), np.log(high)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        at_left = _misfit(y, level, begin[:found], end[:found], np.exp(-np.exp(-left)))
        at_right = _misfit(y, level, begin[:found], end[:found], np.exp(-np.exp(-right)))
        for _ in range(SEARCH_STEPS):
            if at_left <= at_right:
                high, right, at_right = right, left, at_left
                left = high - GOLDEN * (high - low)
                at_left = _misfit(y, level, begin[:found], end[:found], np.exp(-np.exp(-left)))
            else:
                low, left, at_left = left, right, at_right
                right = low + GOLDEN * (high - low)
                at_right = _misfit(y, level, begin[:found], end[:found], np.exp(-np.exp(-right)))
        decay[trace] = np.exp(-np.exp(-0.5 * (low + high)))


def fitted_decay(
    traces: NDArray[np.float32], denoised: NDArray[np.float32], spikes: NDArray[np.float32],
    baseline: NDArray[np.float64], decay: NDArray[np.float64], n_events: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Fit one decay to the largest events of each trace: least squares, the height of each event free.

    Parameters
    ----------
    traces, denoised, spikes : numpy.ndarray
        ``(n_traces, n_frames)`` float32; an event lasts from one spike to the frame before the next.
    baseline : numpy.ndarray
        ``(n_traces,)`` float64.
    decay : numpy.ndarray
        ``(n_traces,)`` float64, kept where a trace has no event.
    n_events : int
        How many events of each trace, those with the most calcium after their first frame.

    Returns
    -------
    numpy.ndarray
        ``(n_traces,)`` float64, the share that is left after a frame.
    """
    fitted = decay.copy()
    arguments = (traces, denoised, spikes, baseline, n_events, fitted)
    each_share(len(traces), lambda begin, end: _fit(*arguments, begin, end))
    return fitted
