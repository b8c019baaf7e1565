"""A quantile of every window, one window at a time, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def windows_quantile(traces: ArrayLike, quantile: ArrayLike, window: int, step: int = 1) -> NDArray[np.float64]:
    """``(n_traces, n_frames)``: NumPy's quantile of the finite samples of each window, lines between every ``step``."""
    rows = np.asarray(traces, np.float64)
    n_traces, n_frames = rows.shape
    quantiles = np.broadcast_to(quantile, (n_traces,))
    if n_frames == 0:
        return np.empty(rows.shape)
    places = np.unique(np.append(np.arange(0, n_frames, step), n_frames - 1))
    out = np.full((n_traces, len(places)), np.nan)
    for i, row in enumerate(rows):
        for k, t in enumerate(places):
            first, last = max(0, t - window // 2), min(n_frames, t - window // 2 + window)
            seen = row if window > n_frames else row[first:last]
            seen = seen[np.isfinite(seen)]
            if len(seen):
                out[i, k] = np.quantile(seen, quantiles[i])
    lines = [np.interp(np.arange(n_frames), places, row) for row in out]
    return np.array(lines).reshape(n_traces, n_frames)
