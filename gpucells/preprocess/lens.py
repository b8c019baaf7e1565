"""The rim of a lens: where a round field of view ends, the sensor sees nothing of the scene.

A GRIN lens shows a disc on a dark ground. Its edge is sharp and moves a little with the lens; background and cells that
are looked for on it are false. Ordinary vignetting has no edge and stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

CORNER = 1 / 16  # of the shorter side: patches that a round field leaves dark
SMALLEST_PX = 32  # an image with a shorter side has no room for a disc and its ground
DARK = 0.2  # of the way from the ground's level to the field's: below, a pixel is dark
ALIKE = 0.1  # of that way by which the corners' levels and the ground's pixels (root mean square) may differ
STEP = 0.25  # of that way that light rises across the edge; a round field with a soft edge of a few px has .5
EDGE_SHARE = 0.02  # of the shorter side: half the width of the band that the step is measured across
ROUND = 0.04  # root mean square of the edge's distance from a circle, in radii
LEAST_OUTSIDE, MOST_OUTSIDE = 0.03, 0.7  # share of the image that is dark


def find_lens_field(mean: Float32, noise: Float32, radius_px: float) -> Bool | None:
    """Find a round field of view on a dark ground; None where there is none beyond doubt.

    Parameters
    ----------
    mean : numpy.ndarray
        ``(height, width)`` mean of the movie over time, any unit.
    noise : numpy.ndarray
        ``(height, width)`` noise of each pixel: that of the ground must not be above the field's.
    radius_px : float
        Cell radius (px): the field is taken smaller by half of it.

    Returns
    -------
    numpy.ndarray or None
        ``(height, width)`` bool, where the scene is seen.
    """
    if min(mean.shape) < SMALLEST_PX or not np.isfinite(mean).all():
        return None
    smooth = ndimage.median_filter(mean.astype(np.float64), 3)
    side = max(2, round(CORNER * min(mean.shape)))
    corners = np.array(
        [np.median(smooth[rows, columns]) for rows in _ends(side) for columns in _ends(side)], np.float64
    )
    height, width = mean.shape
    ground = float(np.median(corners))
    contrast = float(np.median(smooth[height // 4 : -(height // 4), width // 4 : -(width // 4)])) - ground
    if not contrast > 0 or np.ptp(corners) > ALIKE * contrast:
        return None
    field = _one_piece(smooth > ground + DARK * contrast)
    outside = ~field
    if not LEAST_OUTSIDE < outside.mean() < MOST_OUTSIDE or not _is_round(field):
        return None
    if not _has_an_edge(smooth, field, ground, contrast):
        return None
    if np.median(noise[outside]) > np.median(noise[field]):
        return None
    # The border of the image is no edge of the lens: distances are to dark pixels only.
    mask = np.asarray(ndimage.distance_transform_edt(field) > max(1.0, radius_px / 2))
    return mask if mask.any() else None


def lens_warning(mask: Bool) -> str:
    """Say how many pixels were left out, and how to have them back.

    Parameters
    ----------
    mask : numpy.ndarray
        ``(height, width)`` bool, as :func:`find_lens_field` returns it.
    """
    n = int((~mask).sum())
    return (
        f"a round field of view on a dark ground: {n:,} pixels ({n / mask.size:.0%}) outside it are left out; "
        "set mask_lens_rim to false if that is wrong, or give a mask"
    )


def _ends(side: int) -> tuple[slice, slice]:
    return slice(None, side), slice(-side, None)


def _one_piece(bright: Bool) -> Bool:
    """Keep the largest piece, without its holes: dark cells and vessels within the field are of the scene."""
    labels, n_labels = ndimage.label(bright)
    if n_labels == 0:
        return np.zeros_like(bright)
    largest = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    return np.asarray(ndimage.binary_fill_holes(largest), np.bool_)


def _is_round(field: Bool) -> bool:
    """Say whether the edge, where the image's border does not cut it, is part of a circle."""
    inner = field & ~ndimage.binary_erosion(field, border_value=1)
    rows, columns = np.nonzero(inner)
    if len(rows) < 16:
        return False
    # x^2 + y^2 = 2 a x + 2 b y + c is linear in the centre (a, b) and in c (Kasa 1976).
    y, x = rows - rows.mean(), columns - columns.mean()
    a, b, c = np.linalg.lstsq(np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None)[0]
    radius = float(np.sqrt(max(c + a**2 + b**2, 0)))
    distance = np.hypot(x - a, y - b) - radius
    return bool(radius > 0 and np.sqrt(np.mean(distance**2)) <= ROUND * radius)


def _has_an_edge(smooth: NDArray[np.float64], field: Bool, ground: float, contrast: float) -> bool:
    """Say whether the ground is flat up to the edge, and light rises within a narrow band across it."""
    band = max(2.0, EDGE_SHARE * min(field.shape))
    inward, outward = ndimage.distance_transform_edt(field), ndimage.distance_transform_edt(~field)
    just_inside = (inward > band / 2) & (inward <= 1.5 * band)
    just_outside = (outward > band / 2) & (outward <= 1.5 * band)
    if not just_inside.any() or not just_outside.any():
        return False
    step = np.median(smooth[just_inside]) - np.median(smooth[just_outside])
    spread = np.sqrt(np.mean((smooth[outward > band / 2] - ground) ** 2))
    return bool(step >= STEP * contrast and spread <= ALIKE * contrast)
