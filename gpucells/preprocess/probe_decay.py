"""How long transients last: the autocovariance of spots' traces, noise left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float32 = NDArray[np.float32]


def spot_trace(frames: Float32, seed: NDArray[np.int64], image: Float32, pitch: int, diameter_px: float) -> Float32:
    """Mean of a spot's pixels less the mean of a ring around it, at the movie's own frame rate.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` float32.
    seed : numpy.ndarray
        ``(2,)`` row and column in binned pixels.
    image : numpy.ndarray
        ``(side, side)`` the spot's image in binned pixels, maximum 1, centred on the seed.
    pitch : int
        Pixels averaged into one binned pixel along each side.
    diameter_px : float
        Width of a cell (px).

    Returns
    -------
    numpy.ndarray
        ``(n_frames,)`` float32.
    """
    _, height, width = frames.shape
    row, column = (int(pitch * (s + 0.5)) for s in seed)
    reach = int(np.ceil(1.5 * diameter_px))
    rows = slice(max(0, row - reach), min(height, row + reach + 1))
    columns = slice(max(0, column - reach), min(width, column + reach + 1))
    y = np.arange(rows.start, rows.stop)[:, None]
    x = np.arange(columns.start, columns.stop)[None]
    half = image.shape[0] // 2
    i, j = (np.clip(at // pitch - s + half, 0, 2 * half) for at, s in zip((y, x), seed, strict=True))
    own = image[i, j] > 0.5
    ring = (np.hypot(y - row, x - column) > diameter_px) & (image[i, j] == 0)
    window = frames[:, rows, columns]
    trace = window[:, own].mean(axis=1)
    if ring.any():
        trace = trace - window[:, ring].mean(axis=1)
    return np.asarray(trace, np.float32)


def decay(traces: Float32) -> NDArray[np.float64]:
    r"""Lag at which each trace's autocovariance falls to 1/e of what it would be at lag 0 without noise.

    White noise adds to lag 0 alone. What the signal adds there is extrapolated from lags 1 and 2, exponentially.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` frames; NaN where lag 1 is not above 0.
    """
    n_traces, n_frames = traces.shape
    result = np.full(n_traces, np.nan)
    centred = traces - traces.mean(axis=1, keepdims=True)
    power = np.abs(fft.rfft(centred, fft.next_fast_len(2 * n_frames), axis=1)) ** 2
    covariance = fft.irfft(power, fft.next_fast_len(2 * n_frames), axis=1)[:, : max(3, n_frames // 2)]
    covariance /= np.arange(n_frames, n_frames - covariance.shape[1], -1)
    for i, c in enumerate(covariance):
        if not c[1] > 0:
            continue
        ratio = np.clip(c[2] / c[1], np.exp(-1), 1)
        level = c[1] / ratio / np.e
        below = np.flatnonzero(c[1:] < level)
        if len(below):
            k = int(below[0]) + 1
            result[i] = k - 1 + (c[k - 1] - level) / (c[k - 1] - c[k]) if k > 1 else -1 / np.log(c[1] / (c[1] / ratio))
    return result
