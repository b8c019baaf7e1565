"""Cells in the images of independent components: smoothed, cut where noise alone does not reach, taken apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.stats import norm

from gpucells.candidates.footprints import Windows
from gpucells.candidates.independent_settings import IndependentSettings

Float32 = NDArray[np.float32]

FALSE = 0.1  # pixels of one image that noise may bring above the threshold
FAINT, NOISES = 0.1, 2.0  # share of a segment's maximum, and noises, that its pixels have at least
AT_ONCE_BYTES = 2**23  # of images; their labels and orders take eight times that


def segment(
    images: Float32, inside: NDArray[np.bool_], noise: Float32, radius_px: float, settings: IndependentSettings
) -> tuple[sparse.csr_array, NDArray[np.int64]]:  # fmt: skip
    """Find the cells of every image: one, several or none.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n_ics, n_pixels)`` in units of the noise.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    noise : numpy.ndarray
        ``(n_pixels,)`` in the movie's units.
    radius_px : float
        Cell radius (px).
    settings : IndependentSettings
        Of the run.

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32 in the movie's units, maximum 1.
    component : numpy.ndarray
        ``(n_cells,)`` whose image each is from.
    """
    step = max(1, AT_ONCE_BYTES // (4 * inside.size))
    parts = [
        _segment_some(images[first : first + step], first, inside, noise, radius_px, settings)
        for first in range(0, len(images), step)
    ]
    if not parts:
        return sparse.csr_array((0, inside.size), dtype=np.float32), np.zeros(0, np.int64)
    rough = sparse.csr_array(sparse.vstack([part for part, _ in parts]))
    component = np.concatenate([some for _, some in parts])
    return _finished(rough, component, images, inside, noise, radius_px, settings)


def _finished(
    rough: sparse.csr_array, component: NDArray[np.int64], images: Float32, inside: NDArray[np.bool_], noise: Float32,
    radius_px: float, settings: IndependentSettings,
) -> tuple[sparse.csr_array, NDArray[np.int64]]:  # fmt: skip
    """Read the segments' surroundings, too, and smooth and cut them as any footprint whose error is known.

    A component's trace has norm 1, so its image has the noise of the movie, which is 1.
    """
    if rough.shape[0] == 0:
        return rough, component
    windows = Windows.of(rough, noise, inside, radius_px)
    entries = windows.start()
    of_entry = np.repeat(component, np.diff(entries.indptr))
    entries.data = images[of_entry, entries.indices]
    footprints, scale = windows.finish(entries, np.ones(len(component), np.float32), radius_px, settings, True)
    left = np.flatnonzero(scale)
    return sparse.csr_array(footprints[left]), component[left]


def _segment_some(
    images: Float32,
    first: int,
    inside: NDArray[np.bool_],
    noise: Float32,
    radius_px: float,
    settings: IndependentSettings,
) -> tuple[sparse.csr_array, NDArray[np.int64]]:  # fmt: skip
    stack, sigma = images.reshape(-1, *inside.shape), settings.segment_smoothing * radius_px
    smooth = ndimage.gaussian_filter(stack, (0, sigma, sigma)) if sigma > 0 else stack
    spread = _spread(smooth[:, inside])[:, None, None]
    chance = settings.segment_z or float(norm.isf(FALSE / max(1, inside.sum())))
    lit = (smooth > NOISES * spread) & inside
    lit &= smooth > FAINT * smooth.max(axis=(1, 2), keepdims=True)
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    label, n = ndimage.label(lit, in_plane)
    every = np.arange(1, n + 1)
    highest = np.asarray(ndimage.maximum(smooth, label, every)).reshape(n)
    at = np.asarray(ndimage.maximum_position(smooth, label, every), np.int64).reshape(n, 3)[:, 0]
    tallest = smooth.max(axis=(1, 2))[at]
    area = np.bincount(label.ravel(), minlength=n + 1)[1:]
    cell = (highest > chance * spread.ravel()[at]) & (highest >= settings.segment_share * tallest)
    cell &= area >= max(2.0, settings.min_size * np.pi * radius_px**2)
    return _cut_out(stack, smooth, label, np.flatnonzero(cell), highest, noise), at[cell] + first


def _spread(values: Float32) -> Float32:
    """Return each row's noise: most pixels of an image are no cell's."""
    middle = np.median(values, axis=1, keepdims=True)
    return np.asarray(1.4826 * np.median(np.abs(values - middle), axis=1), np.float32)


def _cut_out(
    stack: Float32,
    smooth: Float32,
    label: NDArray[np.int32],
    cells: NDArray[np.int64],
    highest: Float32,
    noise: Float32,
) -> sparse.csr_array:
    """Return the light of some segments as footprints in the movie's units, maximum 1."""
    number = np.full(len(highest) + 1, -1)
    number[cells + 1] = np.arange(len(cells))
    cell = number[label]
    faint = FAINT * np.concatenate([[0], highest])[label]
    plane, row, column = np.nonzero((cell >= 0) & (smooth > faint) & (stack > 0))
    pixel = row * stack.shape[2] + column
    values = stack[plane, row, column] * noise[pixel]
    where = cell[plane, row, column]
    found = sparse.csr_array((values, (where, pixel)), shape=(len(cells), len(noise)), dtype=np.float32)
    tallest = found.max(axis=1).toarray().ravel() if len(cells) else np.zeros(0, np.float32)
    found.data /= np.repeat(np.maximum(tallest, 1e-12), np.diff(found.indptr))
    return found
