"""What a model of sparse components leaves of a movie.

``residual = movie - offset - sum of components``, pixel by pixel, without the dense product ever existing.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32 = NDArray[np.float32]

NEAR = np.float32(0.5)  # noises from the level within which a residual counts in proportion; farther ones by sign
USUAL = np.float32(
    0.3
)  # share of a level's frames within `NEAR`, less than the .38 of normal noise: no step overshoots
LANES = 16  # sums side by side
LEVEL_STEPS = 4  # from the level of the round before


@numba.njit(cache=True, parallel=True, fastmath=True)
def _subtract(movie, offset, start, components, weights, traces, out):  # type: ignore[no-untyped-def]
    for p in numba.prange(len(movie)):
        row = out[p]
        source = movie[p]
        o = offset[p]
        for t in range(len(row)):
            row[t] = source[t] - o
        for e in range(start[p], start[p + 1]):
            trace = traces[components[e]]
            a = weights[e]
            for t in range(len(row)):
                row[t] -= a * trace[t]


def subtract_components(
    movie: Float32, images: sparse.csr_array, traces: Float32, offset: Float32 | None = None, out: Float32 | None = None
) -> Float32:
    """Subtract components from a movie.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    images : scipy.sparse.csr_array
        ``(n_components, n_pixels)``.
    traces : numpy.ndarray
        ``(n_components, n_frames)`` float32.
    offset : numpy.ndarray, optional
        ``(n_pixels,)`` float32 to take off every pixel.
    out : numpy.ndarray, optional
        Where to put the result; may be ``movie`` itself.

    Returns
    -------
    numpy.ndarray
        ``(n_pixels, n_frames)`` float32.
    """
    by_pixel = sparse.csc_array(images)
    result = np.empty_like(movie) if out is None else out
    _subtract(
        movie,
        np.zeros(len(movie), np.float32) if offset is None else np.ascontiguousarray(offset, np.float32),
        by_pixel.indptr.astype(np.int64),
        by_pixel.indices.astype(np.int32),
        by_pixel.data.astype(np.float32),
        np.ascontiguousarray(traces, np.float32),
        result,
    )
    return result


@numba.njit(cache=True, error_model="numpy")  # sums in an order of its own: fast ones differ once loaded from the cache
def _level(residual, level):  # type: ignore[no-untyped-def]
    """Where a pixel's residual has its middle: Huber's estimate of location, nearly a median and as hard to move."""
    n_frames = len(residual)
    pull = np.empty(LANES, np.float32)
    n_near = np.empty(LANES, np.float32)
    for _ in range(LEVEL_STEPS):
        pull[:] = 0
        n_near[:] = 0
        for t0 in range(0, n_frames - LANES + 1, LANES):
            part = residual[t0 : t0 + LANES]
            for lane in range(LANES):
                d = part[lane] - level
                pull[lane] += min(max(d, -NEAR), NEAR)
                n_near[lane] += np.float32(1) if abs(d) < NEAR else np.float32(0)
        for t in range(n_frames // LANES * LANES, n_frames):
            d = residual[t] - level
            pull[0] += min(max(d, -NEAR), NEAR)
            n_near[0] += np.float32(1) if abs(d) < NEAR else np.float32(0)
        level += pull.sum() / max(n_near.sum(), USUAL * np.float32(n_frames))
    return level


@numba.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def _gain(  # type: ignore[no-untyped-def]
    movie, cells, cell_traces, hats, hat_traces, kappa, start_gain, start_offset, gain, offset, certainty
):
    n_pixels, n_frames = movie.shape
    cell_start, cell_index, cell_weight = cells
    hat_start, hat_index, hat_weight = hats
    n_chunks = min(n_pixels, 64)
    for chunk in numba.prange(n_chunks):
        residual = np.empty(n_frames, np.float32)
        field = np.empty(n_frames, np.float32)
        for p in range(chunk * n_pixels // n_chunks, (chunk + 1) * n_pixels // n_chunks):
            residual[:] = movie[p]
            for e in range(cell_start[p], cell_start[p + 1]):
                trace = cell_traces[cell_index[e]]
                a = cell_weight[e]
                for t in range(n_frames):
                    residual[t] -= a * trace[t]
            field[:] = 0
            for e in range(hat_start[p], hat_start[p + 1]):
                trace = hat_traces[hat_index[e]]
                a = hat_weight[e]
                for t in range(n_frames):
                    field[t] += a * trace[t]
            mean = np.float32(0)
            for t in range(n_frames):
                mean += field[t]
            mean /= np.float32(n_frames)
            energy = np.float32(1e-6)
            for t in range(n_frames):
                d = field[t] - mean
                energy += d * d
            g = np.float32(start_gain[p])
            o = start_offset[p]
            # Taken off here, because a fast sum of three terms is added up in one order by a process that compiles this
            # and in another by one that loads it (numba optimises a parallel loop again for the file it keeps).
            for t in range(n_frames):
                residual[t] -= o
            for _ in range(2):  # clipped residuals: cells that the model lacks do not pull
                pull = np.float32(0)
                for t in range(n_frames):
                    r = min(residual[t] - g * field[t], kappa)
                    pull += r * (field[t] - mean)
                g = np.float32(g + pull / energy)
            for t in range(n_frames):
                residual[t] -= g * field[t]
            gain[p] = g
            offset[p] = o + _level(residual, np.float32(0))
            certainty[p] = energy


def fit_gain(
    movie: Float32,
    footprints: sparse.csr_array,
    traces: Float32,
    hats: sparse.csr_array,
    hat_traces: Float32,
    start_gain: Float32,
    start_offset: Float32,
    kappa: float,
) -> tuple[Float32, Float32, Float32]:
    """Fit to every pixel how much of the smooth background it shows, and its constant offset.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of the noise.
    footprints, traces
        ``(n_cells, n_pixels)`` and ``(n_cells, n_frames)``, taken off first.
    hats, hat_traces
        ``(n_hats, n_pixels)`` and ``(n_hats, n_frames)``: the background at gain 1.
    start_gain, start_offset : numpy.ndarray
        ``(n_pixels,)`` where to begin.
    kappa : float
        Residuals above are clipped (units of the noise).

    Returns
    -------
    gain, offset : numpy.ndarray
        ``(n_pixels,)`` float32.
    certainty : numpy.ndarray
        ``(n_pixels,)`` inverse variance of the gain.
    """
    gain, offset, certainty = (np.empty(len(movie), np.float32) for _ in range(3))

    def columns(images: sparse.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int32], Float32]:
        by_pixel = sparse.csc_array(images)
        return by_pixel.indptr.astype(np.int64), by_pixel.indices.astype(np.int32), by_pixel.data.astype(np.float32)

    _gain(
        movie, columns(footprints), np.ascontiguousarray(traces, np.float32), columns(hats),
        np.ascontiguousarray(hat_traces, np.float32), np.float32(kappa), start_gain, start_offset, gain,
        offset, certainty,
    )  # fmt: skip
    return gain, offset, certainty
