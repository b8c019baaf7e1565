"""Dim copies of bright neighbours, every pair of cells looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, optimize

from gpucells.ops.difference_noise import difference_noise


def find_echoes(
    corners: Any, side: int, events: Any, traces: Any, share: float, limit: float, least: float, error: float
) -> np.ndarray:
    """Mark cells that follow a brighter neighbour and have nothing of their own.

    A neighbour is within ``side`` px and counts where a cell is less than ``share`` as bright; cells whose events
    (centred) follow one of them above ``limit`` are echoes if `own_snr` of their trace is below ``least``.
    """
    echo = np.zeros(len(events), bool)
    for i, dim in enumerate(events):
        near = [np.abs(corners[i] - corner).max() <= side for corner in corners]
        brighter = [j for j, other in enumerate(events) if near[j] and np.ptp(dim) < share * np.ptp(other)]
        follows = [np.ptp(dim) > 0 and np.corrcoef(dim, events[j])[0, 1] > limit for j in brighter]
        if any(follows):
            echo[i] = own_snr(traces[i], traces[brighter], error) < least
    return echo


def own_snr(trace: Any, brighter: Any, error: float) -> float:
    """Peak of a trace, in noises, without what the neighbours' light above their medians explains of it."""
    above = np.asarray(trace, float) - np.median(trace)
    others = np.array([np.maximum(row - np.median(row), 0) for row in np.asarray(brighter, float)])
    shared = optimize.lsq_linear(others.T, above, (0, np.inf), method="bvls").x @ others
    own = above - shared
    white = float(difference_noise(own[None].astype(np.float32))[0])
    noise = max(white, -np.quantile(own, 0.05) / 1.645)
    peaks = ndimage.median_filter(own, 3)
    return float((peaks[1:-1] / np.sqrt(noise**2 + (error * shared[1:-1]) ** 2)).max())
