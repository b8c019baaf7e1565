r"""The ring model of a one-photon movie's background: every block of pixels is told from those on a ring around it.

Out-of-focus light is smooth, so what shines on a block shines on a ring around it that is wider than a cell, while a
cell does not (CNMF-E, Zhou et al. 2018, eLife 7:e28728). With :math:`x_i` a block's trace and :math:`X_i` the traces
on its ring, all with their means taken off,

.. math:: w_i = (X_i X_i^\top + \lambda \, \mathrm{tr}(X_i X_i^\top) I)^{-1} X_i x_i.

Rings of neighbours share most of their pairs of blocks. So products are not summed up ring by ring: tiles of blocks are
multiplied with all that is near them, once a pair, and rings gather their matrices from that. Both are in float64: a
smooth background makes neighbours nearly equal, and what is left of float32 after such a solve is not enough.

Rows of tiles are worked on one after the other, and products are kept only as long as a ring still needs them.

Movies on a GPU go to `ring_weights_cuda`, for all others BLAS multiplies, and numba gathers and solves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError
from gpucells.ops.ring_weights_cuda import multiply_tiles, predict_blocks, solve_rings
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.int32]

# A tile of 4 x 16 wastes as little as one of 8 x 8 on pairs that no ring has, and fewer rows of products are kept.
TILE_ROWS, TILE_COLUMNS = 4, 16
FRAMES = 512  # multiplied at once: what is near a tile is then 2 to 5 MB of float64
DEPENDENT = 1e-12  # share of its energy that a neighbour has to itself; with less it gets no weight

_Rows = Callable[[int, int], Any]  # rows of the movie, from one to before another


@dataclass(frozen=True)
class RingWeights:
    """What tells every block from those around it.

    Parameters
    ----------
    weights : scipy.sparse.csr_array
        ``(n_blocks, n_blocks)`` float32, blocks in C order; a row has an entry for each neighbour that counts.
    explained : numpy.ndarray
        ``(n_blocks,)`` float32, share of a block's squared deviations from its mean that the prediction explains.
    means : numpy.ndarray
        ``(n_blocks,)`` float32 of the traces; 0 where a trace that does not count is not finite.
    """

    weights: sparse.csr_array
    explained: Float32
    means: Float32


def ring_offsets(radius: float) -> NDArray[np.int64]:
    """Return where the blocks of a ring lie: all at ``radius <= distance < radius + 1`` from its centre.

    Parameters
    ----------
    radius : float
        Blocks, 1 or more.

    Returns
    -------
    numpy.ndarray
        ``(n_ring, 2)`` rows and columns from the centre, in C order.

    Raises
    ------
    InputError
        A ring so small would hold its own centre.
    """
    if not 1 <= radius < np.inf:
        raise InputError(f"the ring's radius is {radius} blocks", "1 is the least: the centre is not on its ring")
    reach = int(radius) + 1
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    squared = rows**2 + columns**2
    on_ring = (squared >= radius**2) & (squared < (radius + 1) ** 2)
    return np.stack([rows[on_ring], columns[on_ring]], axis=1).astype(np.int64)


def ring_weights(
    blocks: Any, inside: ArrayLike, offsets: ArrayLike, ridge: float = 1e-3, limit: float | None = None,
    noise: Any = None,
) -> RingWeights:  # fmt: skip
    """Fit every block's trace by those on a ring around it.

    Parameters
    ----------
    blocks : array
        ``(height, width, n_frames)`` float32, C order: means of blocks of pixels of what the cells leave, finite
        in blocks that count. NumPy or CuPy; they pick the body.
    inside : numpy.ndarray
        ``(height, width)`` bool, which blocks count. The others have no weights, and are on no ring.
    offsets : numpy.ndarray
        ``(n_ring, 2)`` of `ring_offsets`. What lies beyond the border is left out.
    ridge : float
        Added to the diagonal, as a share of the sum of the ring's squared deviations; CaImAn has 1e-5.
    limit : float, optional
        Noises above the prediction at which a sample is a transient. Those are replaced by the prediction, and weights
        are fitted once more; without it there is one fit of all samples.
    noise : numpy.ndarray, optional
        ``(height, width)`` of each block's trace; needed with ``limit``.

    Returns
    -------
    RingWeights
        With ``limit``, means and explained shares are those of the samples after the replacement.

    Raises
    ------
    InputError
        Shapes or types do not fit, or ``limit`` comes without ``noise``.
    """
    counted, around = np.asarray(to_host(inside), bool), np.unique(np.asarray(offsets, np.int64).reshape(-1, 2), axis=0)
    _check(blocks, counted, around, limit, noise)
    fit = _Fit(blocks, counted, around, ridge)
    found = fit.run(lambda first, end: blocks[first:end])
    if limit is not None:
        above = np.where(counted, limit * to_host(noise), np.inf).astype(np.float32).ravel()
        found = fit.run(_Rolling(fit.xp, _Prediction(found, blocks, (0, blocks.shape[2]), above)))
    return found


def ring_background(weights: RingWeights, blocks: Any, frames: slice = slice(None)) -> Any:
    """Tell every block from those around it: its mean plus the weighted deviations of the others from theirs.

    Parameters
    ----------
    weights : RingWeights
        Of this movie.
    blocks : array
        ``(height, width, n_frames)`` float32, C order, NumPy or CuPy.
    frames : slice, optional
        Which frames, all by default; without a step.

    Returns
    -------
    array
        ``(height, width, n)`` float32, where ``blocks`` are.

    Raises
    ------
    InputError
        Weights and movie do not fit.
    """
    height, width, n_frames = blocks.shape
    begin, end, step = frames.indices(n_frames)
    if weights.weights.shape != (height * width,) * 2 or step != 1:
        raise InputError(f"weights {weights.weights.shape}, blocks {blocks.shape} and frames {frames} do not fit")
    return _Prediction(weights, blocks, (begin, max(end - begin, 0)), np.zeros(0, np.float32))(0, height)


def _check(blocks: Any, inside: Any, offsets: Any, limit: float | None, noise: Any) -> None:
    if blocks.ndim != 3 or blocks.dtype != np.float32 or not blocks.flags.c_contiguous:
        raise InputError(
            f"blocks are {blocks.dtype} {blocks.shape}, C order: {blocks.flags.c_contiguous}",
            "(height, width, n_frames) float32 in C order is wanted",
        )
    if inside.shape != blocks.shape[:2]:
        raise InputError(f"inside is {inside.shape}; blocks are {blocks.shape}")
    if (offsets == 0).all(axis=1).any():
        raise InputError("a block is on its own ring", "take (0, 0) out of the offsets")
    if limit is not None and (noise is None or noise.shape != inside.shape):
        raise InputError("limit counts noises, and noise does not say them for every block")


class _Fit:
    """The geometry of rings and tiles, and the passes over the movie that fit weights."""

    def __init__(self, blocks: Any, inside: NDArray[np.bool_], offsets: NDArray[np.int64], ridge: float) -> None:
        self.xp, self.shape, self.inside, self.ridge = namespace_of(blocks), blocks.shape, inside, ridge
        height, width, _ = self.shape
        self.reach = int(np.abs(offsets).max(initial=0))
        self.near = min(2 * self.reach, max(height - 1, 0)), min(2 * self.reach, max(width - 1, 0))
        self.n_tiles = -(-width // TILE_COLUMNS)
        self.tile_width = -(-width // max(self.n_tiles, 1))
        self.window = TILE_ROWS + self.near[0], self.tile_width + 2 * self.near[1]
        self.n_tile_rows = -(-height // TILE_ROWS)
        self.n_held = min(-(-2 * self.reach // TILE_ROWS) + 1, self.n_tile_rows)
        self.start, self.columns = _neighbours(inside, offsets)
        self.widest = int(np.diff(self.start).max(initial=0))
        send, (lead, follow) = self.xp.asarray, self._places()
        self.lists = send(lead), send(follow), send(self.start), send(self.columns)

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return numbers whose sum, of a block and one not above it, is where their product lies."""
        height, width, _ = self.shape
        y, x = np.mgrid[:height, :width]
        tile_row, tile = y // TILE_ROWS, x // max(self.tile_width, 1)
        top, left = TILE_ROWS * tile_row, self.tile_width * tile - self.near[1]
        n_rows, n_columns = self.window
        own = ((tile_row % max(self.n_held, 1)) * self.n_tiles + tile) * TILE_ROWS + y - top
        own = own * self.tile_width + x - self.tile_width * tile
        lead = own * n_rows * n_columns - top * n_columns - left
        return lead.ravel().astype(np.int64), (y * n_columns + x).ravel().astype(np.int64)

    def run(self, rows: _Rows) -> RingWeights:
        """Go down the image: products of a row of tiles, then the rings that have all of theirs."""
        xp, (height, width, _) = self.xp, self.shape
        sums = xp.empty((self.n_held, self.n_tiles, TILE_ROWS * self.tile_width, *self.window))
        means, weights = xp.zeros((height, width)), xp.zeros(len(self.columns), np.float32)
        explained = xp.zeros(height * width, np.float32)
        known = done = 0
        for k in range(self.n_tile_rows):
            top, bottom = TILE_ROWS * k, min(TILE_ROWS * (k + 1) + self.near[0], height)
            seen = rows(top, bottom)
            means[known:bottom] = _means(xp, seen[known - top :])
            known = bottom
            if self.widest == 0:
                continue  # only the means are asked for
            self._multiply(seen, means[top:bottom], self.inside[top:bottom], sums[k % self.n_held])
            ready = height if k == self.n_tile_rows - 1 else max(TILE_ROWS * (k + 1) - self.reach, 0)
            self._solve(sums.reshape(-1), weights, explained, done * width, ready * width)
            done = ready
        return RingWeights(
            sparse.csr_array((to_host(weights), self.columns, self.start), shape=(height * width,) * 2),
            to_host(explained), to_host(means).ravel().astype(np.float32),
        )  # fmt: skip

    def _multiply(self, rows: Any, means: Any, inside: NDArray[np.bool_], out: Any) -> None:
        if self.xp is np:
            _multiply_tiles(rows, means, inside, self.near[1], (TILE_ROWS, self.tile_width), out)
        else:
            multiply_tiles(rows, means, inside, self.near[1], (TILE_ROWS, self.tile_width), out)

    def _solve(self, sums: Any, weights: Any, explained: Any, begin: int, end: int) -> None:
        arguments = sums, *self.lists, self.widest, float(self.ridge), weights, explained
        if self.xp is np:
            each_share(end - begin, lambda first, last: _solve_rings(*arguments, begin + first, begin + last))
        else:
            solve_rings(sums, self.lists, self.widest, self.ridge, DEPENDENT, weights, explained, begin, end)


