"""Robust regression of every pixel on the traces: the footprints, traces held fixed.

For each pixel independently, with ``r = y - sum_k s_k x_k`` over the frames,

    minimise  sum_t rho(r_t; kappa) + sum_k penalty_k s_k     subject to  s_k >= 0,  s_k = 0 outside cell k's mask

with the loss and the Newton method of :mod:`gpucells.ops.robust_traces`, its safe steps included: a pixel that a
footprint grows into starts at nothing, with all its bright frames above ``kappa``. Here the small problems are dense,
one row of the movie each; frames in which none of a pixel's cells has any light say nothing and are left out, the
others are read once and kept in the cache for all steps.

A movie on a GPU goes to :mod:`gpucells.ops.robust_footprints_cuda`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

SWEEPS = 60  # coordinate descent sweeps at most
WORSE = 1e-5  # relative rise of a pixel's loss that counts as one, above rounding
CURVATURE_FLOOR = 0.02  # share of ||x||^2 kept where nearly every frame of a cell is above kappa


@dataclass(frozen=True)
class Known:
    """Components that a solver holds as they are.

    Parameters
    ----------
    images : scipy.sparse.csc_array
        ``(n_known, n_pixels)`` float32.
    traces : numpy.ndarray
        ``(n_known, n_frames)`` float32.
    """

    images: sparse.csc_array
    traces: Float32

    @classmethod
    def none(cls, n_pixels: int, n_frames: int) -> Known:
        """No component at all."""
        return cls(sparse.csc_array((0, n_pixels), dtype=np.float32), np.zeros((0, n_frames), np.float32))

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], Float32, Float32]:
        """Where each pixel's entries begin, their components, their weights, and the traces."""
        return (
            self.images.indptr.astype(np.int32),
            self.images.indices.astype(np.int32),
            self.images.data.astype(np.float32),
            np.ascontiguousarray(self.traces, np.float32),
        )


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _measure(y, m, rows, s, n, kappa, safe, clipped, share, gradient, curvature):  # type: ignore[no-untyped-def]
    """Loss, gradient and curvature of one pixel's problem; ``safe`` is 1 for the curvature that cannot overshoot."""
    for t in range(m):
        clipped[t] = y[t]
    for k in range(n):
        a = s[k]
        if a != 0:
            for t in range(m):
                clipped[t] -= a * rows[k, t]
    loss = 0.0
    for t in range(m):
        r = clipped[t]
        c = min(r, kappa)
        share[t] = np.float32(1) if r < kappa else safe * kappa / max(r, np.float32(1e-20))
        loss += c * (r - np.float32(0.5) * c)
        clipped[t] = c
    for k in range(n):
        total = np.float32(0)
        for t in range(m):
            total += rows[k, t] * clipped[t]
        gradient[k] = total
    for k in range(n):
        for t in range(m):
            clipped[t] = rows[k, t] * share[t]
        for j in range(k + 1):
            total = np.float32(0)
            for t in range(m):
                total += clipped[t] * rows[j, t]
            curvature[k, j] = total
            curvature[j, k] = total
    return loss


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _active_frames(cells, first, n, active_start, active, met, frames):  # type: ignore[no-untyped-def]
    """Write down the frames in which any of a pixel's cells has light; returns their number."""
    m = 0
    for k in range(n):
        cell = cells[first + k]
        for i in range(active_start[cell], active_start[cell + 1]):
            t = active[i]
            if not met[t]:
                met[t] = True
                frames[m] = t
                m += 1
    for i in range(m):
        met[frames[i]] = False
    return m


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _gather(movie, offset, known, p, frames, m, y):  # type: ignore[no-untyped-def]
    """Copy some frames of one pixel's trace without its offset and its known components."""
    start, components, weights, traces = known
    pixel = movie[p]
    o = offset[p]
    for i in range(m):
        y[i] = pixel[frames[i]] - o
    for e in range(start[p], start[p + 1]):
        row = traces[components[e]]
        a = weights[e]
        for i in range(m):
            y[i] -= a * row[frames[i]]


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _step(n, s, gradient, curvature, energy, step):  # type: ignore[no-untyped-def]
    """Coordinate descent on the bounded quadratic problem; returns the largest step times the trace's norm."""
    step[:n] = 0
    largest = np.float32(0)
    for _ in range(SWEEPS):
        change = np.float32(0)
        for k in range(n):
            partial = gradient[k]
            for j in range(n):
                if j != k:
                    partial -= curvature[k, j] * step[j]
            own = max(curvature[k, k], np.float32(CURVATURE_FLOOR) * energy[k] + np.float32(1e-20))
            new = max(partial / own, -s[k])
            change = max(change, abs(new - step[k]) * np.sqrt(energy[k]))
            step[k] = new
        largest = max(largest, change)
        if change <= np.float32(1e-4) * largest:
            break
    return largest


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _newton(  # type: ignore[no-untyped-def]
    y, m, rows, s, n, kappa, penalty, norms, n_steps, tolerance, best, step, clipped, share, gradient, curvature
):
    """Solve one pixel's problem from ``s``; the answer is in ``best``."""
    for k in range(n):
        best[k] = s[k]
    best_loss = 1e300
    safe = np.float32(1)
    for iteration in range(n_steps + 1):
        loss = _measure(y, m, rows, s, n, kappa, safe, clipped, share, gradient, curvature)
        for k in range(n):
            loss += penalty[k] * s[k]
            gradient[k] -= penalty[k]
        if loss > best_loss * (1 + WORSE):  # taken back; measured again for a step that cannot overshoot
            safe = np.float32(1)
            for k in range(n):
                s[k] = best[k]
            continue
        safe = np.float32(0)
        best_loss = loss
        for k in range(n):
            best[k] = s[k]
        if iteration == n_steps or _step(n, s, gradient, curvature, norms, step) < tolerance:
            break
        for k in range(n):
            s[k] += step[k]


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _solve(  # type: ignore[no-untyped-def]
    movie,
    offset,
    known,
    traces,
    active_start,
    active,
    energy,
    penalty,
    pixels,
    start,
    cells,
    values,
    kappa,
    n_steps,
    tolerance,
    widest,
    out,
    begin,
    end,
):
    n_frames = traces.shape[1]
    y = np.empty(n_frames, np.float32)
    rows = np.empty((widest, n_frames), np.float32)
    clipped = np.empty(n_frames, np.float32)
    share = np.empty(n_frames, np.float32)
    met = np.zeros(n_frames, np.bool_)
    frames = np.empty(n_frames, np.uint32)
    gradient = np.empty(widest, np.float32)
    curvature = np.empty((widest, widest), np.float32)
    norms = np.empty(widest, np.float32)
    weight = np.empty(widest, np.float32)
    s = np.empty(widest, np.float32)
    best = np.empty(widest, np.float32)
    step = np.empty(widest, np.float32)
    for i in range(begin, end):
        first, n = start[i], start[i + 1] - start[i]
        p = pixels[i]
        m = _active_frames(cells, first, n, active_start, active, met, frames)
        _gather(movie, offset, known, p, frames, m, y)
        for k in range(n):
            trace = traces[cells[first + k]]
            for t in range(m):
                rows[k, t] = trace[frames[t]]
            norms[k] = energy[cells[first + k]]
            weight[k] = penalty[cells[first + k]]
            s[k] = max(values[first + k], np.float32(0))
        _newton(
            y, m, rows, s, n, kappa[p], weight, norms, n_steps, tolerance, best, step, clipped, share, gradient,
            curvature,
        )  # fmt: skip
        for k in range(n):
            out[first + k] = best[k]


