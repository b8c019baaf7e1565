"""Median smoothing of footprints, each inside its own box.

EXTRACT (Inan et al. 2021) smooths every image between two rounds with a 5 x 5 median inside the bounding box of what
is above a tenth of its maximum, two pixels wider; what lies outside is dropped, and the maximum made 1. Pixels beyond
the box count as 0.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy import sparse

from gpucells.ops.footprint_shape import cell_window, check_image_shape

SIDE = 5  # px, the median's window, as in the original
LEVEL = 0.1  # share of the maximum that spans the box, as in the original
MARGIN = 2  # px by which the box is wider than that, as in the original


def smooth_footprints(
    footprints: sparse.csr_array, image_shape: tuple[int, int], side: int = SIDE, level: float = LEVEL
) -> sparse.csr_array:
    """Smooth footprints by a running median.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``, pixels in C order, not negative.
    image_shape : tuple of int
        ``(height, width)``.
    side : int
        Side of the median's window in px, odd.
    level : float
        Share of the maximum that spans the box.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, sorted, each row's maximum 1. A row that the median leaves empty (smaller
        than half of its window) is empty.

    Raises
    ------
    InputError
        ``n_pixels`` is not ``height * width``.
    """
    check_image_shape(footprints, image_shape)
    source = np.ascontiguousarray(footprints.data, dtype=np.float32)
    data, indices, indptr = _smooth(source, footprints.indices, footprints.indptr, image_shape, side, level)
    return sparse.csr_array((data, indices, indptr), shape=footprints.shape)


@numba.njit(cache=True)
def _box(window, top, left, image_shape, level):  # type: ignore[no-untyped-def]
    """Return the box in image coordinates: first and last row, first and last column (the last ones exclusive)."""
    y0, y1, x0, x1 = window.shape[0], -1, window.shape[1], -1
    for y in range(window.shape[0]):
        for x in range(window.shape[1]):
            if window[y, x] > level:
                y0, y1, x0, x1 = min(y0, y), max(y1, y), min(x0, x), max(x1, x)
    return (
        max(0, top + y0 - MARGIN),
        min(image_shape[0], top + y1 + MARGIN + 1),
        max(0, left + x0 - MARGIN),
        min(image_shape[1], left + x1 + MARGIN + 1),
    )


@numba.njit(cache=True, fastmath=True)
def _order(kept, i, j):  # type: ignore[no-untyped-def]
    """Put the smaller of every pair into row ``i`` and the larger into row ``j``."""
    for x in range(kept.shape[1]):
        a, b = kept[i, x], kept[j, x]
        kept[i, x] = a if a < b else b
        kept[j, x] = b if a < b else a


@numba.njit(cache=True)
def _take(padded, side, e, kept, row):  # type: ignore[no-untyped-def]
    """Copy the ``e``-th value of every pixel's window into a row of ``kept``."""
    height, width = padded.shape[0] - side + 1, padded.shape[1] - side + 1
    for y in range(height):
        for x in range(width):
            kept[row, y * width + x] = padded[y + e // side, x + e % side]


@numba.njit(cache=True)
def _median(padded, side):  # type: ignore[no-untyped-def]
    """Take the median of all pixels at once, by forgetting the extremes of what is kept.

    Of m values, m // 2 + 2 are looked at; their smallest and largest cannot be the median and are dropped; the next
    value is taken in, until one is left. Every comparison is one pass over all pixels, so it runs in vector registers.
    """
    n_values = side * side
    n_kept = min(n_values, n_values // 2 + 2)
    kept = np.empty((n_kept, (padded.shape[0] - side + 1) * (padded.shape[1] - side + 1)), np.float32)
    for e in range(n_kept):
        _take(padded, side, e, kept, e)
    for taken in range(n_kept, n_values + 1):
        for e in range(1, n_kept):
            _order(kept, 0, e)
        for e in range(1, n_kept - 1):
            _order(kept, e, n_kept - 1)
        if taken < n_values:
            _take(padded, side, taken, kept, 0)  # in the place of the smallest; the largest is left behind
            n_kept -= 1
    return kept[n_kept // 2]


@numba.njit(cache=True)
def _smooth(data, indices, indptr, image_shape, side, level):  # type: ignore[no-untyped-def]
    width = image_shape[1]
    half = side // 2
    out_data = np.empty(max(16, 2 * len(data)), np.float32)
    out_indices = np.empty(len(out_data), np.int32)
    out_indptr = np.zeros(len(indptr), np.int64)
    used = 0
    for cell in range(len(indptr) - 1):
        window, top, left = cell_window(data, indices, indptr[cell], indptr[cell + 1], width)
        out_indptr[cell + 1] = used
        if window.size == 0:
            continue
        y0, y1, x0, x1 = _box(window, top, left, image_shape, level)
        padded = np.zeros((y1 - y0 + 2 * half, x1 - x0 + 2 * half), np.float32)
        for y in range(max(y0, top), min(y1, top + window.shape[0])):
            for x in range(max(x0, left), min(x1, left + window.shape[1])):
                padded[y - y0 + half, x - x0 + half] = window[y - top, x - left]
        smooth = _median(padded, side).reshape((y1 - y0, x1 - x0))
        if used + padded.size > len(out_data):
            size = 2 * (used + padded.size)
            grown_data, grown_indices = np.empty(size, np.float32), np.empty(size, np.int32)
            grown_data[:used], grown_indices[:used] = out_data[:used], out_indices[:used]
            out_data, out_indices = grown_data, grown_indices
        peak = np.float32(0)
        for y in range(y0, y1):
            for x in range(x0, x1):
                if smooth[y - y0, x - x0] > 0:
                    out_data[used], out_indices[used] = smooth[y - y0, x - x0], y * width + x
                    used += 1
                    peak = max(peak, smooth[y - y0, x - x0])
        if peak > 0:
            out_data[out_indptr[cell + 1] : used] /= peak
        out_indptr[cell + 1] = used
    return out_data[:used].copy(), out_indices[:used].copy(), out_indptr
