"""Measures of cells that no rule judges by: what the result's table says beside the judge's own columns."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.methods.extract.footprints import EDGE, window_side
from gpucells.methods.extract.judge import Events
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
    of_cells, of_background = weights @ traces.T, weights @ background.traces.T
    by_pixel = sparse.csc_array(footprints)
    patches = Patches.of(sparse.csr_array(footprints[cells]), inside.shape, window_side(radius_px))
    seen = grow(patches.images > EDGE, max(2, round(radius_px / 2))) & (patches.read(inside.ravel().astype("f4")) > 0)
    start = np.concatenate([[0], np.cumsum(seen.sum(axis=(1, 2)))])
    pixels = patches.pixels()[0][seen]
    shown = support_products(movie, weights, start, pixels)
    result = np.zeros(len(cells), np.float32)
    for i, (first, last) in enumerate(itertools.pairwise(start)):
        at = pixels[first:last]
        model = of_cells[i] @ by_pixel[:, at] / noise[at]
        model += of_background[i] @ background.images[:, at] + offset[at] * weights[i].sum()
        footprint = patches.images[i][seen[i]]
        left = (shown[first:last] - model) * noise[at]
        result[i] = _pearson(footprint + left, footprint) if weights[i].any() else 0
    return result


def _pearson(first: Float32, second: Float32) -> float:
    if len(first) < 2:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-20))