def robust_footprints(
    movie: Float32,
    traces: Float32,
    start: sparse.csr_array,
    kappa: Float32,
    *,
    known: Known | None = None,
    offset: Float32 | None = None,
    penalty: Float32 | float = 0.0,
    n_steps: int = 6,
    tolerance: float = 0.02,
) -> sparse.csr_array:
    """Solve every pixel for the footprints.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32, baseline removed; best in units of each pixel's noise.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    start : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` where to begin; its stored entries, zeros included, are the masks.
    kappa : numpy.ndarray
        ``(n_pixels,)`` float32, where the loss turns linear; large for least squares.
    known : Known, optional
        Components that are held as they are, such as a background.
    offset : numpy.ndarray, optional
        ``(n_pixels,)`` float32 to take off every pixel.
    penalty : numpy.ndarray or float
        ``(n_cells,)`` weight of the L1 term.
    n_steps : int
        Newton steps at most.
    tolerance : float
        Stop where no cell's step, times the norm of its trace, is larger (the movie's units).

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, zeros dropped.
    """
    by_pixel = sparse.csc_array(start)
    if by_pixel.nnz == 0:
        return sparse.csr_array(start.shape, dtype=np.float32)
    solve = _solve_here
    if is_cupy_array(movie):
        from gpucells.ops.robust_footprints_cuda import solve_on_device

        solve = solve_on_device
    values = solve(
        movie, traces, by_pixel, kappa, known=known or Known.none(*movie.shape), offset=offset, penalty=penalty,
        n_steps=n_steps, tolerance=tolerance,
    )  # fmt: skip
    solved = sparse.csr_array(sparse.csc_array((values, by_pixel.indices, by_pixel.indptr), shape=start.shape))
    solved.eliminate_zeros()
    return solved


def _solve_here(
    movie: Float32, traces: Float32, by_pixel: sparse.csc_array, kappa: Float32, *, known: Known,
    offset: Float32 | None, penalty: Float32 | float, n_steps: int, tolerance: float,
) -> Float32:  # fmt: skip
    counts = np.diff(by_pixel.indptr)
    pixels = np.flatnonzero(counts)
    values = by_pixel.data.astype(np.float32)
    arguments = (
        movie,
        np.zeros(movie.shape[0], np.float32) if offset is None else np.ascontiguousarray(offset, np.float32),
        known.arrays(),
        np.ascontiguousarray(traces, np.float32),
        np.concatenate([[0], np.cumsum(np.count_nonzero(traces, axis=1))]),
        np.nonzero(traces)[1].astype(np.uint32),
        np.einsum("kt,kt->k", traces, traces).astype(np.float32),
        np.broadcast_to(np.asarray(penalty, np.float32), by_pixel.shape[0]).copy(),
        pixels,
        np.concatenate([[0], np.cumsum(counts[pixels])]),
        by_pixel.indices.astype(np.int32),
        values,
        np.ascontiguousarray(kappa, np.float32),
        n_steps,
        np.float32(tolerance),
        int(counts.max()),
    )
    out: Float32 = np.empty_like(values)
    each_share(len(pixels), lambda begin, end: _solve(*arguments, out, begin, end))
    return out
