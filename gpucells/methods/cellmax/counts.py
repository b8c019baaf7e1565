"""Photons of a movie: its light above the background, in units of the noise, where it is above a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.ops.bilinear import Bilinear
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]


def unit_of_counts(noise: Float32, inside: NDArray[np.bool_], settings: CellmaxSettings) -> Float32:
    """Return the counts to one noise of each pixel: 1, or as many as its noise is of the median one.

    Parameters
    ----------
    noise : numpy.ndarray
        ``(n_pixels,)`` in the movie's units.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    settings : CellmaxSettings
        Of the run.

    Returns
    -------
    numpy.ndarray
        ``(n_pixels,)`` float32.
    """
    if settings.noise == "per_pixel" or not inside.any():
        return np.ones(len(noise), np.float32)
    return (noise / np.median(noise[inside.ravel()])).astype(np.float32)


def count_photons(movie: Any, unit: Float32, settings: CellmaxSettings) -> None:
    """Turn a movie without its background into counts, in place.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32 in units of the noise. NumPy's or CuPy's.
    unit : numpy.ndarray
        ``(n_pixels,)`` counts to one noise; pixels with 0 have no counts.
    settings : CellmaxSettings
        Of the run.
    """
    xp = namespace_of(movie)
    by = xp.asarray(unit)[:, None]
    if (unit != 1).any():
        movie *= by
    movie -= xp.asarray(np.where(unit > 0, np.float32(settings.threshold_sigmas), 0).astype(np.float32))[:, None]
    xp.maximum(movie, 0, out=movie)
    if settings.quantize:
        movie *= np.float32(settings.photons_per_sigma)
        xp.floor(movie, out=movie)
        movie /= np.float32(settings.photons_per_sigma)


def smooth_images(inside: NDArray[np.bool_], radius_px: float, unit: Float32, spacing: float) -> sparse.csr_array:
    """Images of a smooth background with light everywhere: hats about the nodes of a grid, in units of the counts.

    Parameters
    ----------
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).
    unit : numpy.ndarray
        ``(n_pixels,)`` counts to one noise; what is 0 has no light.
    spacing : float
        Of the nodes, in cell radii.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_nodes, n_pixels)`` float32; nodes without a pixel are left out.
    """
    axes = [np.linspace(0, n - 1, max(2, int(np.ceil(n / (spacing * radius_px))) + 1)) for n in inside.shape]
    hats = Bilinear.between(slice(0, inside.shape[0]), slice(0, inside.shape[1]), axes[0], axes[1]).images()
    images = scaled(hats, (inside.ravel() & (unit > 0)).astype(np.float32))
    images.eliminate_zeros()
    return sparse.csr_array(images[np.flatnonzero(np.diff(images.indptr))])
