"""Robust regression of every frame on the footprints: the traces, footprints held fixed.

For each frame independently, with ``r = y - sum_k x_k a_k`` over the pixels,

    minimise  sum_p rho(r_p; kappa_p) + sum_k penalty_k x_k     subject to  x_k >= lower_k

``rho`` is the one-sided Huber loss of Inan et al. 2017: ``r^2 / 2`` up to ``kappa``, ``kappa (r - kappa / 2)`` above,
so that light from what the model lacks, which is always positive, pulls only linearly.

The solver is a projected semismooth Newton method: the loss is piecewise quadratic, so each step solves the bounded
quadratic problem of the pixels that are below ``kappa`` now, by coordinate descent over the graph of overlapping cells.
Three or four steps do the work of about a hundred first-order ones. The whole graph is solved together, so that no
cell is cut.

Far from the minimum nearly every pixel of a cell may be above ``kappa``: the loss is flat there and Newton's step
means nothing. Hence the first step from a given start, and the one after a step that raised a frame's loss (which is
taken back), gives a pixel above ``kappa`` the weight ``kappa / r``: that quadratic touches the loss and lies above it
everywhere else (iteratively reweighted least squares), so it cannot raise it.

The CPU body reads every sample of the movie once a step; a block of frames is the vector axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

BLOCK = 128  # frames a block: long enough to fill the vector units, short enough that its arrays stay in the L2 cache
SWEEPS = 40  # coordinate descent sweeps at most; converges at the square of the largest footprint cosine
SUMMED = 64  # pixels whose loss is summed in single precision before it is added up in double
WORSE = 1e-5  # relative rise of a frame's loss that counts as one, above rounding
FAR = np.float32(1e30)  # stands for infinity, which fast arithmetic may not rely on
CURVATURE_FLOOR = 0.02  # share of ||a||^2 kept where nearly every pixel of a cell is above kappa


@dataclass(frozen=True)
class OverlapGraph:
    """The footprints pixel by pixel, and which cells share pixels.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(n_covered,)`` int32, the pixels that any footprint covers, ascending.
    start : numpy.ndarray
        ``(n_covered + 1,)`` int32, where each pixel's entries begin.
    cells, weights : numpy.ndarray
        ``(n_entries,)`` the cell of each entry, and its footprint there.
    pair_start : numpy.ndarray
        ``(n_covered + 1,)`` int64, where each pixel's pairs begin.
    pair_slot : numpy.ndarray
        int32, the slot of each pair of entries ``(i <= j)`` of each pixel, row by row.
    edge_start, edge_cell, edge_slot : numpy.ndarray
        For each cell, its neighbours and the slot that holds their shared curvature; slots ``0 .. n_cells - 1`` are
        the cells' own.
    n_slots : int
        Number of slots.
    """

    pixels: Int32
    start: Int32
    cells: Int32
    weights: Float32
    pair_start: NDArray[np.int64]
    pair_slot: Int32
    edge_start: Int32
    edge_cell: Int32
    edge_slot: Int32
    n_slots: int

    @classmethod
    def of(cls, footprints: sparse.csr_array) -> OverlapGraph:
        """Build the graph of ``(n_cells, n_pixels)`` footprints."""
        by_pixel = sparse.csc_array(footprints)
        by_pixel.sort_indices()
        counts = np.diff(by_pixel.indptr)
        pixels = np.flatnonzero(counts).astype(np.int32)
        start = np.concatenate([[0], np.cumsum(counts[pixels])]).astype(np.int32)
        pattern = sparse.csr_array(
            (np.ones(footprints.nnz, np.float32), footprints.indices, footprints.indptr), shape=footprints.shape
        )
        shared = sparse.coo_array(pattern @ pattern.T)
        first, second = shared.coords
        upper = first < second
        first, second = first[upper].astype(np.int64), second[upper].astype(np.int64)
        n_cells = footprints.shape[0]
        order = np.argsort(first * n_cells + second, kind="stable")
        keys = (first * n_cells + second)[order]
        per_pixel = counts[pixels].astype(np.int64)
        pair_start = np.concatenate([[0], np.cumsum(per_pixel * (per_pixel + 1) // 2)])
        cells = by_pixel.indices.astype(np.int32)
        slots = _pair_slots(start, cells, pair_start, keys, n_cells)
        ends = np.concatenate([first[order], second[order]])
        others = np.concatenate([second[order], first[order]])
        edge = np.tile(np.arange(len(keys)) + n_cells, 2)
        by_cell = np.argsort(ends, kind="stable")
        edge_start = np.searchsorted(ends[by_cell], np.arange(n_cells + 1)).astype(np.int32)
        return cls(
            pixels,
            start,
            cells,
            by_pixel.data.astype(np.float32),
            pair_start,
            slots,
            edge_start,
            others[by_cell].astype(np.int32),
            edge[by_cell].astype(np.int32),
            n_cells + len(keys),
        )


@numba.njit(cache=True)
def _pair_slots(start, cells, pair_start, keys, n_cells):  # type: ignore[no-untyped-def]
    slots = np.empty(pair_start[-1], np.int32)
    for p in range(len(start) - 1):
        at = pair_start[p]
        for i in range(start[p], start[p + 1]):
            for j in range(i, start[p + 1]):
                if i == j:
                    slots[at] = cells[i]
                else:
                    slots[at] = n_cells + np.searchsorted(keys, np.int64(cells[i]) * n_cells + cells[j])
                at += 1
    return slots


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _limits(i, p, t0, width, graph, kappa, kappa_scale, scaled, quadratic, limit):  # type: ignore[no-untyped-def]
    """Where the loss of one pixel turns linear in each frame of a block."""
    _, start, cells, weights, _, _ = graph
    limit[:] = FAR if quadratic else kappa[p]
    if not scaled or quadratic:
        return
    limit[:] = 0
    total = np.float32(1e-6)
    for e in range(start[i], start[i + 1]):
        w = weights[e]
        total += w
        scale = kappa_scale[cells[e], t0 : t0 + width]
        for f in range(width):
            limit[f] += w * scale[f]
    w = kappa[p] / total
    for f in range(BLOCK):
        limit[f] *= w


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _accumulate(  # type: ignore[no-untyped-def]
    movie, offset, t0, width, graph, kappa, kappa_scale, scaled, quadratic, safe, x, gradient, curvature, loss
):
    """One pass over the pixels of a block of frames: gradient, curvature, loss."""
    pixels, start, cells, weights, pair_start, pair_slot = graph
    gradient[:] = 0
    curvature[:] = 0
    loss[:] = 0
    part = np.zeros(BLOCK, np.float32)
    residual = np.zeros(BLOCK, np.float32)
    share = np.empty(BLOCK, np.float32)
    limit = np.empty(BLOCK, np.float32)
    for i in range(len(pixels)):
        p = pixels[i]
        for f in range(width):
            residual[f] = movie[p, t0 + f] - offset[p]
        for f in range(width, BLOCK):
            residual[f] = 0
        _limits(i, p, t0, width, graph, kappa, kappa_scale, scaled, quadratic, limit)
        for e in range(start[i], start[i + 1]):
            row = x[cells[e]]
            a = weights[e]
            for f in range(BLOCK):
                residual[f] -= a * row[f]
        for f in range(BLOCK):
            r = residual[f]
            c = min(r, limit[f])
            share[f] = np.float32(1) if r < limit[f] else safe[f] * limit[f] / max(r, np.float32(1e-20))
            part[f] += c * (r - np.float32(0.5) * c)
            residual[f] = c
        if i % SUMMED == SUMMED - 1:
            loss += part
            part[:] = 0
        at = pair_start[i]
        for e in range(start[i], start[i + 1]):
            a = weights[e]
            row = gradient[cells[e]]
            for f in range(BLOCK):
                row[f] += a * residual[f]
            for j in range(e, start[i + 1]):
                aa = a * weights[j]
                h = curvature[pair_slot[at]]
                for f in range(BLOCK):
                    h[f] += aa * share[f]
                at += 1
    loss += part


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _descend(edge_start, edge_cell, edge_slot, energy, lower, x, gradient, curvature, step):  # type: ignore[no-untyped-def]
    """Solve the block's bounded quadratic problems for the step, by coordinate descent over the overlap graph."""
    n_cells = len(x)
    step[:] = 0
    partial = np.empty(BLOCK, np.float32)
    largest = np.float32(0)
    for _ in range(SWEEPS):
        change = np.float32(0)
        for c in range(n_cells):
            partial[:] = gradient[c]
            for e in range(edge_start[c], edge_start[c + 1]):
                h = curvature[edge_slot[e]]
                other = step[edge_cell[e]]
                for f in range(BLOCK):
                    partial[f] -= h[f] * other[f]
            own = curvature[c]
            floor = np.float32(CURVATURE_FLOOR) * energy[c] + np.float32(1e-20)
            biggest = np.float32(0)
            for f in range(BLOCK):
                new = max(partial[f] / max(own[f], floor), lower[c] - x[c, f])
                biggest = max(biggest, abs(new - step[c, f]))
                step[c, f] = new
            change = max(change, biggest * np.sqrt(energy[c]))
        largest = max(largest, change)
        if change <= np.float32(1e-4) * largest or change < np.float32(1e-6):
            break
    return largest


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _keep_or_undo(width, loss, x, best, best_loss, safe):  # type: ignore[no-untyped-def]
    """Keep what lowered each frame's loss, take back what raised it; ``safe`` is 1 where the next step must not."""
    undone = False
    for f in range(width):
        if loss[f] > best_loss[f] * (1 + WORSE) + 1e-12:
            undone = True
            safe[f] = 1
            for c in range(len(x)):
                x[c, f] = best[c, f]
        else:
            safe[f] = 0
            best_loss[f] = loss[f]
            for c in range(len(x)):
                best[c, f] = x[c, f]
    return undone


