"""A footprint's support and values, by what is known of its error.

The standard error of a footprint's pixel is known: the movie is in units of the noise, so it is one over the norm of
the trace. That number replaces fixed median filters and thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.settings import CandidateSettings
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.patches import Patches, grow, keep_peak_component
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]

EDGE = 0.1  # share of the maximum that counts as support (EXTRACT's figure)
FAINT = 0.01  # share of the maximum below which a footprint's pixel is dropped
WINDOW_RADII = 6  # side of a footprint's window in cell radii: no cell is wider, and nothing can grow beyond
DOUBTFUL = 0.5  # share of the neighbours' light below which a trace may be their leak
EVENT = 3 * np.sqrt(2)  # a trace counts in the footprint step where it is this many noises high (EXTRACT's figure)


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


@dataclass(frozen=True)
class Windows:
    """Where footprints may have light: a window each, and in it what a cell could grow to.

    Parameters
    ----------
    patches : Patches
        The footprints.
    masks : numpy.ndarray
        ``(n_cells, side, side)`` bool, pixels that may be the cell's: its support and half a radius around.
    rim : numpy.ndarray
        ``(n_cells, side, side)`` bool, the outermost pixels of the masks.
    noise : numpy.ndarray
        ``(n_cells, side, side)`` noise of each pixel.
    """

    patches: Patches
    masks: NDArray[np.bool_]
    rim: NDArray[np.bool_]
    noise: Float32

    @classmethod
    def of(cls, footprints: sparse.csr_array, noise: Float32, inside: NDArray[np.bool_], radius_px: float) -> Windows:
        """Take the windows of ``(n_cells, n_pixels)`` footprints.

        Parameters
        ----------
        footprints : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` in the movie's own units.
        noise : numpy.ndarray
            ``(n_pixels,)``.
        inside : numpy.ndarray
            ``(height, width)`` bool, the pixels that a footprint may have.
        radius_px : float
            Cell radius (px).
        """
        patches = Patches.of(footprints, inside.shape, window_side(radius_px))
        support = patches.images > EDGE * patches.images.max(axis=(1, 2), initial=1e-12, keepdims=True)
        reach = max(2, round(radius_px / 2))
        masks = grow(support, reach) & (patches.read(inside.ravel().astype(np.float32)) > 0)
        rim = masks & ~grow(support, reach - 1)
        return cls(patches, masks, rim, patches.read(noise))

    def start(self) -> sparse.csr_array:
        """Return the footprints in units of the noise, with an entry for every pixel of the masks."""
        images = np.where(self.masks, self.patches.images / np.maximum(self.noise, 1e-12), 0)
        return self.patches.replaced(images).to_sparse(self.masks)

    def finish(
        self, solved: sparse.csr_array, strength: Float32, radius_px: float, settings: CandidateSettings,
        background: bool,
    ) -> tuple[sparse.csr_array, Float32]:  # fmt: skip
        """Turn solved footprints into cells' images: rim, smoothing, significance, the piece with the maximum.

        Parameters
        ----------
        solved : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` in units of the noise, where :meth:`start` has entries.
        strength : numpy.ndarray
            ``(n_cells,)`` norms of the traces that they were solved for.
        radius_px : float
            Cell radius (px).
        settings : CandidateSettings
            Of the run.
        background : bool
            Whether the model has a background, which the rim's level is a part of.

        Returns
        -------
        footprints : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` with maximum 1 in the movie's units; an empty row where nothing is left.
        scale : numpy.ndarray
            ``(n_cells,)`` by which the traces grow as the footprints are scaled back.
        """
        images = _spread(solved, self.patches) * self.noise
        error = (self.noise / np.maximum(strength, 1e-6)[:, None, None]).astype(np.float32)
        if background:
            images = np.maximum(images - _rim_level(images, self.rim)[:, None, None], 0)
        images = _smooth_and_cut(images, self.masks, error, radius_px, settings)
        keep_peak_component(images)
        scale = images.max(axis=(1, 2), initial=0)
        images /= np.maximum(scale, 1e-12)[:, None, None]
        return self.patches.replaced(images).to_sparse(), scale


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
    images: Float32, masks: NDArray[np.bool_], error: Float32, radius_px: float, settings: CandidateSettings
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