class _Rolling:
    """Rows that are made when they are first asked for and kept while they are asked for again."""

    def __init__(self, xp: Any, make: _Rows) -> None:
        self.xp, self.make, self.first = xp, make, 0
        self.held: Any = None

    def __call__(self, first: int, end: int) -> Any:
        if self.held is None:
            self.held = self.make(first, end)
        else:
            fresh = self.make(self.first + len(self.held), end)
            self.held = self.xp.concatenate([self.held[first - self.first :], fresh])
        self.first = first
        return self.held


def _neighbours(inside: NDArray[np.bool_], offsets: NDArray[np.int64]) -> tuple[Index, Index]:
    """Return where each block's neighbours begin, and their numbers, in order; a block that does not count has none."""
    height, width = inside.shape
    x = np.arange(width)[:, None] + offsets[:, 1]
    near, counts, columns = (x >= 0) & (x < width), [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    for row in range(height):
        y = row + offsets[:, 0]
        there = near & (y >= 0) & (y < height) & inside[row][:, None]
        there &= inside[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        counts.append(there.sum(axis=1))
        columns.append((y * width + x)[there].astype(np.int32))
    return np.cumsum(np.concatenate(counts)).astype(np.int32), np.concatenate(columns)


def _means(xp: Any, rows: Any) -> Any:
    with np.errstate(invalid="ignore", over="ignore"):  # of what does not count
        found = rows.mean(axis=2, dtype=np.float64) if rows.shape[2] else xp.zeros(rows.shape[:2])
    return xp.where(xp.isfinite(found), found, 0.0)


def _multiply_tiles(
    rows: Float32, means: Float64, inside: NDArray[np.bool_], near: int, own_size: tuple[int, int], out: Float64
) -> None:
    """Multiply each tile in the first of some rows of blocks with all that is near it, below or beside."""
    (n_rows, width, n_frames), (high, wide) = rows.shape, own_size
    targets = out.reshape(len(out), high, wide, *out.shape[2:])
    space = np.empty(n_rows * out.shape[3] * FRAMES)
    for tile, target in enumerate(targets):
        x = tile * wide
        columns = slice(max(x - near, 0), min(x + wide + near, width))
        own = slice(0, high), slice(x - columns.start, x - columns.start + wide)
        if not inside[:, columns][own].any():
            continue
        n_own = min(high, n_rows), min(wide, width - x)
        total: Any = np.zeros((n_own[0] * n_own[1], n_rows * (columns.stop - columns.start)))
        for t in range(0, n_frames, FRAMES):
            part = rows[:, columns, t : t + FRAMES]
            part = np.subtract(part, means[:, columns, None], out=space[: part.size].reshape(part.shape))
            part[~inside[:, columns]] = 0
            total += part[own].reshape(-1, part.shape[2]) @ part.reshape(-1, part.shape[2]).T
        at = columns.start - x + near
        target[: n_own[0], : n_own[1], :n_rows, at : at + columns.stop - columns.start] = np.reshape(
            total, (*n_own, n_rows, -1)
        )


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath={"nsz", "contract"})
def _solve_rings(sums, lead, follow, start, columns, widest, ridge, weights, explained, begin, end):  # type: ignore[no-untyped-def]
    left = np.empty((widest, widest + 1))  # the upper half; the last column is the right-hand side
    wanted, total, inverse = np.empty(widest), np.empty(widest), np.empty(widest)
    for i in range(begin, end):
        first, n = start[i], start[i + 1] - start[i]
        shift = 0.0
        for a in range(n):
            row, p = left[a], columns[first + a]
            for b in range(a, n):
                row[b] = sums[lead[p] + follow[columns[first + b]]]
            row[n] = wanted[a] = sums[lead[min(i, p)] + follow[max(i, p)]]
            shift += ridge * row[a]
        for a in range(n):
            left[a, a] += shift
            total[a] = left[a, a]
        for k in range(n):
            row = left[k]
            inverse[k] = 1 / row[k] if row[k] > DEPENDENT * total[k] else 0.0
            for a in range(k + 1, n):
                below, share = left[a], row[a] * inverse[k]
                for j in range(a, n + 1):
                    below[j] -= share * row[j]
        gain = 0.0
        for k in range(n - 1, -1, -1):
            weight = left[k, n]
            for j in range(k + 1, n):
                weight -= left[k, j] * left[j, n]
            left[k, n] = weight = weight * inverse[k]
            weights[first + k] = weight
            gain += weight * (wanted[k] + shift * weight)
        energy = sums[lead[i] + follow[i]]
        explained[i] = gain / energy if n > 0 and energy > 0 else 0.0


@numba.njit(cache=True, error_model="numpy", nogil=True, fastmath={"nsz", "contract"})
def _predict(movie, start, columns, weights, means, above, t0, first, out, begin, end):  # type: ignore[no-untyped-def]
    n_frames = out.shape[1]
    for k in range(begin, end):
        i, line = first + k, out[k]
        own = movie[i, t0 : t0 + n_frames]
        for t in range(n_frames):
            line[t] = means[i]
        for e in range(start[i], start[i + 1]):
            other, weight, mean = movie[columns[e], t0 : t0 + n_frames], weights[e], means[columns[e]]
            for t in range(n_frames):
                line[t] += weight * (other[t] - mean)
        if len(above) > 0:
            for t in range(n_frames):
                line[t] = line[t] if own[t] - line[t] > above[i] else own[t]


class _Prediction:
    """Prediction of some rows, or where ``above`` has numbers, the samples that are not so far above it."""

    def __init__(self, weights: RingWeights, blocks: Any, frames: tuple[int, int], above: Float32) -> None:
        self.xp, self.width, self.first_frame, self.n_out = namespace_of(blocks), blocks.shape[1], frames[0], frames[1]
        csr, to_side = weights.weights, self.xp.asarray
        self.movie = blocks.reshape(-1, blocks.shape[2]) if blocks.size else blocks.reshape(csr.shape[0], 0)
        self.csr = to_side(csr.indptr, np.int32), to_side(csr.indices, np.int32), to_side(csr.data, np.float32)
        self.means, self.above = to_side(weights.means, np.float32), to_side(above)

    def __call__(self, first: int, end: int) -> Any:
        out = self.xp.empty(((end - first) * self.width, self.n_out), np.float32)
        arguments = self.means, self.above, self.first_frame, first * self.width, out
        if self.xp is np:
            each_share(len(out), lambda begin, stop: _predict(self.movie, *self.csr, *arguments, begin, stop))
        else:
            predict_blocks(self.movie, self.csr, *arguments)
        return out.reshape(end - first, self.width, self.n_out)
