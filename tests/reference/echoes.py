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
    (centred) follow one of them above ``limit``, and above three deviations of chance, are echoes if `own_snr` of their
    trace is below ``least``, without those that they follow at all.
    """
    echo = np.zeros(len(events), bool)
    for i, dim in enumerate(events):
        near = [np.abs(corners[i] - corner).max() <= side for corner in corners]
        brighter = [j for j, other in enumerate(events) if near[j] and np.ptp(dim) < share * np.ptp(other)]
        r = np.array([np.corrcoef(dim, events[j])[0, 1] if np.ptp(dim) > 0 else 0 for j in brighter])
        lowest = np.array([3 * chance(dim, events[j]) for j in brighter])
        if (r > np.maximum(limit, lowest)).any():
            followed = [j for j, more in zip(brighter, r > lowest, strict=True) if more]
            echo[i] = own_snr(traces[i], traces[followed], error) < least
    return echo


def chance(one: Any, other: Any) -> float:
    """Standard deviation of the correlation of two unrelated signals with these autocorrelations."""
    lengths = []
    for signal in (np.asarray(one, float), np.asarray(other, float)):
        around = signal - signal.mean()
        own = np.correlate(around, around, "full") / max((around**2).sum(), 1e-20)
        lengths.append(max(1.0, (own**2).sum()))
    return float(np.sqrt(np.sqrt(lengths[0] * lengths[1]) / len(np.asarray(one))))


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
