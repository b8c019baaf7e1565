"""How long transients last: a cumulant of spots' traces that noise and slow background leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gpucells.preprocess.probe_spots import LEVEL, UPPER_LEVEL, Spots, weighted_median

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MOST_SPOTS = 40  # traces whose decay is measured
MOST_PIXELS = 64  # of a spot, and of the ring around it, that a trace averages
FEWEST_FRAMES = 8
RING = (1.2, 2.0)  # inner and outer radius of the ring, in cell radii from the spot's centre


def find_decay(
    frames: NDArray[Any], inside: NDArray[np.bool_], spots: Spots, diameter_px: float, starts: Sequence[int] = (0,)
) -> float:
    """Return the decay of a typical spot's transients (frames); NaN where there are none to see.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` float32; what is not finite counts as 0.
    inside : numpy.ndarray
        ``(height, width)`` bool.
    spots : Spots
        The strongest :data:`MOST_SPOTS` are taken.
    diameter_px : float
        Width of a cell (px).
    starts : sequence of int
        Where frames start that do not follow upon those before, the first 0.
    """
    strongest = np.argsort(-spots.peaks, kind="stable")[:MOST_SPOTS]
    if not len(strongest):
        return np.nan
    traces = [_trace(frames, inside, spots.centres[i], spots.images[i], spots.pitch, diameter_px) for i in strongest]
    decays = decay(np.nan_to_num(np.stack(traces), nan=0.0, posinf=0.0, neginf=0.0), starts)
    known = np.isfinite(decays)
    return weighted_median(decays[known], (spots.rises * spots.weights)[strongest][known]) if known.any() else np.nan


def _trace(
    frames: NDArray[Any],
    inside: NDArray[np.bool_],
    centre: NDArray[np.int64],
    image: Float32,
    pitch: int,
    diameter_px: float,
) -> Float32:
    """Mean of a spot's pixels less the mean of a ring around it, at the movie's own frame rate."""
    inner, outer = (r * diameter_px / 2 for r in RING)
    low = np.maximum(centre - int(outer) - 1, 0)
    high = np.minimum(centre + int(outer) + 2, inside.shape)
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
    dy, dx = y - centre[0], x - centre[1]
    half = image.shape[0] // 2
    value = image[tuple(np.clip((d + pitch // 2) // pitch + half, 0, 2 * half) for d in (dy, dx))]
    usable = inside[y, x]
    distance = np.hypot(dy, dx)
    ring = usable & (distance > inner) & (distance <= outer) & (value < LEVEL)
    own = usable & (value > UPPER_LEVEL)
    if not own.any():
        own = distance < 1
    trace = _mean(frames, y[own], x[own])
    return trace - _mean(frames, y[ring], x[ring]) if ring.any() else trace


def _mean(frames: NDArray[Any], y: NDArray[np.int64], x: NDArray[np.int64]) -> Float32:
    some = np.unique(np.linspace(0, len(y) - 1, MOST_PIXELS).round().astype(int))
    return np.asarray(frames[:, y[some], x[some]].astype(np.float32, copy=False).mean(axis=1), np.float32)


def decay(traces: Float32, starts: Sequence[int] = (0,)) -> Float64:
    r"""1/e decay of each trace's transients, from its third-order cumulant.

    .. math:: c(k) = \langle x_t^2 x_{t+k} \rangle, \quad \langle x \rangle = 0

    For events that each leave a transient :math:`h`, :math:`c(k) \propto \sum_t h_t^2 h_{t+k}`, which falls as
    :math:`h` does. Background, drift and white noise go up as often as down and leave nothing there, while the
    autocovariance would take slow background for slow transients. Lag 0, where the noise of photons (which is skewed)
    does appear, is extrapolated from lags 1 and 2, exponentially.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n, n_frames)`` float32.
    starts : sequence of int
        Where frames start that do not follow upon those before, the first 0. Every such block has its own mean, and
        lags go up to half of the shortest.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` frames; NaN where there is no transient to see.
    """
    blocks = np.split(traces.astype(np.float64), starts[1:], axis=1)
    n_frames = min(block.shape[1] for block in blocks)
    if n_frames < FEWEST_FRAMES:
        return np.full(len(traces), np.nan)
    lags = np.arange(n_frames // 2)
    total = sum(_third_moments(block)[:, : len(lags)] for block in blocks)
    return np.asarray([_fall(c) for c in total / (traces.shape[1] - len(blocks) * lags)], np.float64)


def _third_moments(x: Float64) -> Float64:
    """Sum x(t)^2 x(t + lag) over time at each lag, of traces without their mean."""
    x = x - x.mean(axis=1, keepdims=True)
    square = x**2
    square -= square.mean(axis=1, keepdims=True)
    n = fft.next_fast_len(2 * x.shape[1])
    product = np.conj(fft.rfft(square, n, axis=1)) * fft.rfft(x, n, axis=1)
    return np.asarray(fft.irfft(product, n, axis=1))


def _fall(cumulant: Float64) -> float:
    """Lag at which it has fallen to 1/e; NaN if it does not."""
    first, second = cumulant[1], cumulant[2]
    if not first > 0:
        return np.nan
    start = first / np.clip(second / first, np.exp(-1), 1)
    values = np.concatenate([[start], cumulant[1:]])
    below = np.flatnonzero(values < start / np.e)
    if not len(below):
        return np.nan
    k = int(below[0])
    return float(k - 1 + (values[k - 1] - start / np.e) / (values[k - 1] - values[k]))
