"""The local correlation image by its definition: correlation coefficients, pixel by pixel."""

from __future__ import annotations

import numpy as np


def local_correlation(movie: np.ndarray) -> np.ndarray:
    """Mean of NumPy's correlation coefficients with the neighbours that vary, in float64."""
    movie = movie.astype(np.float64)
    height, width, n_frames = movie.shape
    image = np.zeros((height, width))
    varies = np.ptp(movie, axis=2) > 0 if n_frames else np.zeros((height, width), bool)
    for y, x in np.argwhere(varies):
        around = [
            (i, j)
            for i in range(max(0, y - 1), min(height, y + 2))
            for j in range(max(0, x - 1), min(width, x + 2))
            if (i, j) != (y, x) and varies[i, j]
        ]
        if around:
            image[y, x] = np.mean([np.corrcoef(movie[y, x], movie[i, j])[0, 1] for i, j in around])
    return image
