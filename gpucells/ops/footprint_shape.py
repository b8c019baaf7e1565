r"""Shape of footprints: area, elongation, roundness, and how ragged they are (EXTRACT's measures).

Each footprint is looked at in its own bounding box and relative to its maximum, so the cost is that of its pixels.

- area: pixels above a share of the maximum.
- eccentricity: ratio of the axes of the largest 8-connected component above .3 of the maximum. Axes are those of
  MATLAB's ``regionprops``: of the ellipse with the component's second moments, each pixel being a unit square (1/12 is
  added to both variances). 1 for a disk; infinite where there is no component.
- circularity: :math:`4\pi\,\mathrm{area}/\mathrm{perimeter}^2` of the same component, the perimeter as MATLAB has it
  since R2014: of the 8-connected boundary chain, .980 a straight step + 1.406 a diagonal step - .091 a corner
  (Vossepoel & Smeulders 1982). It measures through pixel centres and so passes 1 for small round cells. 0 for a
  component without an extent.
- corruption: with :math:`L` the mean of the 4 x 4 px around (from one before to two after, the image's edge repeated)
  and :math:`\mu` the footprint's mean, both over pixels above .001,

  .. math:: \operatorname{mean}\frac{(F - L)^2}{\max(.01, L)} \Big/
            \operatorname{mean}\frac{(F - \mu)^2}{\max(.01, \mu)}

  About .1 for a smooth cell; EXTRACT rejects from 1.5 on. 0 where the footprint is flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError

BODY = 0.3  # share of the maximum that bounds the component whose axes and perimeter are taken, as in the original
MASK = 1e-3  # share of the maximum above which a pixel counts for the corruption, as in the original
FLOOR = 0.01  # smallest expected value that a squared deviation is divided by, as in the original
AREA_LEVELS = (0.2, 0.1)  # the original's area_1 and area_2


@dataclass(frozen=True)
class FootprintShape:
    """Measures of every footprint; an empty one has area 0, eccentricity infinite, the rest 0.

    Parameters
    ----------
    area_px : numpy.ndarray
        ``(n_cells, n_levels)`` pixels above each level.
    eccentricity, circularity, corruption : numpy.ndarray
        ``(n_cells,)`` float32; see the module.
    """

    area_px: NDArray[np.int64]
    eccentricity: NDArray[np.float32]
    circularity: NDArray[np.float32]
    corruption: NDArray[np.float32]


def footprint_shape(
    footprints: sparse.csr_array, image_shape: tuple[int, int], levels: tuple[float, ...] = AREA_LEVELS
) -> FootprintShape:
    """Measure the shape of footprints.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``, pixels in C order, not negative.
    image_shape : tuple of int
        ``(height, width)``.
    levels : tuple of float
        Shares of the maximum at which areas are counted.

    Returns
    -------
    FootprintShape

    Raises
    ------
    InputError
        ``n_pixels`` is not ``height * width``.
    """
    check_image_shape(footprints, image_shape)
    n_cells = footprints.shape[0]
    area = np.zeros((n_cells, len(levels)), dtype=np.int64)
    measures = np.zeros((3, n_cells), dtype=np.float32)
    data = np.ascontiguousarray(footprints.data, dtype=np.float32)
    _measure(data, footprints.indices, footprints.indptr, image_shape, np.array(levels, np.float32), area, measures)
    return FootprintShape(area, *measures)


def check_image_shape(footprints: sparse.csr_array, image_shape: tuple[int, int]) -> None:
    """Raise InputError unless footprints ``(n_cells, n_pixels)`` are of an image of that shape."""
    if footprints.shape[1] != image_shape[0] * image_shape[1]:
        raise InputError(f"footprints of {footprints.shape[1]} pixels do not fit an image of {image_shape}")


@numba.njit(cache=True)
def cell_window(data, indices, start, stop, width):  # type: ignore[no-untyped-def]
    """Return a footprint's dense bounding box relative to its maximum, and the box's first row and column.

    Parameters
    ----------
    data, indices : numpy.ndarray
        Of the CSR matrix.
    start, stop : int
        Where the footprint's entries are in them.
    width : int
        Of the image, in px.

    Returns
    -------
    window : numpy.ndarray
        ``(rows, columns)`` float32, maximum 1; ``(0, 0)`` where nothing is above 0.
    top, left : int
        Image row and column of ``window[0, 0]``.
    """
    top, left, bottom, right = np.int64(2**62), np.int64(width), np.int64(-1), np.int64(-1)
    peak = np.float32(0)
    for i in range(start, stop):
        if data[i] > 0:
            row, column = indices[i] // width, indices[i] % width
            top, bottom = min(top, row), max(bottom, row)
            left, right = min(left, column), max(right, column)
            peak = max(peak, data[i])
    if bottom < 0:
        return np.zeros((0, 0), np.float32), np.int64(0), np.int64(0)
    window = np.zeros((bottom - top + 1, right - left + 1), np.float32)
    for i in range(start, stop):
        if data[i] > 0:
            window[indices[i] // width - top, indices[i] % width - left] = data[i] / peak
    return window, top, left


@numba.njit(cache=True)
def largest_component(window, level):  # type: ignore[no-untyped-def]
    """Return a mask of the largest 8-connected component above ``level``, one empty pixel wider on every side."""
    height, width = window.shape
    label = np.zeros((height + 2, width + 2), np.int32)  # -1: above the level and not yet reached
    for y in range(height):
        for x in range(width):
            if window[y, x] > level:
                label[y + 1, x + 1] = -1
    stack = np.empty((height * width, 2), np.int32)
    best, best_size, count = 0, 0, 0
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            if label[y, x] != -1:
                continue
            count += 1
            label[y, x] = count
            stack[0, 0], stack[0, 1] = y, x
            depth, size = 1, 0
            while depth:
                depth -= 1
                row, column = stack[depth, 0], stack[depth, 1]
                size += 1
                for i in range(row - 1, row + 2):
                    for j in range(column - 1, column + 2):
                        if label[i, j] == -1:
                            label[i, j] = count
                            stack[depth, 0], stack[depth, 1] = i, j
                            depth += 1
            if size > best_size:
                best, best_size = count, size
    return (label == best) & (label != 0)


@numba.njit(cache=True)
def _axis_ratio(mask):  # type: ignore[no-untyped-def]
    n, sum_y, sum_x, sum_yy, sum_xx, sum_xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                n += 1
                sum_y += y
                sum_x += x
                sum_yy += y * y
                sum_xx += x * x
                sum_xy += x * y
    if n == 0:
        return np.inf
    yy = sum_yy / n - (sum_y / n) ** 2 + 1 / 12
    xx = sum_xx / n - (sum_x / n) ** 2 + 1 / 12
    xy = sum_xy / n - sum_x * sum_y / n**2
    spread = np.sqrt((yy - xx) ** 2 + 4 * xy**2)
    return np.sqrt((yy + xx + spread) / (yy + xx - spread))


@numba.njit(cache=True)
def _perimeter(mask):  # type: ignore[no-untyped-def]
    """Follow the outer boundary of the one component of ``mask``, counter-clockwise from its first pixel."""
    step_y = (0, -1, -1, -1, 0, 1, 1, 1)  # Freeman's directions: east, north-east, north, …
    step_x = (1, 1, 0, -1, -1, -1, 0, 1)
    first = -1
    for i in range(mask.size):
        if mask.flat[i]:
            first = i
            break
    if first < 0:
        return 0.0
    y0, x0 = first // mask.shape[1], first % mask.shape[1]
    y, x, direction, first_direction = y0, x0, 7, -1
    length = 0.0
    for _ in range(4 * mask.size):
        start = (direction + 7) % 8 if direction % 2 == 0 else (direction + 6) % 8
        found = -1
        for turn in range(8):
            d = (start + turn) % 8
            if mask[y + step_y[d], x + step_x[d]]:
                found = d
                break
        if found < 0:
            return 0.0
        if y == y0 and x == x0 and found == first_direction:
            # Back at the first pixel and about to repeat the first step: the chain is closed.
            return length - (0.091 if direction != first_direction else 0.0)
        if first_direction < 0:
            first_direction = found
        elif found != direction:
            length -= 0.091
        length += 0.980 if found % 2 == 0 else 1.406
        y, x, direction = y + step_y[found], x + step_x[found], found
    return length


@numba.njit(cache=True)
def _corruption(window, top, left, image_shape):  # type: ignore[no-untyped-def]
    total, count = 0.0, 0
    for value in window.flat:
        if value > MASK:
            total += value
            count += 1
    mean = total / max(count, 1)
    local, overall = 0.0, 0.0
    for y in range(window.shape[0]):
        for x in range(window.shape[1]):
            if window[y, x] <= MASK:
                continue
            around = 0.0
            for i in range(y - 1, y + 3):
                for j in range(x - 1, x + 3):
                    row = min(max(i + top, 0), image_shape[0] - 1) - top
                    column = min(max(j + left, 0), image_shape[1] - 1) - left
                    if 0 <= row < window.shape[0] and 0 <= column < window.shape[1]:
                        around += window[row, column] / 16
            local += (window[y, x] - around) ** 2 / max(FLOOR, around)
            overall += (window[y, x] - mean) ** 2 / max(FLOOR, mean)
    return local / overall if overall > 0 else 0.0


@numba.njit(cache=True)
def _measure(data, indices, indptr, image_shape, levels, area, measures):  # type: ignore[no-untyped-def]
    for cell in range(len(indptr) - 1):
        window, top, left = cell_window(data, indices, indptr[cell], indptr[cell + 1], image_shape[1])
        for level in range(len(levels)):
            for value in window.flat:
                area[cell, level] += value > levels[level]
        body = largest_component(window, BODY)
        perimeter = _perimeter(body)
        measures[0, cell] = _axis_ratio(body)
        measures[1, cell] = 4 * np.pi * body.sum() / perimeter**2 if perimeter > 0 else 0.0
        measures[2, cell] = _corruption(window, top, left, image_shape)
