"""Events as local maxima above a threshold, after the calcium's decay has been taken out: CellSort's way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def without_decay(traces: Float64, frame_s: float, decay_s: float) -> Float64:
    """Invert an exponential decay: ``trace / decay_s + d trace / dt``.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n, n_frames)``.
    frame_s, decay_s : float
        Seconds a frame, and the time constant.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)`` per second; the first frame has the slope of the second, as in CellSort.
    """
    slope = np.diff(traces, axis=1) / frame_s
    slope = np.concatenate([slope[:, :1], slope], axis=1) if slope.size else np.zeros_like(traces)
    return np.asarray(traces / decay_s + slope, np.float64)


def threshold_events(traces: Float64, threshold: float) -> NDArray[np.bool_]:
    """Find samples that reach a threshold and are no less than their two neighbours.

    Of equal samples in a row the first counts alone.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n, n_frames)``; NaN is no event.
    threshold : float
        In the traces' units.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)`` bool.
    """
    before = np.concatenate([np.full((len(traces), 1), -np.inf), traces[:, :-1]], axis=1)
    after = np.concatenate([traces[:, 1:], np.full((len(traces), 1), -np.inf)], axis=1)
    return np.asarray((traces >= threshold) & (traces > before) & (traces >= after))


def standardised(traces: Float64) -> Float64:
    """Take traces about their means, in units of their standard deviations; one that is constant becomes 0.

    The deviation is that of a sample (n - 1), MATLAB's.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n, n_frames)``.
    """
    if traces.size == 0:
        return traces
    spread = traces.std(axis=1, keepdims=True, ddof=min(1, traces.shape[1] - 1))
    return np.asarray((traces - traces.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1), np.float64)
