"""What is done to footprints in their windows, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np


def cut_windows(images: Any, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut ``(n_cells, height, width)`` footprints around their centroids: corners, and windows with 0 beyond."""
    corners, windows = [], []
    for image in np.asarray(images, float):
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        total = max(image.sum(), 1e-12)
        corner = [int(np.rint((along * image).sum() / total)) - side // 2 for along in (y, x)]
        padded = np.pad(image, side + max(image.shape))
        first = [at + side + max(image.shape) for at in corner]
        corners.append(corner)
        windows.append(padded[first[0] : first[0] + side, first[1] : first[1] + side])
    return np.array(corners), np.array(windows)


def rim_level(images: Any, rim: Any) -> np.ndarray:
    """Median of each image over its rim; 0 where there is none."""
    return np.array([np.median(image[on]) if on.any() else 0 for image, on in zip(images, rim, strict=True)], "f4")
