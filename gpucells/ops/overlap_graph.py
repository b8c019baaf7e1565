"""Which components share pixels, laid out for solvers that go over the pixels of an image row by row.

Components are footprints, a few hundred pixels each, and, where there is a smooth field of background, the nodes of its
grid (:mod:`gpucells.ops.bilinear`), numbered after the footprints. Every two components that share a pixel have a slot,
in which a solver sums their shared curvature. Four hats cover a pixel, which would be ten slots there and four more for
every footprint; along a row only two nodes count, which is three and two, and at the end of a row its sums go to the
slots of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.ops.bilinear import Bilinear

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

# Slots of the four nodes around a row's gap between two columns of nodes, in this order: the three of the left column
# (above, across, below), then left to right (above-above, above-below, below-above, below-below).
GRID_SLOTS = 7


@dataclass(frozen=True)
class OverlapGraph:
    """The components pixel by pixel, and which of them share pixels.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(n_covered,)`` int32, the pixels that any component covers, ascending.
    start : numpy.ndarray
        ``(n_covered + 1,)`` int32, where each pixel's footprints begin.
    cells, weights : numpy.ndarray
        ``(n_entries,)`` the footprint of each entry, and its value there.
    pair_start : numpy.ndarray
        ``(n_covered + 1,)`` int64, where each pixel's pairs begin.
    pair_slot : numpy.ndarray
        int32, the slot of each pair of entries ``(i <= j)`` of each pixel, row by row.
    edge_start, edge_cell, edge_slot : numpy.ndarray
        For each component, its neighbours and the slot that holds their shared curvature; slots
        ``0 .. n_components - 1`` are the components' own.
    n_slots : int
        Number of slots.
    energy : numpy.ndarray
        ``(n_components,)`` float32, squared norm over the covered pixels.
    field : Bilinear
        Hats of the field; none where there is no field, and then all pixels count as one row.
    row_start : numpy.ndarray
        ``(n_image_rows + 1,)`` int64, where each row of the image begins among the covered pixels.
    column, gain : numpy.ndarray
        ``(n_covered,)`` int32 column of each pixel, float32 factor on its hats.
    near_start : numpy.ndarray
        ``(n_image_rows + 1,)`` int64, where each row's pairs of a footprint and a column of nodes begin.
    near_slot : numpy.ndarray
        ``(n_near, 2)`` int32, slots of the footprint with the nodes above and below the row.
    near : numpy.ndarray
        ``(n_entries,)`` int32, position within its row of the entry's pair with the column of nodes on the left; that
        with the right one follows.
    grid_slot : numpy.ndarray
        ``(n_rows of nodes, n_columns, GRID_SLOTS)`` int32.
    """

    pixels: Int32
    start: Int32
    cells: Int32
    weights: Float32
    pair_start: Int64
    pair_slot: Int32
    edge_start: Int32
    edge_cell: Int32
    edge_slot: Int32
    n_slots: int
    energy: Float32
    field: Bilinear
    row_start: Int64
    column: Int32
    gain: Float32
    near_start: Int64
    near_slot: Int32
    near: Int32
    grid_slot: Int32

    @property
    def n_components(self) -> int:
        """Footprints and nodes."""
        return len(self.energy)

    @classmethod
    def of(
        cls, footprints: sparse.csr_array, field: Bilinear | None = None, gain: Float32 | None = None
    ) -> OverlapGraph:
        """Build the graph.

        Parameters
        ----------
        footprints : scipy.sparse.csr_array
            ``(n_cells, n_pixels)`` float32.
        field : Bilinear, optional
            Hats on the same image.
        gain : numpy.ndarray, optional
            ``(n_pixels,)`` float32 factor on the hats; pixels where it is 0 show no field. 1 where not given.
        """
        n_cells, n_pixels = footprints.shape
        has_field = field is not None and field.n_nodes > 0
        hats = field if field is not None and has_field else Bilinear.none(1, n_pixels)
        factor = np.zeros(n_pixels, np.float32)
        if has_field:
            factor[:] = 1 if gain is None else gain
        by_pixel, pixels = _covered(footprints, factor)
        counts = np.diff(by_pixel.indptr)[pixels].astype(np.int64)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        cells = by_pixel.indices.astype(np.int32)
        row, column = np.divmod(pixels, np.int32(hats.shape[1]))
        n_components = n_cells + hats.n_nodes
        near, near_start, near_nodes = _near(by_pixel, hats)
        grid = _grid_pairs(hats, n_cells)
        ones = np.ones(by_pixel.nnz, np.float32)
        pattern = sparse.csr_array((ones, by_pixel.indices, by_pixel.indptr), shape=(n_pixels, n_cells))
        shared = sparse.coo_array(sparse.triu(pattern.T @ pattern, k=1))
        met = shared.coords[0].astype(np.int64) * n_components + shared.coords[1]
        keys = np.unique(np.concatenate([met, _keys(near_nodes, n_components), _keys(grid, n_components)]))
        pair_start = np.concatenate([[0], np.cumsum(counts * (counts + 1) // 2)])
        ends = np.concatenate(np.divmod(keys, n_components))
        others = np.concatenate(np.divmod(keys, n_components)[::-1])
        by_component = np.argsort(ends, kind="stable")
        return cls(
            pixels, start, cells, by_pixel.data.astype(np.float32), pair_start,
            _pair_slots(start, cells, pair_start, keys, n_components),
            np.searchsorted(ends[by_component], np.arange(n_components + 1)).astype(np.int32),
            others[by_component].astype(np.int32),
            (np.tile(np.arange(len(keys)), 2)[by_component] + n_components).astype(np.int32),
            n_components + len(keys),
            _energy(by_pixel, pixels, factor, hats),
            hats,
            np.searchsorted(row, np.arange(hats.shape[0] + 1)),
            column.astype(np.int32),
            factor[pixels],
            near_start,
            _slots(near_nodes, keys, n_components),
            near,
            _slots(grid, keys, n_components),
        )  # fmt: skip


def _covered(footprints: sparse.csr_array, factor: Float32) -> tuple[sparse.csc_array, Int32]:
    """Footprints by pixel, and the pixels that count."""
    covered = np.zeros(footprints.shape[1], bool)
    covered[footprints.indices] = True
    covered |= factor != 0
    by_pixel = sparse.csc_array(footprints)
    by_pixel.sort_indices()
    return by_pixel, np.flatnonzero(covered).astype(np.int32)


def _near(by_pixel: sparse.csc_array, hats: Bilinear) -> tuple[Int32, Int64, Int64]:
    """For each entry its pair with the nodes on the left; where each row's pairs begin; the components of each."""
    n_rows, n_cells = hats.shape[0], by_pixel.shape[0]
    if hats.n_nodes == 0 or by_pixel.nnz == 0:
        return np.zeros(by_pixel.nnz, np.int32), np.zeros(n_rows + 1, np.int64), np.zeros((0, 2, 2), np.int64)
    # Cell by cell, entries of the same pair follow each other: sets are made of one in ten.
    entry = np.arange(by_pixel.nnz, dtype=np.int32)
    by_cell = sparse.csr_array(sparse.csc_array((entry, by_pixel.indices, by_pixel.indptr), shape=by_pixel.shape))
    row, column = np.divmod(by_cell.indices, np.int32(hats.shape[1]))
    of_cell = np.repeat(np.arange(n_cells), np.diff(by_cell.indptr))
    every = (row.astype(np.int64) * n_cells + of_cell) * hats.n_columns + hats.column_node[column]
    new = np.flatnonzero(np.diff(every, prepend=-1))
    left = every[new]
    keys = np.unique(np.concatenate([left, left + 1]))
    rest, node = np.divmod(keys, hats.n_columns)
    at, cell = np.divmod(rest, n_cells)
    start = np.searchsorted(at, np.arange(n_rows + 1))
    above = n_cells + hats.row_node[at].astype(np.int64) * hats.n_columns + node
    nodes = np.stack([above, above + hats.n_columns], axis=1)
    pairs = np.stack([np.broadcast_to(cell[:, None], nodes.shape), nodes], axis=2)
    near = np.empty(by_pixel.nnz, np.int32)
    near[by_cell.data] = np.repeat(np.searchsorted(keys, left) - start[row[new]], np.diff(new, append=len(every)))
    return near, start, pairs


