"""How long transients last: the autocovariance of spots' traces, noise left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gpucells.preprocess.probe_spots import LEVEL, Spots

Float32 = NDArray[np.float32]

MOST_SPOTS = 40  # traces whose decay is measured
MOST_PIXELS = 64  # of a spot, and of the ring around it, that a trace averages
RING = (1.2, 2.0)  # inner and outer radius of the ring, in cell radii from the spot's centre


def spot_traces(frames: Float32, inside: NDArray[np.bool_], spots: Spots, diameter_px: float) -> Float32:
    """Mean of a spot's pixels less the mean of a ring around it, at the movie's own frame rate.

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

    Returns
    -------
    numpy.ndarray
        ``(n_spots, n_frames)`` float32.
    """
    strongest = np.argsort(-spots.peaks, kind="stable")[:MOST_SPOTS]
    traces = [
        _trace(frames, inside, spots.centres[i], spots.images[i], spots.pitch, diameter_px / 2) for i in strongest
    ]
    return np.nan_to_num(np.stack(traces), nan=0.0, posinf=0.0, neginf=0.0)


def _trace(
    frames: Float32, inside: NDArray[np.bool_], centre: NDArray[np.int64], image: Float32, pitch: int, radius: float
) -> Float32:
    reach = int(np.ceil(RING[1] * radius)) + 1
    low = np.maximum(centre - reach, 0)
    high = np.minimum(centre + reach + 1, inside.shape)
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
    dy, dx = y - centre[0], x - centre[1]
    half = image.shape[0] // 2
    value = image[tuple(np.clip((d + pitch // 2) // pitch + half, 0, 2 * half) for d in (dy, dx))]
    usable = inside[y, x]
    distance = np.hypot(dy, dx)
    ring = usable & (distance > RING[0] * radius) & (distance <= RING[1] * radius) & (value < LEVEL)
    own = usable & (value > 0.5)
    if not own.any():
        own = distance < 1
    trace = _mean(frames, y[own], x[own])
    return trace - _mean(frames, y[ring], x[ring]) if ring.any() else trace


def _mean(frames: Float32, y: NDArray[np.int64], x: NDArray[np.int64]) -> Float32:
    some = np.unique(np.linspace(0, len(y) - 1, MOST_PIXELS).round().astype(int))
    return np.asarray(frames[:, y[some], x[some]].mean(axis=1), np.float32)


def decay(traces: Float32) -> NDArray[np.float64]:
    r"""Lag at which each trace's autocovariance falls to 1/e of what it would be at lag 0 without noise.

    White noise adds to lag 0 alone. What the signal adds there is extrapolated from lags 1 and 2, exponentially.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` frames; NaN where lag 1 is not above 0 or the covariance does not fall.
    """
    n_traces, n_frames = traces.shape
    result = np.full(n_traces, np.nan)
    if n_frames < 6:
        return result
    centred = traces - traces.mean(axis=1, keepdims=True)
    n = fft.next_fast_len(2 * n_frames)
    covariance = fft.irfft(np.abs(fft.rfft(centred, n, axis=1)) ** 2, n, axis=1)[:, : n_frames // 2]
    covariance /= np.arange(n_frames, n_frames - covariance.shape[1], -1)
    for i, c in enumerate(covariance):
        if not c[1] > 0:
            continue
        ratio = np.clip(c[2] / c[1], np.exp(-1), 1)
        c[0] = c[1] / ratio
        below = np.flatnonzero(c < c[0] / np.e)
        if len(below):
            k = int(below[0])
            result[i] = k - 1 + (c[k - 1] - c[0] / np.e) / (c[k - 1] - c[k])
    return result
