"""A smooth field of background light, solved together with the cells.

Bilinear hats on a grid a few cell radii wide; each frame's amplitudes are unknowns of the same robust regression as
the traces, without a sign. What a pixel shows of the field is its gain (vessels dim it), fitted like a footprint.

The original has only a spatial high-pass filter, which also takes the cells' own low frequencies away and leaves a
negative ring around each (spec 9, item 9). A field that is solved with the cells costs them nothing but variance.

Between two footprints and a field there is a gauge: a cell's footprint may take any share of a hat and the field give
it back whenever the cell is active. The footprint's rim fixes it (see :mod:`gpucells.candidates.footprints`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage, sparse

from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.bilinear import Bilinear

Float32 = NDArray[np.float32]

GAIN_PRIOR_VARIANCE = 0.04  # gains are 1 +- 0.2 where the movie does not say
LARGEST_GAIN = 3.0
FEWEST_GAPS, CLOSEST = 3, 0.6  # between nodes along an axis; share of the distance that is asked
MOST_AT_ONCE = 1500  # cells and hats whose Gram matrix is inverted whole: 18 MB
HATS_AT_ONCE, HOPS = 128, 2  # otherwise: hats a piece, and overlaps followed from them (3 or 4 nodes; error below 1 %)
SPECTRUM_WIDTH = 3  # bins over which a hat's power spectrum is averaged before it is compared with the noise


@dataclass(frozen=True)
class HatGrid:
    """Nodes of the field over the whole image, so that all tiles share them.

    Parameters
    ----------
    rows, columns : numpy.ndarray
        Positions of the nodes (px).
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @classmethod
    def over(cls, image_shape: tuple[int, int], spacing_px: float) -> HatGrid:
        """Spread nodes evenly, about ``spacing_px`` apart.

        At least two an axis; four where that puts them no closer than :data:`CLOSEST` of what is asked: light that
        bends over a small image shows in fewer no more.
        """
        gaps = (max(1, round(n / spacing_px), min(FEWEST_GAPS, int(n / (CLOSEST * spacing_px)))) for n in image_shape)
        axes = (np.linspace(0, max(n - 1, 1), gap + 1) for n, gap in zip(image_shape, gaps, strict=True))
        return cls(*axes)

    @classmethod
    def for_settings(
        cls, image_shape: tuple[int, int], radius_px: float, settings: ExtractSettings
    ) -> tuple[HatGrid, HatGrid]:
        """Spread nodes as the settings say, for finding and refining and for the final traces; none for no background.

        The final ones are never further apart than the others.
        """
        if settings.background == "none":
            return cls(np.zeros(0), np.zeros(0)), cls(np.zeros(0), np.zeros(0))
        finer = min(settings.trace_background_spacing, settings.background_spacing)
        return (
            cls.over(image_shape, settings.background_spacing * radius_px),
            cls.over(image_shape, finer * radius_px),
        )

    def at_nodes_of(self, fine: HatGrid) -> sparse.csr_array:
        """Return these hats at the nodes of another grid, ``(n_hats, n_hats_fine)``: what a field is there."""
        if self.n_hats == 0:
            return sparse.csr_array((0, fine.n_hats), dtype=np.float32)
        along_y, along_x = _hats(fine.rows, self.rows), _hats(fine.columns, self.columns)
        return sparse.csr_array(sparse.kron(along_y, along_x, format="csr")).astype(np.float32)

    def around(self, rows: slice, columns: slice) -> tuple[HatGrid, NDArray[np.int64]]:
        """Return the part of the grid that a box of the image needs, and which nodes of the whole those are."""
        if self.n_hats == 0:
            return self, np.zeros(0, np.int64)
        i, j = _around(self.rows, rows), _around(self.columns, columns)
        numbers = np.add.outer(i * len(self.columns), j).ravel()
        return HatGrid(self.rows[i], self.columns[j]), numbers

    @property
    def n_hats(self) -> int:
        """Number of nodes."""
        return len(self.rows) * len(self.columns)

    def on(self, rows: slice, columns: slice) -> Bilinear:
        """Return the hats on a box of the image; those that miss it are empty."""
        return Bilinear.between(rows, columns, self.rows, self.columns)


def _around(nodes: NDArray[np.float64], box: slice) -> NDArray[np.int64]:
    """Numbers of the nodes on either side of a box and within it; at least two."""
    first = max(0, int(np.searchsorted(nodes, box.start, "right")) - 1)
    last = min(len(nodes) - 1, int(np.searchsorted(nodes, box.stop - 1, "left")))
    first = min(first, max(0, last - 1))
    return np.arange(first, max(last, first + 1) + 1)


