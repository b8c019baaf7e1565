"""Contiguous parts of images that stand out, each by itself: CellSort's way from filters to cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]

LEAST_REACH = 5  # px that the smoothing kernel reaches at least
REACH = 3.0  # standard deviations that it reaches


def filter_segments(
    images: Float32, smoothing_px: float, threshold: float, area_px: tuple[float, float]
) -> tuple[Float32, NDArray[np.int64], NDArray[np.float64]]:
    """Cut images where they are high.

    Each image is taken about its mean and divided by its standard deviation, smoothed by a Gaussian, and cut into
    4-connected regions above a threshold.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)``.
    smoothing_px : float
        Standard deviation of the Gaussian (px); 0: none.
    threshold : float
        In standard deviations of the image before smoothing.
    area_px : pair of float
        Least and largest number of pixels of a region.

    Returns
    -------
    segments : numpy.ndarray
        ``(n_segments, height, width)`` float32: the image itself in units of all images' standard deviation, 0 outside
        the region. By image, in order of their first pixels.
    source : numpy.ndarray
        ``(n_segments,)`` which image each is from.
    centres : numpy.ndarray
        ``(n_segments, 2)`` (row, column), weighted by the segment.
    """
    stack = np.asarray(images, np.float64)
    n, height, width = stack.shape
    unit = stack.std() if stack.size else 1.0
    parts: list[Float32] = []
    source: list[int] = []
    for number in range(n):
        label, found = ndimage.label(_standardised(stack[number], smoothing_px) > threshold)
        area = np.bincount(label.ravel(), minlength=found + 1)
        for region in range(1, found + 1):
            if area_px[0] <= area[region] <= area_px[1]:
                parts.append(np.where(label == region, stack[number] / unit, 0).astype(np.float32))
                source.append(number)
    segments = np.stack(parts) if parts else np.zeros((0, height, width), np.float32)
    return segments, np.asarray(source, np.int64), weighted_centres(segments)


def _standardised(image: Any, smoothing_px: float) -> NDArray[np.float64]:
    spread = image.std()
    standard = (image - image.mean()) / (spread if spread > 0 else 1.0)
    if smoothing_px > 0:
        reach = max(LEAST_REACH, int(np.ceil(REACH * smoothing_px)))
        standard = ndimage.gaussian_filter(standard, smoothing_px, radius=reach, mode="constant")
    return np.asarray(standard, np.float64)


def weighted_centres(images: Float32) -> NDArray[np.float64]:
    """Return the weighted centres of images, ``(n, 2)`` (row, column); of ``(n, height, width)``."""
    n, height, width = images.shape
    mass = images.sum(axis=(1, 2), dtype=np.float64)
    mass = np.where(mass == 0, 1, mass)
    rows = images.sum(axis=2, dtype=np.float64) @ np.arange(height) / mass
    columns = images.sum(axis=1, dtype=np.float64) @ np.arange(width) / mass
    return np.stack([rows, columns], axis=1).reshape(n, 2)
