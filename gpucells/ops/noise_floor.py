r"""How many eigenvalues of a covariance stand out of noise: random matrices' floor, with the noise's own statistics.

Eigenvalues of :math:`X^T X / q`, where :math:`X` is white noise of variance :math:`\sigma^2` with p the smaller and q
the larger side, follow Marchenko & Pastur's law between :math:`\sigma^2 (1 \mp \sqrt{p/q})^2`. Noise that is
correlated in space or time has fewer independent samples, and a wider law. So variance and ratio p/q are both fitted:
to the median of the eigenvalues below the floor, and to their 20 % quantile, over and over, until the number above
the floor stays. The largest eigenvalue of noise varies beyond the edge by Tracy & Widom's law (Johnstone 2001). Noise
that is correlated over several pixels each way follows no such law, and far too much of it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

LOW = 0.2  # quantile of the bulk that tells how wide it is
MOST = 0.7  # share of the eigenvalues that may be above the floor: the others are noise
TRACY_WIDOM = 3.27  # its 99.9 % quantile, for real numbers
RATIOS, ANGLES, ROUNDS = 100, 4000, 50


@dataclass(frozen=True)
class NoiseFloor:
    """What noise alone reaches.

    Parameters
    ----------
    eigenvalue : float
        The floor, in the units of the spectrum.
    n_above : int
        Eigenvalues that are larger.
    variance : float
        Of the noise, a sample's.
    ratio : float
        Smaller over larger side of the noise, as its samples count: at least that of the matrix.
    """

    eigenvalue: float
    n_above: int
    variance: float
    ratio: float


def noise_floor(eigenvalues: Float64, n_pixels: int, n_frames: int) -> NoiseFloor:
    """Find what noise alone reaches in a spectrum.

    Parameters
    ----------
    eigenvalues : numpy.ndarray
        Of the smaller covariance, all of them, in any order: squares of singular values.
    n_pixels, n_frames : int
        Of the matrix.
    """
    few, many = sorted((n_pixels, n_frames))
    values = np.sort(np.asarray(eigenvalues, np.float64))[::-1][: max(few - 1, 0)] / max(many, 1)  # the mean's is 0
    values = values[values > 0]
    if len(values) < 2:
        return NoiseFloor(np.inf, 0, 0.0, 1.0)
    ratios, lows, medians = _laws(min(few / many, 0.999))
    above, edge, variance, ratio = 0, 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        low, median = np.quantile(values[above:], [LOW, 0.5])
        ratio = float(np.interp(-low / median, -lows / medians, ratios))
        variance = float(median / np.interp(ratio, ratios, medians))
        edge = variance * _edge(ratio, few)
        count = min(int((values > edge).sum()), int(MOST * len(values)))
        if count <= above:  # it only rises: a floor that swings would never stay
            break
        above = count
    return NoiseFloor(edge * many, int((values > edge).sum()), variance, ratio)


def _edge(ratio: float, few: int) -> float:
    """Return the largest eigenvalue that noise of variance 1 has."""
    root, many = np.sqrt(ratio), few / ratio
    beyond = (1 + root) / np.sqrt(many) * (few**-0.5 + many**-0.5) ** (1 / 3)
    return float((1 + root) ** 2 + TRACY_WIDOM * beyond)


@cache
def _laws(least: float) -> tuple[Float64, Float64, Float64]:
    """Return ratios from ``least`` up to 1, and two quantiles of the law for each."""
    ratios = np.geomspace(least, 0.9999, RATIOS)
    angle = (np.arange(ANGLES) + 0.5) / ANGLES * np.pi
    quantiles = np.empty((RATIOS, 2))
    for i, ratio in enumerate(ratios):
        at = 1 + ratio - 2 * np.sqrt(ratio) * np.cos(angle)
        share = np.cumsum(np.sin(angle) ** 2 / at)
        quantiles[i] = np.interp([LOW, 0.5], share / share[-1], at)
    return ratios, quantiles[:, 0], quantiles[:, 1]
