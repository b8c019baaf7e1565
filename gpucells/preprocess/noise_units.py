"""A tile's movie in units of its noise, about its baseline: what methods solve in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.ops.pixel_levels import standardise_pixels, whiten_pixels

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
    baseline, noise, live = whiten(flat, inside.ravel(), baseline_quantile)
    return NoiseUnits(flat, baseline, noise, live.reshape(inside.shape))


def whiten(movie: Any, inside: NDArray[np.bool_], quantile: float) -> tuple[Float32, Float32, NDArray[np.bool_]]:
    """Take every pixel's level off and divide it by its noise, floored, in place; pixels that do not count are emptied.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32.
    inside : numpy.ndarray
        ``(n_pixels,)`` bool, those that may count.
    quantile : float
        Of a pixel's trace, its level.

    Returns
    -------
    level, noise : numpy.ndarray
        ``(n_pixels,)`` float32.
    live : numpy.ndarray
        ``(n_pixels,)`` bool, the pixels inside that are finite and vary.
    """
    level, own, finite = standardise_pixels(movie, quantile)
    live = inside & finite & (own > 0)
    noise = floored(own, live)
    # All but a few pixels are in units of their noise by now: the movie is not gone over again.
    others = np.flatnonzero(~live | (noise != own))
    rest = (noise / np.where(own > 0, own, 1)).astype(np.float32)
    whiten_pixels(movie, np.zeros_like(level), rest, live, others)
    return level, noise, live


def floored(noise: Float32, live: NDArray[np.bool_]) -> Float32:
    """Take no pixel for quieter than a share of the typical one."""
    typical = float(np.median(noise[live])) if live.any() else 1.0
    return np.maximum(noise, np.float32(QUIETEST * typical))


def scaled(images: sparse.csr_array, factor: Float32) -> sparse.csr_array:
    """Multiply every pixel of sparse images by its factor."""
    result = images.copy()
    result.data = (images.data * factor[images.indices]).astype(np.float32)
    return result
