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
    4-connected regions above a threshold. Without smoothing it is the mean and standard deviation of all images, as in
    CellSort.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)``.
    smoothing_px : float
        Standard deviation of the Gaussian (px); 0: none.
    threshold : float
        In those standard deviations, of before smoothing.
    area_px : pair of float
        Least and largest number of pixels of a region.

    Returns
    -------
    segments : numpy.ndarray
        ``(n_segments, height, width)`` float32: the image itself in units of all images' standard deviation, 0 outside
        the region. By image, in order of their first columns.
    source : numpy.ndarray
        ``(n_segments,)`` which image each is from.
    centres : numpy.ndarray
        ``(n_segments, 2)`` (row, column), of the region's pixels, not weighted.
    """
    stack = np.asarray(images, np.float64)
    n, height, width = stack.shape
    unit = float(stack.std()) if stack.size else 1.0
    if smoothing_px == 0 and stack.size:
        threshold = float(stack.mean()) + threshold * unit
    parts: list[Float32] = []
    source: list[int] = []
    centres: list[tuple[float, ...]] = []
    for number in range(n):
        seen = stack[number] if smoothing_px == 0 else _smoothed(stack[number], smoothing_px)
        lit = seen > threshold
        turned, found = ndimage.label(lit.T)  # regions count down the columns, as in MATLAB
        label = turned.T
        area = np.bincount(label.ravel(), minlength=found + 1)
        for region in range(1, found + 1):
            if area_px[0] <= area[region] <= area_px[1]:
                parts.append(np.where(label == region, stack[number] / unit, 0).astype(np.float32))
                source.append(number)
                centres.append(tuple(float(where.mean()) for where in np.nonzero(label == region)))
    segments = np.stack(parts) if parts else np.zeros((0, height, width), np.float32)
    return segments, np.asarray(source, np.int64), np.asarray(centres, np.float64).reshape(-1, 2)


def _smoothed(image: Any, smoothing_px: float) -> NDArray[np.float64]:
    """Return an image about its mean, in its standard deviations, smoothed; beyond the border is the border's value."""
    spread = image.std()
    standard = (image - image.mean()) / (spread if spread > 0 else 1.0)
    reach = max(LEAST_REACH, int(np.ceil(REACH * smoothing_px)))
    return np.asarray(ndimage.gaussian_filter(standard, smoothing_px, radius=reach, mode="nearest"), np.float64)
