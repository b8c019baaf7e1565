"""A movie in units of its noise, filtered to the cells' size and in units of the noise that the filter leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of
from gpucells.ops.fold_frames import unfold_frames, whiten_frames
from gpucells.preprocess.noise_units import whiten
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]

CHUNK = 64  # frames filtered at once
BASELINE = 0.5  # quantile of a filtered trace that is its baseline


def filter_movie(
    movie: Any, noise: Float32, inside: NDArray[np.bool_], smoother: SpatialFilter
) -> tuple[Float32, NDArray[np.bool_]]:
    """Filter every frame, take each pixel's baseline off and divide by its noise, all in place.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32 in units of the noise, overwritten. NumPy's or CuPy's.
    noise : numpy.ndarray
        ``(n_pixels,)`` those units.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    smoother : SpatialFilter
        For frames of this size.

    Returns
    -------
    noise : numpy.ndarray
        ``(n_pixels,)`` float32 noise of the filtered movie, in the movie's own units.
    live : numpy.ndarray
        ``(n_pixels,)`` bool, the pixels inside that vary.
    """
    (n_pixels, n_frames), xp = movie.shape, namespace_of(movie)
    zero, one, every = xp.zeros(n_pixels, np.float32), xp.ones(n_pixels, np.float32), xp.arange(n_pixels)
    chunk = xp.empty((min(CHUNK, n_frames), n_pixels), np.float32)  # one for all: fresh memory costs more than the work
    for first in range(0, n_frames, CHUNK):
        n = min(CHUNK, n_frames - first)
        frames = unfold_frames(movie, first, n, noise, chunk[:n]).reshape(n, *inside.shape)
        whiten_frames(smoother.apply(frames, out=frames), zero, one, every, movie, first)
    _, filtered, live = whiten(movie, inside.ravel(), BASELINE)
    return filtered, live
