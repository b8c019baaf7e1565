"""Shape of one bright spot: its part above a level, the part's area, and whether it is cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage


def spot_part(image: Any, level: float) -> np.ndarray:
    """Mask of what is above ``level`` of the maximum and connected to it, holes filled."""
    labels, _ = ndimage.label(image > level * image.max())
    part = labels == labels[np.unravel_index(image.argmax(), image.shape)]
    return np.asarray(ndimage.binary_fill_holes(part))


def spot_area(image: Any, part: Any, level: float) -> float:
    """Pixels of the part, those on its edge by the share that is above ``level`` of the maximum."""
    down, right = np.gradient(np.asarray(image, float))
    top, total = float(image.max()), 0.0
    padded = np.pad(part, 1)
    for y, x in np.ndindex(part.shape):
        around = [padded[y + 1, x + 1], padded[y, x + 1], padded[y + 2, x + 1], padded[y + 1, x], padded[y + 1, x + 2]]
        if all(around):
            total += 1
        elif any(around):
            slope = max(np.hypot(down[y, x], right[y, x]), 1e-6 * top)
            total += np.clip((image[y, x] - level * top) / slope + 0.5, 0, 1)
    return float(total)


def spot_is_whole(inside: Any, corner: Any, part: Any, cut: float) -> bool:
    """Say whether less than a share ``cut`` of the pixels around the part lies outside the mask or the image."""
    around, good = set(), 0
    for y, x in np.argwhere(part):
        around |= {(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))}
    around -= {(y, x) for y, x in np.argwhere(part)}
    for y, x in around:
        row, column = y + corner[0], x + corner[1]
        if 0 <= row < inside.shape[0] and 0 <= column < inside.shape[1]:
            good += inside[row, column]
    return bool(good >= (1 - cut) * len(around))
