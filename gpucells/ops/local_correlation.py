"""Correlation of every pixel with its eight neighbours: cells show, shot noise does not."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@numba.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def _correlate(movie, mean, norm, image):  # type: ignore[no-untyped-def]
    height, width, n_frames = movie.shape
    for y in numba.prange(height):
        for x in range(width):
            total = np.float32(0)
            count = 0
            for i in range(max(0, y - 1), min(height, y + 2)):
                for j in range(max(0, x - 1), min(width, x + 2)):
                    if (i != y or j != x) and norm[i, j] > 0:
                        product = np.float32(0)
                        a, b = movie[y, x], movie[i, j]
                        for t in range(n_frames):
                            product += a[t] * b[t]
                        product -= np.float32(n_frames) * mean[y, x] * mean[i, j]
                        total += product / (norm[y, x] * norm[i, j] + np.float32(1e-20))
                        count += 1
            image[y, x] = total / count if count and norm[y, x] > 0 else 0


def local_correlation(movie: Float32) -> Float32:
    """Compute the local correlation image.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32; best with a baseline near 0 (single precision).

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` float32 in -1 to 1; 0 where a pixel is constant.
    """
    mean = movie.mean(axis=2)
    norm = np.sqrt(np.maximum(np.einsum("yxt,yxt->yx", movie, movie) - movie.shape[2] * mean**2, 0))
    image = np.zeros(movie.shape[:2], np.float32)
    _correlate(movie, mean.astype(np.float32), norm.astype(np.float32), image)
    return image