@numba.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def _solve(  # type: ignore[no-untyped-def]
    movie, offset, graph, edges, energy, kappa, kappa_scale, scaled, cold, check, penalty, lower, start, n_steps,
    tolerance,
):  # fmt: skip
    n_cells, n_frames = start.shape
    out = np.empty((n_cells, n_frames), np.float32)
    total = np.zeros(n_frames, np.float32)
    for b in numba.prange((n_frames + BLOCK - 1) // BLOCK):
        t0 = b * BLOCK
        width = min(BLOCK, n_frames - t0)
        x = np.zeros((n_cells, BLOCK), np.float32)
        best = np.zeros((n_cells, BLOCK), np.float32)
        step = np.zeros((n_cells, BLOCK), np.float32)
        gradient = np.empty((n_cells, BLOCK), np.float32)
        curvature = np.empty((edges[3], BLOCK), np.float32)
        loss = np.empty(BLOCK, np.float64)
        best_loss = np.full(BLOCK, np.float64(FAR))
        safe = np.ones(BLOCK, np.float32)
        for c in range(n_cells):
            for f in range(width):
                x[c, f] = max(start[c, t0 + f], lower[c])
        for iteration in range(n_steps + 1):
            quadratic = cold and iteration == 0 and n_steps > 0
            _accumulate(
                movie, offset, t0, width, graph, kappa, kappa_scale, scaled, quadratic, safe,
                x, gradient, curvature, loss,
            )  # fmt: skip
            for c in range(n_cells):
                for f in range(BLOCK):
                    gradient[c, f] -= penalty[c]
                    loss[f] += penalty[c] * x[c, f]
            if quadratic:  # from nothing, a least-squares step first; its loss is not the one that counts
                loss[:] = FAR
            undone = _keep_or_undo(width, loss, x, best, best_loss, safe)
            if iteration == n_steps:
                break
            largest = _descend(edges[0], edges[1], edges[2], energy, lower, x, gradient, curvature, step)
            if largest < tolerance and not undone and not quadratic:
                break
            for c in range(n_cells):
                for f in range(BLOCK):
                    x[c, f] += step[c, f] * (1 - safe[f])
            if iteration == n_steps - 1 and not check:
                best[:] = x
                break
        for c in range(n_cells):
            for f in range(width):
                out[c, t0 + f] = best[c, f]
        for f in range(width):
            total[t0 + f] = best_loss[f]
    return out, total


def robust_traces(
    movie: Float32,
    footprints: sparse.csr_array,
    kappa: Float32,
    *,
    offset: Float32 | None = None,
    start: Float32 | None = None,
    lower: Float32 | float = 0.0,
    penalty: Float32 | float = 0.0,
    kappa_scale: Float32 | None = None,
    n_steps: int = 6,
    tolerance: float = 1e-3,
    check: bool = True,
    graph: OverlapGraph | None = None,
) -> tuple[Float32, Float32]:
    """Solve every frame for the traces.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32, baseline removed; best in units of each pixel's noise.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, non-negative.
    kappa : numpy.ndarray
        ``(n_pixels,)`` float32, where the loss turns linear, in the movie's units; large for least squares.
    offset : numpy.ndarray, optional
        ``(n_pixels,)`` float32 to take off every pixel.
    start : numpy.ndarray, optional
        ``(n_cells, n_frames)`` where to begin; a least-squares step from zero where not given.
    lower : numpy.ndarray or float
        ``(n_cells,)`` lower bound of each trace; ``-inf`` for none.
    penalty : numpy.ndarray or float
        ``(n_cells,)`` weight of the L1 term.
    kappa_scale : numpy.ndarray, optional
        ``(n_cells, n_frames)`` factor on ``kappa``; a pixel takes the mean over its cells, weighted by footprint.
    n_steps : int
        Newton steps at most.
    tolerance : float
        Stop where no cell's step, times the norm of its footprint, is larger (the movie's units).
    check : bool
        Look once more after the last step and take back where it raised a frame's loss. A pass over the movie can be
        saved where another solve follows; the loss is then that of the point before the step.
    graph : OverlapGraph, optional
        Of ``footprints``, where it is at hand.

    Returns
    -------
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    loss : numpy.ndarray
        ``(n_frames,)`` float32, the objective over the covered pixels.
    """
    n_cells, n_frames = footprints.shape[0], movie.shape[1]
    if n_cells == 0:
        return np.zeros((0, n_frames), np.float32), np.zeros(n_frames, np.float32)
    graph = graph or OverlapGraph.of(footprints)
    begin = np.zeros((n_cells, n_frames), np.float32) if start is None else np.ascontiguousarray(start, np.float32)
    scaled = kappa_scale is not None
    scale = np.ones((1, 1), np.float32) if kappa_scale is None else np.ascontiguousarray(kappa_scale, np.float32)
    energy = np.asarray(footprints.multiply(footprints).sum(axis=1), np.float32).ravel()
    return _solve(  # type: ignore[no-any-return]
        movie,
        np.zeros(len(movie), np.float32) if offset is None else np.ascontiguousarray(offset, np.float32),
        (graph.pixels, graph.start, graph.cells, graph.weights, graph.pair_start, graph.pair_slot),
        (graph.edge_start, graph.edge_cell, graph.edge_slot, graph.n_slots),
        energy,
        np.ascontiguousarray(kappa, np.float32),
        scale,
        scaled,
        start is None,
        check,
        np.broadcast_to(np.asarray(penalty, np.float32), n_cells).copy(),
        np.maximum(np.broadcast_to(np.asarray(lower, np.float32), n_cells), -FAR),
        begin,
        n_steps,
        np.float32(tolerance),
    )
