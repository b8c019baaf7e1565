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

The CPU body reads every sample once a step; a block of frames is the vector axis. A movie on a GPU goes to
``kernels/robust_traces.cu``, which does the same with the components' steps in another order.
"""

from __future__ import annotations

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.bilinear_rows import BLOCK, add, add_pixel, begin_row, end_row, subtract_row
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.robust_traces_cuda import Rules, solve_on_device
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

AHEAD = 32  # pixels read at once
SWEEPS = 40  # coordinate descent sweeps at most; converges at the square of the largest footprint cosine
SUMMED = 64  # pixels whose loss is summed in single precision before it is added up in double
WORSE = 1e-5  # relative rise of a frame's loss that counts as one, above rounding
FAR = np.float32(1e30)  # stands for infinity, which fast arithmetic may not rely on
CURVATURE_FLOOR = 0.02  # share of ||a||^2 kept where nearly every pixel of a cell is above kappa


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _limits(first, last, t0, width, cells, weights, kappa, kappa_scale, limit):  # type: ignore[no-untyped-def]
    """Where the loss of one pixel turns linear in each frame of a block: kappa times the mean over its cells."""
    limit[:] = 0
    total = np.float32(1e-6)
    for e in range(first, last):
        w = weights[e]
        total += w
        scale = kappa_scale[cells[e], t0 : t0 + width]
        for f in range(width):
            limit[f] += w * scale[f]
    for f in range(BLOCK):
        limit[f] *= kappa / total


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _read_ahead(movie, offset, t0, width, pixels, seen):  # type: ignore[no-untyped-def]
    """Fetch a few pixels at once: they lie far apart in memory, and one by one each would be waited for."""
    for k in range(len(pixels)):
        trace = movie[pixels[k], t0 : t0 + width]  # sliced first: an index that might be negative is gathered
        o = offset[pixels[k]]
        for f in range(width):
            seen[k, f] = trace[f] - o


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _clip(residual, limit, safe, share, loss):  # type: ignore[no-untyped-def]
    """Clip residuals where the loss turns linear; add up the loss and say how much of its curvature is left."""
    for f in range(BLOCK):
        r = residual[f]
        c = min(r, limit[f])
        share[f] = np.float32(1) if r < limit[f] else safe[f] * limit[f] / max(r, np.float32(1e-20))
        loss[f] += c * (r - np.float32(0.5) * c)
        residual[f] = c


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _accumulate(  # type: ignore[no-untyped-def]
    movie, offset, t0, width, cover, rows, hats, spread, scratch, n_cells, kappa, kappa_scale, scaled, quadratic, safe,
    x, gradient, curvature, loss
):  # fmt: skip
    """One pass over the pixels of a block of frames: gradient, curvature, loss."""
    pixels, start, cells, weights, pair_start, pair_slot = cover
    row_start, column, gain = rows
    _, _, column_node, column_share, n_columns = hats
    near = spread[2]
    level, pull, own, following, close = scratch
    gradient[:] = 0
    curvature[:] = 0
    loss[:] = 0
    part = np.zeros(BLOCK, np.float32)
    residual = np.zeros(BLOCK, np.float32)
    share = np.empty(BLOCK, np.float32)
    limit = np.empty(BLOCK, np.float32)
    seen = np.zeros((AHEAD, BLOCK), np.float32)
    for y in range(len(row_start) - 1):
        if row_start[y] == row_start[y + 1]:
            continue
        if n_columns:
            begin_row(y, n_cells, hats, x, level, pull, own, following, close)
        for i in range(row_start[y], row_start[y + 1]):
            if (i - row_start[y]) % AHEAD == 0:
                _read_ahead(movie, offset, t0, width, pixels[i : min(i + AHEAD, row_start[y + 1])], seen)
            at = (i - row_start[y]) % AHEAD
            for f in range(BLOCK):
                residual[f] = seen[at, f]
            if scaled and not quadratic:
                _limits(start[i], start[i + 1], t0, width, cells, weights, kappa[pixels[i]], kappa_scale, limit)
            else:
                limit[:] = FAR if quadratic else kappa[pixels[i]]
            left = column_node[column[i]]
            b = gain[i] * column_share[column[i]]
            a = gain[i] - b
            if n_columns:
                subtract_row(a, level, left, residual)
                subtract_row(b, level, left + 1, residual)
            for e in range(start[i], start[i + 1]):
                subtract_row(weights[e], x, cells[e], residual)
            _clip(residual, limit, safe, share, part)
            if i % SUMMED == 0:
                loss += part
                part[:] = 0
            if n_columns:
                add_pixel(a, b, left, residual, share, pull, own, following)
            at = pair_start[i]
            for e in range(start[i], start[i + 1]):
                w = weights[e]
                add(w, residual, gradient, cells[e])
                for j in range(e, start[i + 1]):
                    add(w * weights[j], share, curvature, pair_slot[at])
                    at += 1
                if n_columns:
                    add(w * a, share, close, near[e])
                    add(w * b, share, close, near[e] + 1)
        if n_columns:
            end_row(y, n_cells, hats, spread, pull, own, following, close, gradient, curvature)
    loss += part


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _descend(edge_start, edge_cell, edge_slot, energy, lower, x, gradient, curvature, step):  # type: ignore[no-untyped-def]
    """Solve the block's bounded quadratic problems for the step, by coordinate descent over the overlap graph."""
    n_cells = len(x)
    step[:] = 0
    partial = np.empty(BLOCK, np.float32)
    largest = np.float32(0)
    for _ in range(SWEEPS):
        change = np.float32(0)
        for c in range(n_cells):
            for f in range(BLOCK):
                partial[f] = gradient[c, f]
            for e in range(edge_start[c], edge_start[c + 1]):
                slot, other = edge_slot[e], edge_cell[e]
                for f in range(BLOCK):
                    partial[f] -= curvature[slot, f] * step[other, f]
            floor = np.float32(CURVATURE_FLOOR) * energy[c] + np.float32(1e-20)
            biggest = np.float32(0)
            for f in range(BLOCK):
                new = max(partial[f] / max(curvature[c, f], floor), lower[c] - x[c, f])
                biggest = max(biggest, abs(new - step[c, f]))
                step[c, f] = new
            change = max(change, biggest * np.sqrt(energy[c]))
        largest = max(largest, change)
        if change <= np.float32(1e-4) * largest or change < np.float32(1e-6):
            break
    return largest


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
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


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _solve(  # type: ignore[no-untyped-def]
    movie, offset, cover, rows, hats, spread, edges, energy, kappa, kappa_scale, scaled, cold, check, penalty, lower,
    start, n_steps, tolerance, n_cells, n_close, out, total, first_block, last_block
):  # fmt: skip
    n_components, n_frames = start.shape
    n_columns = hats[4]
    for b in range(first_block, last_block):
        t0 = b * BLOCK
        width = min(BLOCK, n_frames - t0)
        x = np.zeros((n_components, BLOCK), np.float32)
        best = np.zeros((n_components, BLOCK), np.float32)
        step = np.zeros((n_components, BLOCK), np.float32)
        gradient = np.empty((n_components, BLOCK), np.float32)
        curvature = np.empty((edges[3], BLOCK), np.float32)
        scratch = (
            np.empty((n_columns, BLOCK), np.float32), np.empty((n_columns, BLOCK), np.float32),
            np.empty((n_columns, BLOCK), np.float32), np.empty((n_columns, BLOCK), np.float32),
            np.empty((n_close, BLOCK), np.float32),
        )  # fmt: skip
        loss = np.empty(BLOCK, np.float64)
        best_loss = np.full(BLOCK, np.float64(FAR))
        safe = np.ones(BLOCK, np.float32)
        for c in range(n_components):
            for f in range(width):
                x[c, f] = max(start[c, t0 + f], lower[c])
        for iteration in range(n_steps + 1):
            quadratic = cold and iteration == 0 and n_steps > 0
            _accumulate(
                movie, offset, t0, width, cover, rows, hats, spread, scratch, n_cells, kappa, kappa_scale, scaled,
                quadratic, safe, x, gradient, curvature, loss,
            )  # fmt: skip
            for c in range(n_components):
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
            for c in range(n_components):
                for f in range(BLOCK):
                    x[c, f] += step[c, f] * (1 - safe[f])
            if iteration == n_steps - 1 and not check:
                for c in range(n_components):
                    for f in range(BLOCK):
                        best[c, f] = x[c, f]
                break
        for c in range(n_components):
            for f in range(width):
                out[c, t0 + f] = best[c, f]
        for f in range(width):
            total[t0 + f] = best_loss[f]


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
    field: Bilinear | None = None,
    gain: Float32 | None = None,
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
    field : Bilinear, optional
        Hats of a smooth field that is solved together with the footprints; its nodes are components after theirs, in
        ``start``, ``lower``, ``penalty`` and the result. Not together with ``kappa_scale``.
    gain : numpy.ndarray, optional
        ``(n_pixels,)`` float32 factor of each pixel on the field; 1 where not given.
    n_steps : int
        Newton steps at most.
    tolerance : float
        Stop where no cell's step, times the norm of its footprint, is larger (the movie's units).
    check : bool
        Look once more after the last step and take back where it raised a frame's loss. Without, a pass is saved, and
        the loss is that of the point before the step.
    graph : OverlapGraph, optional
        Of ``footprints``, ``field`` and ``gain``, where it is at hand; it alone counts then.

    Returns
    -------
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    loss : numpy.ndarray
        ``(n_frames,)`` float32, the objective over the covered pixels.
    """
    graph = graph or OverlapGraph.of(footprints, field, gain)
    n_components, n_frames = graph.n_components, movie.shape[1]
    if n_components == 0:
        return np.zeros((0, n_frames), np.float32), np.zeros(n_frames, np.float32)
    penalties = np.broadcast_to(np.asarray(to_host(penalty), np.float32), n_components).copy()
    bounds = np.maximum(np.broadcast_to(np.asarray(to_host(lower), np.float32), n_components), -FAR)
    if is_cupy_array(movie):
        rules = Rules(start is None, check, n_steps, tolerance, WORSE, CURVATURE_FLOOR, float(FAR), SWEEPS)
        return solve_on_device(movie, graph, kappa, offset, start, kappa_scale, penalties, bounds, rules)
    shape = n_components, n_frames
    begin = np.zeros(shape, np.float32) if start is None else np.ascontiguousarray(start, np.float32)
    scaled = kappa_scale is not None
    scale = np.ones((1, 1), np.float32) if kappa_scale is None else np.ascontiguousarray(kappa_scale, np.float32)
    hats = graph.field
    arguments = (
        movie,
        np.zeros(len(movie), np.float32) if offset is None else np.ascontiguousarray(offset, np.float32),
        (graph.pixels, graph.start, graph.cells, graph.weights, graph.pair_start, graph.pair_slot),
        (graph.row_start, graph.column, graph.gain),
        (hats.row_node, hats.row_share, hats.column_node, hats.column_share, hats.n_columns),
        (graph.near_start, graph.near_slot, graph.near, graph.grid_slot),
        (graph.edge_start, graph.edge_cell, graph.edge_slot, graph.n_slots),
        graph.energy,
        np.ascontiguousarray(kappa, np.float32),
        scale,
        scaled,
        start is None,
        check,
        penalties,
        bounds,
        begin,
        n_steps,
        np.float32(tolerance),
        footprints.shape[0],
        int(np.diff(graph.near_start).max()),
    )
    out, total = np.empty(shape, np.float32), np.zeros(n_frames, np.float32)
    each_share(-(-n_frames // BLOCK), lambda first, last: _solve(*arguments, out, total, first, last))
    return out, total
