"""The footprint step of the refinement: masks, robust regression, rim, smoothing, significance.

The standard error of a footprint's pixel is known: the movie is in units of the noise, so it is one over the norm of
the trace. That number replaces the original's fixed median filter and thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.methods.extract.compatible import admm_footprints
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.patches import Patches, grow, keep_peak_component
from gpucells.ops.robust_footprints import Known, robust_footprints
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]

EDGE = 0.1  # share of the maximum that counts as support (the original's figure)
FAINT = 0.01  # share of the maximum below which a footprint's pixel is dropped
WINDOW_RADII = 6  # side of a footprint's window in cell radii: no cell is wider, and nothing can grow beyond
DOUBTFUL = 0.5  # share of the neighbours' light below which a trace may be their leak
EVENT = 3 * np.sqrt(2)  # a trace counts in the footprint step where it is this many noises high (the original's figure)


def significant_part(traces: Float32, whitened: sparse.csr_array) -> Float32:
    """Keep of each trace what is the cell's own beyond doubt.

    Soft-thresholded at what its noise reaches, and zero while the neighbours outshine it: two cells that overlap may
    trade shares of each other's trace against shares of each other's footprint without any change of the fit, and only
    the frames in which one is active alone tell them apart. A trace with nothing left keeps its positive part.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    whitened : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` footprints in units of the noise.
    """
    kept = np.maximum(traces - EVENT * difference_noise(traces)[:, None], 0)
    kept[traces < DOUBTFUL * neighbour_light(whitened, traces)] = 0
    empty = kept.max(axis=1, initial=0) <= 0
    kept[empty] = np.maximum(traces[empty], 0)
    return np.asarray(kept, np.float32)


def neighbour_light(whitened: sparse.csr_array, traces: Float32) -> Float32:
    """``(n_cells, n_frames)`` what the others' light in its footprint would add to each trace, were it alone."""
    shared = sparse.csr_array(whitened @ whitened.T).astype(np.float32)
    own = np.maximum(shared.diagonal(), 1e-12)
    shared.setdiag(0)
    return np.asarray((shared @ np.maximum(traces, 0)) / own[:, None], np.float32)


def window_side(radius_px: float) -> int:
    """Return the odd side (px) of a footprint's window."""
    return 2 * int(np.ceil(WINDOW_RADII * radius_px / 2)) + 1


def update_footprints(
    movie: Float32, traces: Float32, footprints: sparse.csr_array, noise: Float32, kappa: Float32,
    known: Known, offset: Float32, inside: NDArray[np.bool_], radius_px: float, settings: ExtractSettings,
) -> tuple[sparse.csr_array, NDArray[np.float32]]:  # fmt: skip
    """Solve the footprints for given traces.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of the noise.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1, in the movie's own units.
    noise, kappa, offset : numpy.ndarray
        ``(n_pixels,)``.
    known : Known
        The background.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that a footprint may have.
    radius_px : float
        Cell radius (px).

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1; an empty row where nothing is left.
    scale : numpy.ndarray
        ``(n_cells,)`` by which the traces grow as the footprints are scaled back.
    """
    whitened = sparse.csr_array(footprints @ sparse.diags_array(1 / noise)).astype(np.float32)
    active = significant_part(traces, whitened)
    patches = Patches.of(footprints, inside.shape, window_side(radius_px))
    support = patches.images > EDGE * patches.images.max(axis=(1, 2), initial=1e-12, keepdims=True)
    reach = max(2, round(radius_px / 2))
    masks = grow(support, reach) & (patches.read(inside.ravel().astype(np.float32)) > 0)
    rim = masks & ~grow(support, reach - 1)
    patch_noise = patches.read(noise)
    start = patches.replaced(np.where(masks, patches.images / np.maximum(patch_noise, 1e-12), 0))
    begin = start.to_sparse(masks)
    if settings.solver == "admm":
        solved = admm_footprints(movie, active, begin, settings.kappa_std_ratio, known=known, offset=offset)
    else:
        solved = robust_footprints(movie, active, begin, kappa, known=known, offset=offset)
    images = _spread(solved, patches) * patch_noise
    error = patch_noise / np.maximum(np.linalg.norm(active, axis=1), 1e-6)[:, None, None]
    if known.images.shape[0]:
        images = np.maximum(images - _rim_level(images, rim)[:, None, None], 0)
    images = _smooth_and_cut(images, masks, error, radius_px, settings)
    keep_peak_component(images)
    scale = images.max(axis=(1, 2), initial=0)
    images /= np.maximum(scale, 1e-12)[:, None, None]
    return patches.replaced(images).to_sparse(), scale


def _spread(solved: sparse.csr_array, patches: Patches) -> Float32:
    """Put sparse footprints back into the windows that they came from."""
    images = np.zeros_like(patches.images)
    width = patches.image_shape[1]
    cells = np.repeat(np.arange(solved.shape[0]), np.diff(solved.indptr))
    rows, columns = np.divmod(solved.indices, width)
    images[cells, rows - patches.corners[cells, 0], columns - patches.corners[cells, 1]] = solved.data
    return images


def _rim_level(images: Float32, rim: NDArray[np.bool_]) -> Float32:
    """Median of each footprint over the rim of its mask: what it holds of the background there, and everywhere."""
    counts = rim.sum(axis=(1, 2))
    values = np.full((len(images), counts.max(initial=1)), np.inf, np.float32)  # what a rim lacks comes last
    values[np.arange(values.shape[1]) < counts[:, None]] = images[rim]
    values.sort(axis=1)
    every = np.arange(len(images))
    middle = (values[every, np.maximum(counts - 1, 0) // 2] + values[every, counts // 2]) / 2
    return np.asarray(np.where(counts > 0, middle, 0), np.float32)


def _smooth_and_cut(
    images: Float32, masks: NDArray[np.bool_], error: Float32, radius_px: float, settings: ExtractSettings
) -> Float32:
    """Smooth as far as the noise explains the roughness; drop what is not significant."""
    side = images.shape[1]
    uncertainty = error
    if settings.smooth_footprints and len(images):
        smoother = SpatialFilter(side, side, radius_px, lowpass_cutoff=settings.spatial_lowpass_cutoff)
        smooth = smoother.apply(images) * masks
        point = np.zeros((1, side, side), np.float32)
        point[0, side // 2, side // 2] = 1
        response = smoother.apply(point)[0]
        rough_noise = float(((point[0] - response) ** 2).sum())  # variance of the rough part of unit white noise
        smooth_noise = float(np.sqrt((response**2).sum()))
        core = smooth > 0.2 * smooth.max(axis=(1, 2), keepdims=True)
        roughness = (((images - smooth) / np.maximum(error, 1e-12)) ** 2 * core).sum(axis=(1, 2))
        roughness /= np.maximum(core.sum(axis=(1, 2)), 1)
        real = np.clip(1 - rough_noise / np.maximum(roughness, 1e-9), 0, 1)[:, None, None].astype(np.float32)
        images = real * images + (1 - real) * smooth
        uncertainty = error * (real + (1 - real) * smooth_noise)
    images = np.where(images >= settings.footprint_z * uncertainty, images, 0)
    return np.where(images >= FAINT * images.max(axis=(1, 2), initial=0, keepdims=True), images, 0).astype(np.float32)
