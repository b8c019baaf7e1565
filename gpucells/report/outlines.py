"""Footprints as outlines and as small pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray
from scipy import sparse

from gpucells.model.cells import Float32

#: Where the outline runs, as a fraction of the footprint's maximum: half, so that outlines of neighbours stay apart.
LEVEL = 0.5
Line = NDArray[np.float32]


def outline(footprints: sparse.csr_array, cell: int, width: int, level: float = LEVEL) -> list[Line]:
    """Return the closed lines around one footprint.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, height * width)``.
    cell : int
        Its row.
    width : int
        Columns of the image (px).
    level : float
        Where the line runs, as a fraction of the footprint's maximum.

    Returns
    -------
    list of numpy.ndarray
        ``(n_points, 2)`` as (column, row) in px, a pixel's centre at whole numbers; empty where the footprint is.
    """
    rows, columns, weights = footprint_pixels(footprints, cell, width)
    keep = weights > 0
    if not keep.any():
        return []
    rows, columns, weights = rows[keep], columns[keep], weights[keep]
    top, left = rows.min(), columns.min()
    box = np.zeros((rows.max() - top + 3, columns.max() - left + 3), dtype=np.float64)  # an empty rim closes the lines
    box[rows - top + 1, columns - left + 1] = weights
    lines: Any = contour_generator(z=box, line_type=LineType.Separate).lines(level * box.max())
    return [np.asarray(line + np.array([left - 1, top - 1]), dtype=np.float32) for line in lines]


def footprint_pixels(
    footprints: sparse.csr_array, cell: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return where one footprint is, and its weights.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, height * width)``.
    cell : int
        Its row.
    width : int
        Columns of the image (px).

    Returns
    -------
    tuple of numpy.ndarray
        Rows, columns and weights, each ``(n_weights,)``; weights that are not finite are 0.
    """
    part = slice(footprints.indptr[cell], footprints.indptr[cell + 1])
    rows, columns = np.divmod(footprints.indices[part].astype(np.int64), width)
    return rows, columns, np.nan_to_num(footprints.data[part])


def stamp_side(footprints: sparse.csr_array, width: int) -> int:
    """Return the side of a window (px) that holds nearly every footprint, from 12 to 48."""
    extents = [0]
    for cell in range(0, footprints.shape[0], max(1, footprints.shape[0] // 500)):
        rows, columns, weights = footprint_pixels(footprints, cell, width)
        inside = weights > 0.1 * weights.max(initial=0)
        if inside.any():
            extents.append(int(max(np.ptp(rows[inside]), np.ptp(columns[inside]))) + 1)
    return int(np.clip(np.ceil(1.25 * np.quantile(extents, 0.95)) + 2, 12, 48))


def stamp(footprints: sparse.csr_array, cell: int, width: int, side: int) -> Float32:
    """Return a footprint in a window around its weighted centre.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, height * width)``.
    cell : int
        Its row.
    width : int
        Columns of the image (px).
    side : int
        Side of the window (px); what lies outside is cut off.

    Returns
    -------
    numpy.ndarray
        ``(side, side)`` from 0 to 1, the footprint's maximum 1; black where there is no footprint.
    """
    image = np.zeros((side, side), dtype=np.float32)
    rows, columns, weights = footprint_pixels(footprints, cell, width)
    mass = weights.sum()
    if not mass > 0:
        return image
    rows = rows - round(float(rows @ weights / mass)) + side // 2
    columns = columns - round(float(columns @ weights / mass)) + side // 2
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    image[rows[inside], columns[inside]] = np.maximum(weights[inside], 0) / weights.max()
    return image


def background_images(
    summary_images: dict[str, Float32], footprints: sparse.csr_array, shape: tuple[int, int]
) -> dict[str, NDArray[np.uint8]]:
    """Return the images to draw cells on.

    Parameters
    ----------
    summary_images : dict
        Name to ``(height, width)``; images of another shape are left out.
    footprints : scipy.sparse.csr_array
        ``(n_cells, height * width)``: laid over each other they stand in where there is no image.
    shape : tuple of int
        ``(height, width)``.

    Returns
    -------
    dict
        Name to ``(height, width)`` uint8, the local correlation first.
    """
    known = ("correlation", "max", "mean", "noise")
    names = sorted(summary_images, key=lambda name: known.index(name) if name in known else len(known))
    images = {name: to_grey(summary_images[name]) for name in names if summary_images[name].shape == shape}
    if not images:
        largest = footprints.max(axis=0).toarray() if footprints.shape[0] else np.zeros(shape)
        images["footprints"] = to_grey(np.asarray(largest, dtype=np.float32).reshape(shape))
    return images


def to_grey(image: Float32) -> NDArray[np.uint8]:
    """Scale the 1st to the 99.7th percentile to 0 to 255; what is not finite is black.

    Where a few bright cells leave the rest nearly black, dark values are raised (gamma down to 0.5), to bring the
    median to a fifth.
    """
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return np.zeros(image.shape, dtype=np.uint8)
    low, high = np.quantile(finite, [0.01, 0.997])
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    scaled = (np.nan_to_num(image, nan=low, posinf=high, neginf=low) - low) / (high - low or 1)
    scaled = np.clip(scaled, 0, 1)
    middle = float(np.median(scaled))
    gamma = np.clip(np.log(0.2) / np.log(middle), 0.5, 1) if 0 < middle < 0.2 else 1.0
    return np.asarray(scaled**gamma * 255, dtype=np.uint8)
