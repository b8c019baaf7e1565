"""A tile's movie in units of its noise, about its baseline: what methods solve in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.ops.pixel_levels import pixel_levels, whiten_pixels

Float32 = NDArray[np.float32]

QUIETEST = 0.3  # a pixel's noise counts as at least this share of the median: dead pixels must not rule the fit


@dataclass(frozen=True)
class NoiseUnits:
    """A movie in units of the noise.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, NumPy's or CuPy's; 0 where a pixel does not count.
    baseline, noise : numpy.ndarray
        ``(n_pixels,)`` in the movie's own units.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    """

    movie: Any
    baseline: Float32
    noise: Float32
    inside: NDArray[np.bool_]


def to_noise_units(movie: Any, inside: NDArray[np.bool_], baseline_quantile: float) -> NoiseUnits:
    """Take the baseline off and divide by the noise, in place.

    Parameters
    ----------
    movie : array
        ``(height, width, n_frames)`` float32 in any unit, frames contiguous; overwritten. NumPy's or CuPy's.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that carry signal; those that are not finite in every frame, or do not
        vary, do not count either.
    baseline_quantile : float
        Quantile of a pixel's trace that is its baseline.
    """
    flat = movie.reshape(-1, movie.shape[2])
    baseline, noise, finite = pixel_levels(flat, baseline_quantile)
    live = inside.ravel() & finite & (noise > 0)
    noise = floored(noise, live)
    whiten_pixels(flat, baseline, noise, live)
    return NoiseUnits(flat, baseline, noise, live.reshape(inside.shape))


def floored(noise: Float32, live: NDArray[np.bool_]) -> Float32:
    """Take no pixel for quieter than a share of the typical one."""
    typical = float(np.median(noise[live])) if live.any() else 1.0
    return np.maximum(noise, np.float32(QUIETEST * typical))


def scaled(images: sparse.csr_array, factor: Float32) -> sparse.csr_array:
    """Multiply every pixel of sparse images by its factor."""
    result = images.copy()
    result.data = (images.data * factor[images.indices]).astype(np.float32)
    return result