def _hats(positions: NDArray[np.float64], nodes: NDArray[np.float64]) -> sparse.csr_array:
    step = nodes[1] - nodes[0]
    return sparse.csr_array(np.maximum(0, 1 - np.abs(positions[None] - nodes[:, None]) / step))


def shrink_gain(gain: Float32, certainty: Float32) -> Float32:
    """Pull gains towards 1 by how uncertain they are (normal prior), and keep them between 0 and 3."""
    weight = GAIN_PRIOR_VARIANCE / (GAIN_PRIOR_VARIANCE + 1 / np.maximum(certainty, 1e-9))
    return np.clip(1 + (gain - 1) * weight, 0, LARGEST_GAIN).astype(np.float32)


def denoise_field(
    field: Float32, footprints: sparse.csr_array, hats: sparse.csr_array, below: float, averaged: int = 1
) -> tuple[Float32, float]:
    """Wiener-filter the field's amplitudes in time.

    The variance that the regression gives each amplitude is known (the inverse of the joint Gram matrix, in units of
    the noise); where a hat's spectrum is no higher than that, there is nothing but noise to keep.

    Parameters
    ----------
    field : numpy.ndarray
        ``(n_hats, n_frames)``, estimated without constraint.
    footprints, hats : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``, ``(n_hats, n_pixels)`` in units of the noise.
    below : float
        Share of samples below kappa: the others count for nothing in the regression.
    averaged : int
        Frames of the noise's rate that each of the field's is the average of.

    Returns
    -------
    field : numpy.ndarray
        ``(n_hats, n_frames)`` float32.
    fast : float
        Share of the fastest sixteenth of the spectrum that is kept: near 0 where the field is slower than its frames.
    """
    live = np.flatnonzero(np.diff(hats.indptr))
    both = sparse.csr_array(sparse.vstack([footprints, hats[live]]))
    variance = _hat_variance(both, footprints.shape[0]) / (below * averaged)
    centred = field[live] - field[live].mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, axis=1)
    power = np.abs(spectrum) ** 2 / field.shape[1] / np.maximum(variance, 1e-20)[:, None]
    power = ndimage.gaussian_filter1d(power, SPECTRUM_WIDTH, axis=1, mode="nearest")
    power = 0.5 * (power + power.mean(axis=0))  # neighbouring hats share a spectrum's shape; one alone is noisy
    kept = np.clip(1 - 1 / np.maximum(power, 1e-9), 0, 1)
    result = field.copy()
    result[live] += (np.fft.irfft(spectrum * kept, n=field.shape[1], axis=1) - centred).astype(np.float32)
    return result, float(kept[:, -max(1, kept.shape[1] // 16) :].mean())


def _hat_variance(both: sparse.csr_array, n_cells: int) -> NDArray[np.float64]:
    """Variance of every hat's amplitude in units of the noise: the diagonal of the inverse joint Gram matrix.

    A large matrix is inverted piece by piece: some hats at a time, with all cells and hats that they reach over
    ``HOPS`` overlaps. What is further away matters little: the inverse falls off to about a quarter from one hat to
    the next.
    """
    gram = sparse.csr_array(both @ both.T).astype(np.float64)
    gram.setdiag(gram.diagonal() * (1 + 1e-6) + 1e-12)
    hats = np.arange(n_cells, gram.shape[0])
    if gram.shape[0] <= MOST_AT_ONCE:
        return np.asarray(np.diag(np.linalg.inv(gram.toarray()))[n_cells:])
    variance = np.empty(len(hats))
    for first in range(0, len(hats), HATS_AT_ONCE):
        some = hats[first : first + HATS_AT_ONCE]
        near = np.zeros(gram.shape[0])
        near[some] = 1
        for _ in range(HOPS):
            near = np.asarray(abs(gram) @ near > 0, np.float64)
        local = np.flatnonzero(near)
        place = np.searchsorted(local, some)
        unit = np.zeros((len(local), len(some)))
        unit[place, np.arange(len(some))] = 1
        solved = linalg.solve(gram[local][:, local].toarray(), unit, assume_a="pos", overwrite_a=True, overwrite_b=True)
        variance[first : first + HATS_AT_ONCE] = solved[place, np.arange(len(some))]
    return variance
