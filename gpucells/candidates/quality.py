"""Measures of cells that no rule judges by: what the result's table says beside the judge's own columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.footprints import EDGE, window_side
from gpucells.candidates.judge import Events
from gpucells.ops.patches import Patches, grow
from gpucells.ops.robust_footprints import Known
from gpucells.ops.support_products import support_products
from gpucells.ops.trace_quality import ACTIVE, median3, temporal_corruption, trace_snr

Float32 = NDArray[np.float32]


def measure_traces(traces: Float32) -> dict[str, Float32]:
    """Take the original's two measures of ``(n_cells, n_frames)`` unconstrained traces, each from its median."""
    above = traces - np.median(traces, axis=1, keepdims=True)
    return {"trace_snr": trace_snr(above), "temporal_corruption": temporal_corruption(above)}


def measure_neighbours(footprints: sparse.csr_array, traces: Float32) -> dict[str, Float32]:
    """Measure how much each cell has in common with another: how near it is to being a duplicate.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` without constraint.

    Returns
    -------
    dict
        ``neighbour_overlap``, the largest cosine of a cell's footprint with another's, and ``neighbour_correlation``,
        the largest correlation of its transients with those of a cell that shares pixels; 0 where none does.
    """
    n_cells = footprints.shape[0]
    overlap, correlation = np.zeros(n_cells, np.float32), np.zeros(n_cells, np.float32)
    norm = np.sqrt(np.maximum(footprints.multiply(footprints).sum(axis=1), 1e-20))
    shared = sparse.coo_array(sparse.triu(footprints @ footprints.T, k=1))
    first, second = shared.coords
    for largest, values in (
        (overlap, shared.data / (norm[first] * norm[second])),
        (correlation, Events.of(traces).correlation(first, second)),
    ):
        np.maximum.at(largest, first, values)
        np.maximum.at(largest, second, values)
    return {"neighbour_overlap": overlap, "neighbour_correlation": correlation}


def event_correlation(
    movie: Float32, footprints: sparse.csr_array, traces: Float32, noise: Float32, background: Known, offset: Float32,
    inside: NDArray[np.bool_], radius_px: float, cells: NDArray[np.integer],
) -> Float32:  # fmt: skip
    """Correlate footprints with what the movie shows at the cells' own events, everything else taken off.

    That is the mean of the event frames (those whose running median is above .3 of its largest, as in the original),
    weighted by the trace, of the movie without offset, background and other cells; over the pixels that the footprint
    step may give the cell. Only those frames and pixels are read.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of the noise.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` in the movie's own units, all that the model has.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    noise, offset : numpy.ndarray
        ``(n_pixels,)``.
    background : Known
        In units of the noise.
    inside : numpy.ndarray
        ``(height, width)`` bool.
    radius_px : float
        Cell radius (px).
    cells : numpy.ndarray
        Which to measure.

    Returns
    -------
    numpy.ndarray
        ``(len(cells),)`` float32; 0 where a cell is silent.
    """
    above = traces[cells] - np.median(traces[cells], axis=1, keepdims=True)
    middle = median3(above)
    weights = np.where(middle > ACTIVE * np.maximum(middle.max(axis=1, initial=0), 1e-20)[:, None], above, 0)
    weights /= np.maximum((weights**2).sum(axis=1), 1e-20)[:, None]
    return weighted_correlation(movie, footprints, traces, noise, background, offset, inside, radius_px, cells, weights)


def weighted_correlation(
    movie: Float32, footprints: sparse.csr_array, traces: Float32, noise: Float32, background: Known, offset: Float32,
    inside: NDArray[np.bool_], radius_px: float, cells: NDArray[np.integer], weights: Float32,
) -> Float32:  # fmt: skip
    """Correlate footprints with a weighted sum of the movie's frames, everything else taken off.

    Parameters
    ----------
    movie, footprints, traces, noise, background, offset, inside, radius_px, cells
        As :func:`event_correlation` takes them.
    weights : numpy.ndarray
        ``(len(cells), n_frames)`` float32 of the frames; a cell's sum of weight times trace is 1.

    Returns
    -------
    numpy.ndarray
        ``(len(cells),)`` float32; 0 where a cell has no weights.
    """
    of_cells, of_background = weights @ traces.T, weights @ background.traces.T
    patches = Patches.of(sparse.csr_array(footprints[cells]), inside.shape, window_side(radius_px))
    seen = grow(patches.images > EDGE, max(2, round(radius_px / 2))) & (patches.read(inside.ravel().astype("f4")) > 0)
    counts = seen.sum(axis=(1, 2))
    pixels = patches.pixels()[0][seen]
    shown = support_products(movie, weights, np.concatenate([[0], np.cumsum(counts)]), pixels)
    of_cell = np.repeat(np.arange(len(cells)), counts)
    model = _weighted(sparse.csc_array(footprints), of_cells, of_cell, pixels) / noise[pixels]
    model += _weighted(background.images, of_background, of_cell, pixels)
    model += offset[pixels] * weights.sum(axis=1)[of_cell]
    footprint = patches.images[seen]
    correlation = _pearson(footprint + (shown - model) * noise[pixels], footprint, of_cell, len(cells))
    return np.where(weights.any(axis=1), correlation, 0).astype(np.float32)


def _weighted(
    images: sparse.csc_array, weights: Float32, of_cell: NDArray[np.integer], pixels: NDArray[np.integer]
) -> Float32:
    """For each entry (cell, pixel) the sum of the images there, with the weights that the cell gives them."""
    some = images[:, pixels]
    n_cells, n_images = weights.shape
    columns = some.indices + np.repeat(of_cell * n_images, np.diff(some.indptr))
    shape = (len(pixels), n_cells * n_images)
    return np.asarray(sparse.csr_array((some.data, columns, some.indptr), shape=shape) @ weights.ravel())


def _pearson(
    first: NDArray[np.floating], second: NDArray[np.floating], of_cell: NDArray[np.integer], n_cells: int
) -> NDArray[np.float64]:
    """Correlation of each cell's entries; 0 where there are fewer than two."""
    count = np.bincount(of_cell, minlength=n_cells)
    left, right = (x - (np.bincount(of_cell, x, n_cells) / np.maximum(count, 1))[of_cell] for x in (first, second))
    both, own, other = (np.bincount(of_cell, x * y, n_cells) for x, y in ((left, right), (left, left), (right, right)))
    return np.asarray(np.where(count > 1, both / np.maximum(np.sqrt(own * other), 1e-20), 0), np.float64)
