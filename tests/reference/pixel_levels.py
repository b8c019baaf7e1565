"""Level and noise of every pixel in float64, one pixel and one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sampled_level(movie: Any, quantile: float, most: int) -> NDArray[np.float64]:
    """``(n_pixels,)``, of every k-th frame, so that k is as large as leaves ``most``."""
    step = max(1, movie.shape[1] // most)
    levels = []
    for row in np.asarray(movie, np.float64):
        ordered = sorted(row[t] for t in range(0, len(row), step))
        levels.append(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])
    return np.array(levels)


def sampled_noise(movie: Any, most: int) -> NDArray[np.float64]:
    """``(n_pixels,)``, from the median size of some second differences; 0 where there is none."""
    n = movie.shape[1] - 2
    step, noise = max(1, n // most), []
    for row in np.asarray(movie, np.float64):
        ordered = sorted(abs(row[t] - 2 * row[t + 1] + row[t + 2]) for t in range(0, n, step))
        noise.append(ordered[len(ordered) // 2] / (0.6745 * np.sqrt(6)) if ordered else 0.0)
    return np.array(noise)