def _grid_pairs(hats: Bilinear, n_cells: int) -> Int64:
    """Return ``(n_rows, n_columns, GRID_SLOTS, 2)`` components that meet between rows ``i`` and ``i + 1`` of nodes."""
    if hats.n_nodes == 0:
        return np.zeros((1, 1, GRID_SLOTS, 2), np.int64)
    i, j = np.mgrid[: hats.n_rows, : hats.n_columns]
    above, across = np.array([0, 1]), np.array([0, 1])
    node = n_cells + np.minimum(i[..., None, None] + above[:, None], hats.n_rows - 1) * hats.n_columns
    node = node + np.minimum(j[..., None, None] + across, hats.n_columns - 1)  # (..., below or not, right or not)
    pairs = [
        (node[..., 0, 0], node[..., 0, 0]), (node[..., 0, 0], node[..., 1, 0]), (node[..., 1, 0], node[..., 1, 0]),
        (node[..., 0, 0], node[..., 0, 1]), (node[..., 0, 0], node[..., 1, 1]), (node[..., 0, 1], node[..., 1, 0]),
        (node[..., 1, 0], node[..., 1, 1]),
    ]  # fmt: skip
    return np.stack([np.stack(pair, axis=-1) for pair in pairs], axis=2).astype(np.int64)


def _keys(pairs: Int64, n_components: int) -> Int64:
    """One number for each pair of different components."""
    flat = pairs.reshape(-1, 2)
    flat = flat[flat[:, 0] != flat[:, 1]]
    keys: Int64 = flat.min(axis=1) * n_components + flat.max(axis=1)
    return keys


def _slots(pairs: Int64, keys: Int64, n_components: int) -> Int32:
    """Slot of each pair: a component's own, or that of the two."""
    first, second = pairs.min(axis=-1), pairs.max(axis=-1)
    shared = n_components + np.searchsorted(keys, first * n_components + second)
    slots: Int32 = np.where(first == second, first, shared).astype(np.int32)
    return slots


def _energy(by_pixel: sparse.csc_array, pixels: Int32, factor: Float32, hats: Bilinear) -> Float32:
    cells = np.bincount(by_pixel.indices, by_pixel.data.astype(np.float64) ** 2, minlength=by_pixel.shape[0])
    if hats.n_nodes == 0:
        return cells.astype(np.float32)
    square = np.zeros(by_pixel.shape[1])
    square[pixels] = factor[pixels].astype(np.float64) ** 2
    images = hats.images()
    return np.concatenate([cells, images.multiply(images) @ square]).astype(np.float32)


@numba.njit(cache=True)
def _pair_slots(start, cells, pair_start, keys, n_components):  # type: ignore[no-untyped-def]
    slots = np.empty(pair_start[-1], np.int32)
    for p in range(len(start) - 1):
        at = pair_start[p]
        for i in range(start[p], start[p + 1]):
            for j in range(i, start[p + 1]):
                if i == j:
                    slots[at] = cells[i]
                else:
                    slots[at] = n_components + np.searchsorted(keys, np.int64(cells[i]) * n_components + cells[j])
                at += 1
    return slots
