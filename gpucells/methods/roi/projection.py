r"""Traces that are projections: a weighted mean of pixels, less a coefficient times the mean of a ring.

.. math:: x_k(t) = \left(w_k - \alpha_k r_k\right)^\top \left(y_t - \bar y\right), \qquad F_{0,k} = w_k^\top \bar y

with :math:`w_k` the weights of the cell's pixels and :math:`r_k` those of its ring, each with sum 1, and
:math:`\bar y` the mean frame: CIAtah's baseline. With a coefficient that is a number it is linear in the movie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from gpucells.candidates.quality import measure_neighbours, measure_traces
from gpucells.factorisation.shared_light import background_shares
from gpucells.methods.roi.final import warnings_of
from gpucells.methods.roi.settings import RoiSettings
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

OWN = 0.2  # share of a footprint's maximum above which a pixel is the cell's, and in nobody's ring
STEP = 0.5  # cell radii that a ring that is too small is widened by
Projector = Callable[[sparse.csr_array, Bool, tuple[int, int], float], "RoiProjection"]


def projection(settings: RoiSettings) -> Projector | None:
    """Return what makes a projection of footprints; None where the settings ask for traces that are solved.

    Parameters
    ----------
    settings : RoiSettings
        Of the run.
    """
    if settings.traces not in ("mean", "weighted_mean"):
        return None
    return lambda footprints, counts, shape, radius: RoiProjection.of(footprints, counts, shape, radius, settings)


@dataclass(frozen=True)
class RoiProjection:
    """Images that every frame is multiplied with.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` of pixels that count.
    rows : scipy.sparse.csr_array
        ``(n_cells or 2 n_cells, n_pixels)``: cells, then rings; each row's sum is 1, or 0 where there is no pixel.
    coefficient : float or None
        Of the rings; None: from the traces.
    lags, fudge : int, float
        Of the decay that tells events, for the coefficient.
    """

    footprints: sparse.csr_array
    rows: sparse.csr_array
    coefficient: float | None
    lags: int
    fudge: float

    @classmethod
    def of(
        cls, footprints: sparse.csr_array, counts: Bool, shape: tuple[int, int], radius_px: float, settings: RoiSettings
    ) -> RoiProjection:
        """Make it of footprints.

        Parameters
        ----------
        footprints : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` with maximum 1.
        counts : numpy.ndarray
            ``(n_pixels,)`` bool.
        shape : tuple of int
            ``(height, width)``.
        radius_px : float
            Cell radius (px).
        settings : RoiSettings
            Of the run.
        """
        seen = scaled(footprints, counts.astype(np.float32))
        seen.eliminate_zeros()
        weights = seen.copy()
        if settings.traces == "mean":
            weights.data = (weights.data > settings.threshold).astype(np.float32)
            weights.eliminate_zeros()
        rows = [unit_sum(weights)]
        if settings.neuropil:
            rows.append(unit_sum(rings(footprints, counts, shape, radius_px, settings)))
        both = sparse.csr_array(sparse.vstack(rows, format="csr"))
        fixed = None if settings.neuropil_coefficient == "auto" else float(settings.neuropil_coefficient)
        return cls(seen, both, fixed, settings.decay_lags, settings.decay_fudge)

    def result(self, products: Float32) -> tuple[Float32, Float32, dict[str, Float32], tuple[str, ...]]:
        """Make traces of products.

        Parameters
        ----------
        products : numpy.ndarray
            ``(n_rows, n_frames)`` float32, finite.

        Returns
        -------
        traces : numpy.ndarray
            ``(n_cells, n_frames)`` float32; NaN where a cell has no pixel.
        f0 : numpy.ndarray
            ``(n_cells,)`` float32, the mean before the ring is taken off.
        quality : dict
            Measures of the traces, pixels of cell and ring, and the ring's coefficient.
        warnings : tuple of str
            Of cells without pixels, without a ring, or that are the same.
        """
        n = self.footprints.shape[0]
        mean = products.mean(axis=1, dtype=np.float64)
        above = products - mean[:, None].astype(np.float32)
        pixels = np.diff(self.rows.indptr)
        traces, coefficient = above[:n].copy(), np.zeros(n, np.float32)
        warnings = list(warnings_of(self.footprints))
        if len(products) > n:
            coefficient = self._coefficients(traces, above[n:])
            coefficient[pixels[n:] == 0] = 0
            traces -= coefficient[:, None] * above[n:]
            lonely = np.flatnonzero((pixels[n:] == 0) & (pixels[:n] > 0))
            if len(lonely):
                warnings.append(f"{len(lonely)} cells have no pixel around them, the first is number {lonely[0]}: "
                                "no neuropil is taken off")  # fmt: skip
        quality = measure_traces(traces) | measure_neighbours(self.footprints, traces)
        quality |= {"n_pixels": pixels[:n].astype(np.float32), "neuropil_coefficient": coefficient}
        if len(products) > n:
            quality["neuropil_pixels"] = pixels[n:].astype(np.float32)
        empty = pixels[:n] == 0
        traces[empty] = np.nan
        f0 = np.where((mean[:n] > 0) & ~empty, mean[:n], np.nan)
        return traces, f0.astype(np.float32), quality, tuple(warnings)

    def _coefficients(self, traces: Float32, around: Float32) -> Float32:
        if self.coefficient is not None:
            return np.full(len(traces), self.coefficient, np.float32)
        shares = [
            background_shares(traces[k : k + 1], around[k : k + 1], self.lags, self.fudge)[0, 0]
            for k in range(len(traces))
        ]
        return np.clip(np.array(shares, np.float32), 0, 1)


def unit_sum(images: sparse.csr_array) -> sparse.csr_array:
    """Scale every row to a sum of 1; empty ones stay empty.

    Parameters
    ----------
    images : scipy.sparse.csr_array
        ``(n, n_pixels)``, not negative.
    """
    total = np.asarray(images.sum(axis=1), np.float64).ravel()
    result = images.copy()
    result.data = (images.data / np.repeat(np.maximum(total, 1e-30), np.diff(images.indptr))).astype(np.float32)
    return result


def rings(
    footprints: sparse.csr_array, counts: Bool, shape: tuple[int, int], radius_px: float, settings: RoiSettings
) -> sparse.csr_array:
    """Lay a ring around each cell, free of all cells' pixels, and widen it until it has enough.

    Parameters
    ----------
    footprints, counts, shape, radius_px, settings
        As :meth:`RoiProjection.of` takes them.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` of ones; a row is empty where no pixel of the image is free.
    """
    height, width = shape
    free = counts.copy()
    free[footprints.indices[footprints.data > OWN]] = False
    free_image, found = free.reshape(shape), []
    for k in range(footprints.shape[0]):
        inner = _own_pixels(footprints, k)
        row, column = np.divmod(inner, width)
        wanted = settings.neuropil_pixels * len(inner)
        found.append(_ring(row, column, free_image, settings, radius_px, wanted))
    pixels = [y * width + x for y, x in found]
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in pixels])]).astype(np.int64)
    indices = np.concatenate([*pixels, np.zeros(0, np.int64)]).astype(np.int64)
    return sparse.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(found), height * width))


def _own_pixels(footprints: sparse.csr_array, k: int) -> NDArray[np.int64]:
    some = slice(footprints.indptr[k], footprints.indptr[k + 1])
    return np.asarray(footprints.indices[some][footprints.data[some] > OWN], np.int64)


def _ring(
    row: NDArray[np.int64], column: NDArray[np.int64], free: Bool, settings: RoiSettings, radius_px: float,
    wanted: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    gap, size = settings.neuropil_gap * radius_px, settings.neuropil_size * radius_px
    while True:
        margin = int(np.ceil(gap + size)) + 1
        top, left = max(0, row.min() - margin), max(0, column.min() - margin)
        bottom, right = min(free.shape[0], row.max() + margin + 1), min(free.shape[1], column.max() + margin + 1)
        outside = np.ones((bottom - top, right - left), bool)
        outside[row - top, column - left] = False
        distance = ndimage.distance_transform_edt(outside)
        y, x = np.nonzero(free[top:bottom, left:right] & (distance > gap) & (distance <= gap + size))
        if len(y) >= wanted or size > np.hypot(*free.shape):
            return y + top, x + left
        size += max(STEP * radius_px, 1.0)
