"""Small movies with known cells, for tests: what is planted is what must be found."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.signal import lfilter


def gaussian(image_shape: tuple[int, int], centre: tuple[float, float], width: float = 2.0) -> np.ndarray:
    """Return a Gaussian of standard deviation ``width`` (px), ``(height, width)``, cut at .05."""
    y, x = np.mgrid[: image_shape[0], : image_shape[1]]
    image = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))
    return np.asarray(np.where(image < 0.05, 0, image / image.max()))


def transients(
    rng: np.random.Generator, n_cells: int, n_frames: int, height: float, rate: float = 0.02, decay: float = 0.85
) -> np.ndarray:
    """Return traces of random transients about ``height`` high, ``(n_cells, n_frames)``."""
    jumps = (rng.random((n_cells, n_frames)) < rate) * height * rng.uniform(0.7, 1.3, (n_cells, n_frames))
    jumps[np.arange(n_cells), rng.integers(0, max(1, n_frames - 8), n_cells)] = height  # none stays silent
    return np.asarray(lfilter([1], [1, -decay], jumps, axis=1))


def footprints(image_shape: tuple[int, int], centres: Any, width: float = 2.0) -> sparse.csr_array:
    """Return Gaussian cells, ``(n_cells, n_pixels)`` float32."""
    images = [gaussian(image_shape, centre, width).ravel() for centre in centres]
    return sparse.csr_array(np.asarray(images, np.float32).reshape(len(images), image_shape[0] * image_shape[1]))


def pixel_movie(
    rng: np.random.Generator, cells: sparse.csr_array, traces: Any, noise: float = 1.0, contamination: float = 0.0
) -> np.ndarray:
    """Return cells times traces in white noise, and a share of samples with positive outliers, as pixels x frames."""
    movie = cells.T @ traces + rng.normal(0, noise, (cells.shape[1], traces.shape[1]))
    movie += (rng.random(movie.shape) < contamination) * rng.exponential(10 * noise, movie.shape)
    return np.asarray(movie, np.float32)
