r"""Unmixing filters of cells: signed images whose product with the movie is a component's trace.

With principal components :math:`Y = U S V^T`, CellSort's filters are :math:`F = B S^{-1} U^T`, so that
:math:`F Y = B V^T`, the components' traces. Here components are found in a movie whose background is off, and filters
meet the movie as it is: :math:`U, S, V` are that movie's, and :math:`B = C V` what they have of the traces :math:`C`.
The background is among them, and a filter that gives a trace without it is blind to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from gpucells.candidates.independent import Independent, squares
from gpucells.device.arrays import to_host
from gpucells.model.components import Filters
from gpucells.ops.pca import PrincipalComponents

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """What the filters of a tile's cells are made from.

    Parameters
    ----------
    cut_out : scipy.sparse.csr_array
        ``(n_segments, n_pixels)`` segments of the components' images.
    component : numpy.ndarray
        ``(n_segments,)`` whose image each is from.
    peak : numpy.ndarray
        ``(n_segments,)`` light that the component's trace leaves at the segment's brightest pixel, in the movie's
        units.
    rows : numpy.ndarray
        ``(n_ics, n_squares)`` float32 filters of the components on the squares of the movie.
    squares : scipy.sparse.csr_array
        ``(n_squares, n_pixels)`` of the movie in its own units.
    shape : tuple of int
        Squares along the image's axes.
    reach : int
        Squares that a cell radius touches.
    """

    cut_out: sparse.csr_array
    component: NDArray[np.int64]
    peak: Float32
    rows: Float32
    squares: sparse.csr_array
    shape: tuple[int, int]
    reach: int

    @classmethod
    def of(
        cls, parts: Independent, segments: tuple[sparse.csr_array, NDArray[np.int64]], seen: PrincipalComponents,
        inside: NDArray[np.bool_], noise: Float32, radius_px: float, side: int,
    ) -> Sources:  # fmt: skip
        """Keep what is needed of an analysis.

        Parameters
        ----------
        parts : Independent
            Components of the movie without its background.
        segments : (scipy.sparse.csr_array, numpy.ndarray)
            Cells cut out of their images, and which component each is from.
        seen : PrincipalComponents
            Of the movie with its background.
        inside : numpy.ndarray
            ``(height, width)`` bool, the pixels that count.
        noise : numpy.ndarray
            ``(n_pixels,)`` in the movie's units.
        radius_px : float
            Cell radius (px).
        side : int
            Of a square (px).
        """
        cut_out, component = segments
        of_entry = np.repeat(component, np.diff(cut_out.indptr))
        light = parts.images[of_entry, cut_out.indices] * noise[cut_out.indices]
        lit = sparse.csr_array((light, cut_out.indices, cut_out.indptr), shape=cut_out.shape)
        peak = lit.max(axis=1).toarray().ravel().astype(np.float32)
        turned = parts.traces.astype(np.float64) @ seen.traces / seen.singular_values
        rows = np.asarray(turned.astype(np.float32) @ to_host(seen.images).T, np.float32)
        shape = -(-inside.shape[0] // side), -(-inside.shape[1] // side)
        return cls(cut_out, component, peak, rows, squares(inside, noise, side), shape, ceil(radius_px / side))

    def filters_of(self, footprints: sparse.csr_array) -> Filters:
        """Return the filters of cells: each that of the segment with which it shares most light.

        A component with one cell gives its whole filter, which measures the light at the footprint's brightest pixel.
        One with several gives each its part of the filter (CellSort's segments of filters).

        Parameters
        ----------
        footprints : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` with maximum 1, the cells that are left of the segments.
        """
        n_cells = footprints.shape[0]
        if n_cells == 0:
            return Filters(np.zeros((0, self.rows.shape[1]), np.float32), np.zeros(0, np.int64), self.squares)
        segment = np.asarray(sparse.csr_array(footprints @ self.cut_out.T).argmax(axis=1)).ravel()
        component = self.component[segment]
        weights = self.rows[component] * self.peak[segment, None]
        shared = np.flatnonzero(np.bincount(component)[component] > 1)
        if len(shared):
            seen = np.asarray((sparse.csr_array(footprints[shared]) @ self.squares.T).toarray(), np.float32)
            weights[shared] = self._parts(weights[shared], component[shared], seen)
        return Filters(weights, np.zeros(n_cells, np.int64), self.squares)

    def _parts(self, weights: Float32, component: NDArray[np.int64], seen: Float32) -> Float32:
        """Restrict filters to their cells' surroundings; each gives 1 for its footprint and 0 for even light.

        ``seen`` (n, n_squares) are the footprints in the squares: where another cell of the component is brighter, the
        filter is that one's.
        """
        highest = np.zeros((component.max() + 1, seen.shape[1]), np.float32)
        np.maximum.at(highest, component, seen)
        cross = ndimage.generate_binary_structure(2, 1)[None]
        own = ndimage.binary_dilation((seen > 0).reshape(-1, *self.shape), cross, iterations=self.reach)
        counted = np.asarray(self.squares.sum(axis=1)).ravel() > 0
        near = own.reshape(seen.shape) & (seen >= highest[component]) & counted
        even = np.asarray(self.squares.sum(axis=1), np.float32).ravel() * near
        part = weights * near
        part -= ((part * even).sum(axis=1) / np.maximum((even**2).sum(axis=1), 1e-12))[:, None] * even
        gain = (part * seen).sum(axis=1, keepdims=True)
        return np.asarray(np.divide(part, gain, out=np.zeros_like(part), where=gain > 0), np.float32)
