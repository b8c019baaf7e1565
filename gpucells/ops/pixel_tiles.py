"""The covered pixels of an image in tiles that meet few components, for solvers that sum up over pixels on a GPU.

A warp walks through a tile with everything that the tile's pixels add to in shared memory. What it may add to are the
footprints and pairs of footprints that meet in the tile, each with a local number, and, where there is a field, the
four nodes around it: a tile lies between two rows and two columns of nodes. Each tile then owns its rows of a table of
partial sums, and each sum of the whole image is a list of such rows: no sum has two writers, so results do not depend
on who comes first.

Within a row of a tile, neighbouring pixels are of no use, but pixels under the same footprints are: they make a run,
whose sums stay in registers. Where there is no field the image's rows mean nothing either, and a tile is what one
footprint dominates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gpucells.ops.overlap_graph import GRID_SLOTS, OverlapGraph

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

SIDE = 24  # px: pieces between two nodes are no longer; a node of background is about as far from the next
MOST_PIXELS = 512  # a tile, so that there are enough tiles for all warps of a GPU
MOST_ROWS = 96  # of 32 float32 of shared memory for a tile: 12 KiB, so that four warps are within 48 KiB
CROWDED_ROWS = 4096  # of a tile whose first pixel alone needs more than that: its sums are in global memory
RUN_FACTS = 5  # of a run: first pixel, first weight, number of footprints, first place, whether the tile's row ends
NODE_ROWS = 14  # partial sums of four nodes: gradients, curvatures of the left two, of the right two, left with right
# Of the grid's slots of a gap and of the gap on its right, in the order of the curvatures.
_GAP_SLOTS = np.array([0, 1, 2, GRID_SLOTS, GRID_SLOTS + 1, GRID_SLOTS + 2, 3, 4, 5, 6])


@dataclass(frozen=True)
class PixelTiles:
    """The covered pixels, tile by tile and run by run.

    Parameters
    ----------
    order : numpy.ndarray
        ``(n_covered,)`` int64, the place of each pixel among the covered ones of the graph.
    weights : numpy.ndarray
        ``(n_entries,)`` float32, the graph's weights in this order.
    runs : numpy.ndarray
        ``(n_runs + 1, RUN_FACTS)`` int32; the last one says where the pixels end.
    share : numpy.ndarray
        ``(n_runs,)`` float32, share of the lower nodes in the run's row of the image.
    places : numpy.ndarray
        int32; for each run the local numbers of its footprints, then those of their pairs ``(i < j)``.
    first_run, first_cell, first_row : numpy.ndarray
        ``(n_tiles + 1,)`` int32, where a tile's runs, footprints and partial sums begin. Partial sums: of the nodes if
        there are any, gradients of the footprints, their own curvatures, with the four nodes, of the pairs.
    cells : numpy.ndarray
        int32, a tile's footprints by local number.
    node : numpy.ndarray
        ``(n_tiles,)`` int32, component of the node above and left; -1 where there is no field.
    crowded : numpy.ndarray
        ``(n_tiles,)`` bool: more sums than fit into shared memory.
    sum_start, sum_row : numpy.ndarray
        For each component's gradient, then each slot's curvature, the partial sums that it is the sum of.
    """

    order: Int64
    weights: Float32
    runs: Int32
    share: Float32
    places: Int32
    first_run: Int32
    first_cell: Int32
    first_row: Int32
    cells: Int32
    node: Int32
    crowded: NDArray[np.bool_]
    sum_start: Int32
    sum_row: Int32

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return len(self.node)

    @property
    def n_partial(self) -> int:
        """Number of partial sums."""
        return int(self.first_row[-1])

    @classmethod
    def of(cls, graph: OverlapGraph) -> PixelTiles:
        """Return the tiles of a graph, which keeps them: the final traces ask for them block by block."""
        kept: dict[str, Any] = vars(graph)  # a frozen dataclass has one too
        if "_pixel_tiles" not in kept:
            kept["_pixel_tiles"] = _tiles_of(graph)
        found: PixelTiles = kept["_pixel_tiles"]
        return found


def _tiles_of(graph: OverlapGraph) -> PixelTiles:
    hats, n_components = graph.field, graph.n_components
    near = 4 if hats.n_nodes else 0
    row = np.repeat(np.arange(len(graph.row_start) - 1), np.diff(graph.row_start))
    pattern, main = _patterns(graph.start, graph.cells, graph.weights)
    row_piece, column_piece = _pieces(hats.row_node), _pieces(hats.column_node)
    piece = row_piece[row] * (column_piece[-1:].sum() + 1) + column_piece[graph.column] if near else main
    order = _sorted(piece, row, pattern)
    pairs = graph.pair_start, graph.pair_slot
    tile, crowded = _cut(order, piece, *pairs, graph.n_slots, n_components, near)
    runs, places, first_run, cells, first_cell, near_slots, met, first_met = _lay_out(
        order, tile, len(crowded), row, graph.start, graph.cells, *pairs, graph.n_slots, n_components,
        graph.near, graph.near_start, graph.near_slot,
    )  # fmt: skip
    first_run = np.append(first_run, len(runs) - 1)
    at = order[runs[first_run[:-1], 0]]  # a pixel of each tile
    gap = hats.row_node[row[at]].astype(np.int64) if near else at, hats.column_node[graph.column[at]] if near else at
    slots = graph.grid_slot.reshape(len(graph.grid_slot), -1)
    node = graph.n_components - hats.n_nodes + gap[0] * hats.n_columns + gap[1]
    across = node[:, None] + np.array([0, 1, hats.n_columns, hats.n_columns + 1])
    around = np.zeros((len(at), 0), np.int64)
    if near:
        curvature = slots[gap[0][:, None], gap[1][:, None] * GRID_SLOTS + _GAP_SLOTS]
        around = np.concatenate([across, n_components + curvature], axis=1)
    first_row, target = _targets(around, cells, first_cell, near_slots, met, first_met, n_components)
    n_sums = n_components + graph.n_slots
    return PixelTiles(
        order, _reordered(order, graph.start, graph.weights), runs,
        (hats.row_share[row[order[runs[:-1, 0]]]] if near else np.zeros(len(runs) - 1)).astype(np.float32),
        places, first_run.astype(np.int32), first_cell.astype(np.int32), first_row.astype(np.int32), cells,
        (node if near else np.full(len(at), -1)).astype(np.int32), crowded,
        np.concatenate([[0], np.cumsum(np.bincount(target, minlength=n_sums))]).astype(np.int32),
        np.argsort(target, kind="stable").astype(np.int32),
    )  # fmt: skip


def _pieces(node: Int32) -> Int64:
    """Return each position's piece of an axis, by number: gaps between nodes, cut evenly where over ``SIDE``."""
    first, last = np.searchsorted(node, node), np.searchsorted(node, node, "right")
    n_pieces = -(-(last - first) // SIDE)
    within = (np.arange(len(node)) - first) // -(-(last - first) // n_pieces)
    new = (np.diff(node, prepend=node[:1]) != 0) | (np.diff(within, prepend=0) != 0)
    return np.cumsum(new)


@numba.njit(cache=True)
def _patterns(start, cells, weights):  # type: ignore[no-untyped-def]
    """For each pixel a number that tells sets of footprints apart, nearly always, and its strongest footprint."""
    n_pixels = len(start) - 1
    pattern, main = np.zeros(n_pixels, np.uint64), np.zeros(n_pixels, np.int64)
    for p in range(n_pixels):
        largest = np.float32(-1)
        for e in range(start[p], start[p + 1]):
            # Multiplicative hashing with 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4).
            pattern[p] = (pattern[p] + np.uint64(cells[e] + 1)) * np.uint64(0x9E3779B97F4A7C15)
            if weights[e] > largest:
                largest, main[p] = weights[e], cells[e]
    return pattern, main


@numba.njit(cache=True)
def _sorted(piece, row, pattern):  # type: ignore[no-untyped-def]
    """Pixels by piece, row and pattern, in that order; their rows ascend already."""
    at = np.zeros(piece.max() + 2 if len(piece) else 1, np.int64)
    for p in piece:
        at[p + 1] += 1
    at = np.cumsum(at)
    order = np.empty(len(piece), np.int64)
    for p in range(len(piece)):
        order[at[piece[p]]] = p
        at[piece[p]] += 1
    first = 0
    for i in range(1, len(order) + 1):
        if i < len(order) and piece[order[i]] == piece[order[first]] and row[order[i]] == row[order[first]]:
            continue
        some = order[first:i]
        if len(some) > SIDE:
            some[:] = some[np.argsort(pattern[some], kind="mergesort")]
        else:
            for j in range(1, len(some)):
                p, k = some[j], j
                while k > 0 and pattern[some[k - 1]] > pattern[p]:
                    some[k] = some[k - 1]
                    k -= 1
                some[k] = p
        first = i
    return order


@numba.njit(cache=True)
def _reordered(order, start, weights):  # type: ignore[no-untyped-def]
    out = np.empty(len(weights), np.float32)
    at = 0
    for p in order:
        for e in range(start[p], start[p + 1]):
            out[at] = weights[e]
            at += 1
    return out


@numba.njit(cache=True)
def _cut(order, piece, pair_start, pair_slot, n_slots, n_components, near):  # type: ignore[no-untyped-def]
    """Cut pieces, pixel by pixel, where a tile would need too many rows of shared memory or get too many pixels."""
    seen = np.full(n_slots, -1, np.int32)
    tile, crowded = np.empty(len(order), np.int32), np.zeros(len(order), np.bool_)
    n_tiles, rows, size, limit = 0, 0, 0, 0
    for i in range(len(order)):
        p = order[i]
        alone, new = 0, 0
        for k in range(pair_start[p], pair_start[p + 1]):
            cost = 3 + near if pair_slot[k] < n_components else 1  # a footprint's trace, gradient, curvature
            alone += cost
            new += cost if seen[pair_slot[k]] != n_tiles - 1 else 0
        if i == 0 or piece[p] != piece[order[i - 1]] or size == MOST_PIXELS or rows + new > limit:
            crowded[n_tiles] = alone > MOST_ROWS
            limit = max(alone, CROWDED_ROWS) if crowded[n_tiles] else MOST_ROWS
            n_tiles, rows, size, new = n_tiles + 1, 0, 0, alone
        for k in range(pair_start[p], pair_start[p + 1]):
            seen[pair_slot[k]] = n_tiles - 1
        tile[i] = n_tiles - 1
        rows += new
        size += 1
    return tile, crowded[:n_tiles]


@numba.njit(cache=True)
def _lay_out(  # type: ignore[no-untyped-def]
    order, tile, n_tiles, row, start, cells, pair_start, pair_slot, n_slots, n_components, near, near_start, near_slot
):  # fmt: skip
    """Give local numbers to what meets in each tile, and find the runs of pixels under the same footprints."""
    local, seen = np.empty(n_slots, np.int32), np.full(n_slots, -1, np.int32)
    runs = np.zeros((len(order) + 1, RUN_FACTS), np.int32)
    places = np.empty(pair_start[-1], np.int32)
    first_run, first_cell, first_met = np.zeros((3, n_tiles + 1), np.int64)
    met_cells, met = np.empty(len(cells), np.int32), np.empty(len(pair_slot), np.int32)
    near_slots = np.empty((len(cells), 4), np.int32)
    n_runs, n_places, n_cells, n_met, n_weights, last = 0, 0, 0, 0, 0, -1
    for i in range(len(order)):
        p, t = order[i], tile[i]
        n = start[p + 1] - start[p]
        if i == 0 or tile[i - 1] != t:
            first_run[t], first_cell[t], first_met[t] = n_runs, n_cells, n_met
            last = -1
        for e in range(start[p], start[p + 1]):
            if seen[cells[e]] != t:
                seen[cells[e]], local[cells[e]] = t, n_cells - first_cell[t]
                met_cells[n_cells] = cells[e]
                if len(near_slot):
                    k = near_start[row[p]] + near[e]
                    near_slots[n_cells, 0], near_slots[n_cells, 1] = near_slot[k, 0], near_slot[k + 1, 0]
                    near_slots[n_cells, 2], near_slots[n_cells, 3] = near_slot[k, 1], near_slot[k + 1, 1]
                n_cells += 1
        for k in range(pair_start[p], pair_start[p + 1]):
            s = pair_slot[k]
            if s >= n_components and seen[s] != t:
                seen[s], local[s] = t, n_met - first_met[t]
                met[n_met] = s
                n_met += 1
        same = last >= 0 and row[last] == row[p] and start[last + 1] - start[last] == n
        if same:
            for j in range(n):
                same = same and cells[start[last] + j] == cells[start[p] + j]
        if not same:
            if last >= 0:
                runs[n_runs - 1, 4] = row[last] != row[p]
            elif n_runs:
                runs[n_runs - 1, 4] = 1
            runs[n_runs, 0], runs[n_runs, 1], runs[n_runs, 2], runs[n_runs, 3] = i, n_weights, n, n_places
            for e in range(start[p], start[p + 1]):
                places[n_places] = local[cells[e]]
                n_places += 1
            for k in range(pair_start[p], pair_start[p + 1]):
                if pair_slot[k] >= n_components:
                    places[n_places] = local[pair_slot[k]]
                    n_places += 1
            n_runs += 1
        last = p
        n_weights += n
    if n_runs:
        runs[n_runs - 1, 4] = 1
    runs[n_runs, 0] = len(order)
    first_cell[n_tiles], first_met[n_tiles] = n_cells, n_met
    return (
        runs[: n_runs + 1].copy(), places[:n_places].copy(), first_run[:n_tiles], met_cells[:n_cells].copy(),
        first_cell, near_slots[:n_cells], met[:n_met], first_met,
    )  # fmt: skip


@numba.njit(cache=True)
def _targets(around, cells, first_cell, near_slots, met, first_met, n_components):  # type: ignore[no-untyped-def]
    """For each partial sum, the sum it is a part of: a component's gradient, or after those a slot's curvature."""
    n_tiles, n_around = around.shape
    near = 4 if n_around else 0
    first_row = np.zeros(n_tiles + 1, np.int64)
    target = np.empty(n_tiles * n_around + len(cells) * (2 + near) + len(met), np.int64)
    at = 0
    for t in range(n_tiles):
        for k in range(n_around):
            target[at + k] = around[t, k]
        at += n_around
        n = first_cell[t + 1] - first_cell[t]
        for j in range(n):
            cell = cells[first_cell[t] + j]
            target[at + j] = cell
            target[at + n + j] = n_components + cell
            for k in range(near):
                target[at + 2 * n + near * j + k] = n_components + near_slots[first_cell[t] + j, k]
        at += n * (2 + near)
        for k in range(first_met[t], first_met[t + 1]):
            target[at] = n_components + met[k]
            at += 1
        first_row[t + 1] = at
    return first_row, target
