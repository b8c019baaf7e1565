"""Which components share pixels, laid out for solvers that go over the pixels of an image row by row.

Components are footprints, a few hundred pixels each, and, where there is a smooth field of background, the nodes of its
grid (:mod:`gpucells.ops.bilinear`), numbered after the footprints. Every two components that share a pixel have a slot,
in which a solver sums their shared curvature. Four hats cover a pixel, which would be ten slots there and four more for
every footprint; along a row only two nodes count, which is three and two, and at the end of a row its sums go to the
slots of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    def with_gain(self, gain: Float32) -> OverlapGraph | None:
        """Return the graph of the same footprints and field under another gain, which has the same pixels and slots.

        Parameters
        ----------
        gain : numpy.ndarray
            ``(n_pixels,)`` float32; 0 at the same pixels as before, but for those that footprints cover.

        Returns
        -------
        OverlapGraph or None
            None where it covers other pixels: build it anew.
        """
        if self.field.n_nodes == 0:
            return self
        mine, alone = gain[self.pixels], np.diff(self.start) == 0
        if not mine[alone].all() or np.count_nonzero(gain) != np.count_nonzero(mine):
            return None
        energy = self.energy.copy()
        energy[len(energy) - self.field.n_nodes :] = _energy_of_hats(gain, self.field)
        changed = replace(self, gain=mine.astype(np.float32), energy=energy)
        vars(changed).update({name: kept for name, kept in vars(self).items() if name not in vars(changed)})
        return changed

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
        images = footprints if footprints.has_sorted_indices else footprints.sorted_indices()
        counts = np.bincount(images.indices, minlength=n_pixels)
        pixels = np.flatnonzero((counts > 0) | (factor != 0)).astype(np.int32)
        place = np.empty(n_pixels, np.int32)
        place[pixels] = np.arange(len(pixels), dtype=np.int32)
        counts = counts[pixels]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        by_cell = images.indptr.astype(np.int64), images.indices.astype(np.int32)
        cells, weights, entry = _by_pixel(*by_cell, images.data.astype(np.float32), place, start)
        row, column = np.divmod(pixels, np.int32(hats.shape[1]))
        n_components = n_cells + hats.n_nodes
        nodes = row, hats.column_node[column], hats.row_node, hats.n_columns
        pair_start = np.concatenate([[0], np.cumsum(counts * (counts + 1) // 2)])
        others, first_other, n_near = _met(*by_cell, place, start, cells, entry, *nodes, pair_start[-1])
        near_start = np.concatenate([[0], np.cumsum(n_near)])
        pair_slot, near, near_slot = _slots_of_cells(
            *by_cell, place, start, cells, entry, *nodes, pair_start, others, first_other, near_start, n_components
        )
        grid = _grid_pairs(hats, n_cells)
        of_cells = np.repeat(np.arange(n_cells), np.diff(first_other)) * n_components + others
        keys = np.concatenate([of_cells, np.unique(_keys(grid, n_components))])
        ends = np.concatenate(np.divmod(keys, n_components))
        others = np.concatenate(np.divmod(keys, n_components)[::-1])
        by_component = np.argsort(ends, kind="stable")
        return cls(
            pixels, start, cells, weights, pair_start, pair_slot,
            np.searchsorted(ends[by_component], np.arange(n_components + 1)).astype(np.int32),
            others[by_component].astype(np.int32),
            (np.tile(np.arange(len(keys)), 2)[by_component] + n_components).astype(np.int32),
            n_components + len(keys),
            np.concatenate([_energy(images), _energy_of_hats(factor, hats)]).astype(np.float32),
            hats,
            np.searchsorted(row, np.arange(hats.shape[0] + 1)),
            column.astype(np.int32),
            factor[pixels],
            near_start,
            near_slot,
            near,
            _slots(grid, keys, n_components),
        )  # fmt: skip


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


def _energy(footprints: sparse.csr_array) -> NDArray[np.float64]:
    of_cell = np.repeat(np.arange(footprints.shape[0]), np.diff(footprints.indptr))
    square = footprints.data.astype(np.float64) ** 2
    return np.asarray(np.bincount(of_cell, square, minlength=footprints.shape[0]), np.float64)


def _energy_of_hats(factor: Float32, hats: Bilinear) -> NDArray[np.float64]:
    """Squared norms of the hats times a factor: products of one factor along rows and one along columns."""
    if hats.n_nodes == 0:
        return np.zeros(0)
    along_y, along_x = hats.axes()
    square = factor.reshape(hats.shape).astype(np.float64) ** 2
    return np.asarray((along_x.power(2) @ (along_y.power(2) @ square).T).T).ravel()


@numba.njit(cache=True, error_model="numpy")
def _by_pixel(indptr, indices, data, place, start):  # type: ignore[no-untyped-def]
    """Entries pixel by pixel, and for each entry of the footprints which of those it is."""
    cells, weights = np.empty(len(indices), np.int32), np.empty(len(indices), np.float32)
    entry, following = np.empty(len(indices), np.int32), start.copy()
    for c in range(len(indptr) - 1):
        for k in range(indptr[c], indptr[c + 1]):
            e = following[place[indices[k]]]
            following[place[indices[k]]] += 1
            cells[e], weights[e], entry[k] = c, data[k], e
    return cells, weights, entry


@numba.njit(cache=True, error_model="numpy")
def _met(indptr, indices, place, start, cells, entry, row_of, left_of, row_node, n_columns, n_pairs):  # type: ignore[no-untyped-def]
    """For each footprint the later components that it meets, ascending; and the pairs with columns of nodes a row has.

    A footprint's entries go along the rows of the image: a pair is new where the row or the node on the left is.
    """
    n_cells = len(indptr) - 1
    seen = np.full(n_cells + (row_node.max() + 2) * n_columns, -1, np.int32)
    others = np.empty(n_pairs + 4 * len(indices) * (n_columns > 0), np.int32)
    first, n_near = np.zeros(n_cells + 1, np.int64), np.zeros(len(row_node), np.int64)
    n = 0
    for c in range(n_cells):
        last_row, last_left = -1, -2
        for k in range(indptr[c], indptr[c + 1]):
            p = place[indices[k]]
            for e in range(entry[k] + 1, start[p + 1]):
                if seen[cells[e]] != c:
                    seen[cells[e]], others[n] = c, cells[e]
                    n += 1
            if n_columns == 0:
                continue
            row, left = row_of[p], left_of[p]
            if row == last_row and left == last_left:
                continue
            n_near[row] += 1 if row == last_row and left == last_left + 1 else 2
            last_row, last_left = row, left
            for i in range(2):
                for j in range(2):
                    node = n_cells + (row_node[row] + i) * n_columns + left + j
                    if seen[node] != c:
                        seen[node], others[n] = c, node
                        n += 1
        others[first[c] : n].sort()
        first[c + 1] = n
    return others[:n].copy(), first, n_near


@numba.njit(cache=True, error_model="numpy")
def _slots_of_cells(  # type: ignore[no-untyped-def]
    indptr, indices, place, start, cells, entry, row_of, left_of, row_node, n_columns, pair_start, others, first_other,
    near_start, n_components
):  # fmt: skip
    """Slots of each pixel's pairs, and of each row's pairs of a footprint and a column of nodes."""
    n_cells = len(indptr) - 1
    slot = np.empty(n_components, np.int32)  # of the footprint at hand with each of its others
    pair_slot, near = np.empty(pair_start[-1], np.int32), np.zeros(len(indices), np.int32)
    near_slot, n_near = np.empty((near_start[-1], 2), np.int32), np.zeros(len(row_node), np.int64)
    for c in range(n_cells):
        for q in range(first_other[c], first_other[c + 1]):
            slot[others[q]] = n_components + q
        last_row, last_left = -1, -2
        for k in range(indptr[c], indptr[c + 1]):
            p = place[indices[k]]
            i, n = entry[k] - start[p], start[p + 1] - start[p]
            at = pair_start[p] + i * n - i * (i - 1) // 2
            pair_slot[at] = c
            for e in range(entry[k] + 1, start[p + 1]):
                at += 1
                pair_slot[at] = slot[cells[e]]
            if n_columns == 0:
                continue
            row, left = row_of[p], left_of[p]
            if row != last_row or left != last_left:
                above = n_cells + row_node[row] * n_columns + left
                for j in range(1 if row == last_row and left == last_left + 1 else 0, 2):
                    for i in range(2):
                        near_slot[near_start[row] + n_near[row], i] = slot[above + i * n_columns + j]
                    n_near[row] += 1
                last_row, last_left = row, left
            near[entry[k]] = n_near[row] - 2
    return pair_slot, near, near_slot
