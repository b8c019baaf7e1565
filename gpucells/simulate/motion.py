"""Rigid motion of the tissue under the lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, shift

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]

SWAY_S = 0.3  # how long a movement lasts


def make_shifts(settings: SimulationSettings, rng: np.random.Generator) -> Float32:
    """Return ``(n_frames, 2)`` displacements (rows, columns; px) of std ``motion_px`` and mean 0."""
    n_frames = settings.shape[0]
    sway = gaussian_filter1d(rng.standard_normal((n_frames, 2)), SWAY_S * settings.frame_rate_hz, axis=0, truncate=3)
    sway -= sway.mean(axis=0)
    return np.asarray(settings.motion_px * sway / np.maximum(sway.std(axis=0), 1e-12), dtype=np.float32)


def shift_image(image: Float32, by: Float32, out: Float32) -> None:
    """Move an image, bilinear; the border is repeated outwards.

    Parameters
    ----------
    image, out : numpy.ndarray
        ``(height, width)`` float32, read and written.
    by : numpy.ndarray
        ``(2,)`` rows and columns (px).
    """
    shift(image, by, output=out, order=1, mode="nearest", prefilter=False)
