"""Regions drawn in ImageJ: a ``.roi`` file, or a ``.zip`` of several.

ImageJ's coordinates are those of pixels' corners: pixel (row i, column j) reaches from (i, j) to (i + 1, j + 1). A
pixel belongs to a region if its centre is inside, by the even-odd rule; a centre on an outline belongs where the region
lies to its right or below, and not where it lies to its left or above, so that regions that share an edge share no
pixel. An oval is the ellipse within its rectangle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, MissingDependencyError

FILLED = ("RECT", "OVAL", "POLYGON", "FREEHAND", "TRACED")


def read_rois(path: Path, image_shape: tuple[int, int]) -> sparse.csr_array:
    """Read regions as masks of ones; what is beyond the image's edge is cut off.

    Parameters
    ----------
    path : Path
        The file.
    image_shape : tuple of int
        ``(height, width)`` of the movie.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_rois, height * width)`` float32.

    Raises
    ------
    InputError
        No region; a line or a point, which has no area; a region that covers no pixel of the image.
    MissingDependencyError
        The package ``roifile`` is not installed.
    """
    try:
        import roifile
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} holds ImageJ ROIs, which the package roifile reads", "pip install 'gpucells[rois]'"
        ) from error
    try:
        read = roifile.roiread(path)
    except Exception as error:  # what its parser raises
        raise InputError(f"{path} holds no ImageJ ROIs that can be read: {error}", "save them again") from error
    rois = read if isinstance(read, list) else [read]
    if not rois:
        raise InputError(f"{path} holds no ImageJ ROIs", "save them with ROI Manager, More, Save")
    pixels = [_pixels(roi, k, image_shape, str(path)) for k, roi in enumerate(rois)]
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in pixels])])
    indices = np.concatenate(pixels)
    ones = np.ones(len(indices), np.float32)
    return sparse.csr_array((ones, indices, indptr), shape=(len(rois), image_shape[0] * image_shape[1]))


def _pixels(roi: Any, number: int, image_shape: tuple[int, int], path: str) -> NDArray[np.int64]:
    name, kind = roi.name or f"number {number}", roi.roitype.name
    if kind not in FILLED:
        raise InputError(f"ROI {name} of {path} is a {kind.lower()}, which has no area", "leave it out")
    found = np.flatnonzero(_mask(roi, image_shape))
    if len(found) == 0:
        box = f"rows {roi.top} to {roi.bottom}, columns {roi.left} to {roi.right}"
        raise InputError(
            f"ROI {name} of {path} ({box}) covers no pixel of the movie's {image_shape[0]} x {image_shape[1]} px",
            "is it drawn on a picture of this size?",
        )
    return found.astype(np.int64)


def _mask(roi: Any, image_shape: tuple[int, int]) -> NDArray[np.bool_]:
    box = (roi.top, roi.left, roi.bottom, roi.right)
    if roi.composite:
        paths = [np.asarray(path, np.float64) for path in roi.coordinates(multi=True)]
        return polygon_mask(paths, image_shape)
    if roi.roitype.name == "RECT":
        top, left, bottom, right = box
        return polygon_mask(
            [np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)], image_shape
        )
    if roi.roitype.name == "OVAL":
        return ellipse_mask(box, image_shape)
    return polygon_mask([np.asarray(roi.coordinates(), np.float64)], image_shape)


def polygon_mask(paths: list[NDArray[np.float64]], image_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill closed outlines by the even-odd rule.

    Parameters
    ----------
    paths : list of numpy.ndarray
        ``(n, 2)`` corners as (x, y), each; several make holes and islands.
    image_shape : tuple of int
        ``(height, width)``.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` bool: pixels whose centre is inside.
    """
    height, width = image_shape
    toggles = np.zeros((height, width + 1), np.int64)
    centre = np.arange(height) + 0.5
    for path in paths:
        for (x0, y0), (x1, y1) in zip(path, np.roll(path, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            rows = np.flatnonzero((y0 <= centre) != (y1 <= centre))
            crossing = x0 + (centre[rows] - y0) * (x1 - x0) / (y1 - y0)
            first = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)  # column whose centre is not before it
            np.add.at(toggles, (rows, first), 1)
    return np.asarray(np.cumsum(toggles, axis=1)[:, :width] % 2 == 1)


def ellipse_mask(box: tuple[float, float, float, float], image_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill the ellipse within a rectangle (top, left, bottom, right); pixels whose centre is inside."""
    top, left, bottom, right = box
    y = (np.arange(image_shape[0])[:, None] + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 1e-9)
    x = (np.arange(image_shape[1])[None] + 0.5 - (left + right) / 2) / max((right - left) / 2, 1e-9)
    return np.asarray(y**2 + x**2 <= 1)
