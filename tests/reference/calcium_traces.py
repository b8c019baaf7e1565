"""Traces of known spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import lfilter


def calcium_traces(
    n: int, n_frames: int, order: int = 1, seed: int = 0, noise: float = 0.3, rate: float = 0.02
) -> tuple[Any, Any, Any, Any]:
    """Return traces (float32), coefficients, spikes and baselines; decays of .9 to .98 a frame, rises of .3 to .7."""
    rng = np.random.default_rng(seed)
    roots = np.stack([rng.uniform(0.9, 0.98, n), rng.uniform(0.3, 0.7, n)], axis=1)[:, :order]
    coefficients = roots if order == 1 else np.stack([roots.sum(axis=1), -roots.prod(axis=1)], axis=1)
    spikes = rng.poisson(rate, (n, n_frames)).astype(float)
    calcium = [lfilter([1.0], np.r_[1.0, -g], s) for g, s in zip(coefficients, spikes, strict=True)]
    baseline = rng.uniform(0.5, 3, n)
    traces = np.array(calcium).reshape(n, n_frames) + baseline[:, None] + noise * rng.normal(size=(n, n_frames))
    return traces.astype(np.float32), coefficients, spikes, baseline
