"""Rigid motion of the tissue under the lens."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]

SWAY_S = 0.3  # how long a movement lasts


def make_shifts(settings: SimulationSettings, rng: np.random.Generator) -> Float32:
    """Return ``(n_frames, 2)`` displacements (rows, columns; px) of std ``motion_px`` and mean 0."""
    n_frames = settings.shape[0]
    sway = gaussian_filter1d(rng.standard_normal((n_frames, 2)), SWAY_S * settings.frame_rate_hz, axis=0, truncate=3)
    sway -= sway.mean(axis=0)
    return np.asarray(settings.motion_px * sway / np.maximum(sway.std(axis=0), 1e-12), dtype=np.float32)


@njit(cache=True, nogil=True)
def shift_image(image: Float32, rows: float, columns: float, out: Float32) -> None:
    """Write ``image`` moved by ``(rows, columns)`` px into ``out``, bilinear; the border is repeated outwards."""
    height, width = image.shape
    for y in range(height):
        from_y = min(max(y - rows, 0.0), height - 1.0)
        y0 = min(int(from_y), max(height - 2, 0))
        y1 = min(y0 + 1, height - 1)
        part_y = from_y - y0
        for x in range(width):
            from_x = min(max(x - columns, 0.0), width - 1.0)
            x0 = min(int(from_x), max(width - 2, 0))
            x1 = min(x0 + 1, width - 1)
            part_x = from_x - x0
            top = image[y0, x0] * (1 - part_x) + image[y0, x1] * part_x
            bottom = image[y1, x0] * (1 - part_x) + image[y1, x1] * part_x
            out[y, x] = top * (1 - part_y) + bottom * part_y
