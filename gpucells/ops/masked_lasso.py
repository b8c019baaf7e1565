r"""The spatial update of CNMF: a small bounded lasso in every pixel, over the traces that may have light there.

For a pixel with trace :math:`y` and the allowed regressors :math:`S` (rows :math:`c_k` of the traces)

.. math:: \min_w \tfrac12 \lVert y - \sum_{k \in S} w_k c_k \rVert^2 + \lambda \sum_k \alpha_k w_k, \qquad w_k \ge l_k,

which needs the movie only through :math:`u_k = c_k \cdot y` (`frame_products.accumulate`) and :math:`V = C C^\top`:

.. math:: \min_w \tfrac12 w^\top V w - u^\top w + \lambda\, \alpha^\top w .

Solved by cyclic coordinate descent, exact for each coefficient in turn. It stops when in a sweep no coefficient moved
by more than ``tolerance`` times the pixel's largest :math:`u_k / \lVert c_k \rVert`, movements in units of
:math:`w_k \lVert c_k \rVert`: the step of a coefficient is its violation of the optimality conditions in units of the
answer, and the scale is the most that one regressor alone explains of the pixel.

`sklearn`'s ``LassoLars(alpha, positive=True, fit_intercept=False)`` minimises
:math:`\lVert y - Xw \rVert^2 / (2T) + a \sum w`, so that :math:`\lambda = T a`; with CaImAn's standardised regressors
(Pnevmatikakis et al. 2016 as implemented there) that is :math:`\lambda = \tfrac12 \sigma_p \max_k \lVert c_k \rVert`.

Products on a GPU go to ``kernels/masked_lasso.cu``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import InputError
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TOLERANCE = 1e-9  # regressors of correlation .99 then agree to 1e-6; 1e-7 leaves 1e-5 of them
MOST_SWEEPS = 10_000  # ends what the tolerance does not: regressors that are multiples of each other
WARPS, SIDE = 4, 32  # of the CUDA kernel: pixels a block, and most regressors whose Gram matrix shared memory holds

MASKED_LASSO = Kernel(
    "masked_lasso.cu",
    "masked_lasso",
    (
        Array("start", "int64", ("n_starts",)), Array("regressors", "int32", ("n_entries",)),
        Array("entries", "int64", ("n_entries",)), Scalar("n_pixels"),
        Array("dense", "float64", ("n_dense", "n_dense")), Scalar("n_dense"),
        Array("gram_start", "int64", ("n_gram_starts",)), Array("gram_columns", "int32", ("n_pairs",)),
        Array("gram", "float64", ("n_pairs",)), Array("products", "float64", ("n_entries",)),
        Array("penalty", "float64", ("n_pixels",)), Array("weight", "float64", ("n_regressors",)),
        Array("lower", "float64", ("n_regressors",)), Array("stays", "int32", ("n_regressors",)),
        Scalar("tolerance", "float64"), Scalar("n_sweeps"), Scalar("prune"),
        Array("energy", "float64", ("n_pixels",)), Array("limit", "float64", ("n_pixels",)),
        Array("scratch_start", "int64", ("n_pixels",)), Array("scratch", "float64", ("n_scratch",), written=True),
        Array("out", "float64", ("n_entries",), written=True),
    ),
    threads=32 * WARPS, registers=96, defines=(Define("WARPS", (WARPS,)), Define("SIDE", (SIDE,))),
)  # fmt: skip


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _pair(i, j, dense, start, columns, values):  # type: ignore[no-untyped-def]
    if len(dense) > 0:
        return dense[i, j]
    low, high = start[i], start[i + 1]
    while low < high:
        middle = (low + high) // 2
        if columns[middle] < j:
            low = middle + 1
        else:
            high = middle
    return values[low] if low < start[i + 1] and columns[low] == j else 0.0


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _descend(n, v, w, gradient, inverse, lower, stop, n_sweeps):  # type: ignore[no-untyped-def]
    """Sweep until the largest squared movement is at most ``stop``; a coefficient whose ``inverse`` is 0 stays."""
    for _ in range(n_sweeps):
        moved = 0.0
        for k in range(n):
            new = max(lower[k], w[k] - gradient[k] * inverse[k])
            step = new - w[k]
            if step != 0.0:
                w[k] = new
                for j in range(n):
                    gradient[j] += step * v[k, j]
                moved = max(moved, step * step * v[k, k])
        if moved <= stop:
            break


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _rest(n, energy, u, w, gradient):  # type: ignore[no-untyped-def]
    """Return the residual sum of squares: ``y'y - 2 u'w + w'Vw`` with ``gradient = Vw - u``."""
    rest = energy
    for k in range(n):
        rest += w[k] * (gradient[k] - u[k])
    return rest


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _prune(n, v, u, w, gradient, inverse, lower, stays, stop, n_sweeps, energy, limit, trial):  # type: ignore[no-untyped-def]
    """Take away, again and again, what is missed least, while the residual's energy stays below the limit."""
    while True:
        best, least = -1, limit
        for k in range(n):
            if stays[k] or inverse[k] == 0.0 or w[k] == 0.0:
                continue
            _without(k, n, v, w, gradient, inverse, lower, stop, n_sweeps, trial)
            rest = _rest(n, energy, u, trial[0], trial[1])
            if rest < least:
                best, least = k, rest
        if best < 0:
            return
        _without(best, n, v, w, gradient, inverse, lower, stop, n_sweeps, trial)
        inverse[best] = 0.0
        for j in range(n):
            w[j], gradient[j] = trial[0, j], trial[1, j]


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _without(k, n, v, w, gradient, inverse, lower, stop, n_sweeps, trial):  # type: ignore[no-untyped-def]
    for j in range(n):
        trial[0, j], trial[1, j], trial[2, j] = w[j], gradient[j] - w[k] * v[k, j], inverse[j]
    trial[0, k] = trial[2, k] = 0.0
    _descend(n, v, trial[0], trial[1], trial[2], lower, stop, n_sweeps)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _solve_pixels(  # type: ignore[no-untyped-def]
    support, gram, products, penalty, of_regressor, tolerance, n_sweeps, prune, rss, out, most, begin, end
):
    start, regressors, entries = support
    weight, least, stays = of_regressor
    v, state, trial, kept = np.empty((most, most)), np.empty((5, most)), np.empty((3, most)), np.empty(most, np.int32)
    w, gradient, inverse, lower, u = state[0], state[1], state[2], state[3], state[4]
    for p in range(begin, end):
        first, n = start[p], start[p + 1] - start[p]
        size, finite = 0.0, True
        for i in range(n):
            k, e = regressors[first + i], entries[first + i]
            for j in range(i, n):
                v[i, j] = v[j, i] = _pair(k, regressors[first + j], *gram)
            u[i], lower[i], kept[i] = products[e], least[k], stays[k]
            w[i], inverse[i] = max(out[e], least[k]), 0.0
            if v[i, i] > 0.0:
                inverse[i] = 1.0 / v[i, i]
                size = max(size, u[i] * u[i] * inverse[i])
            else:
                w[i] = max(0.0, least[k])
            gradient[i] = penalty[p] * weight[k] - u[i]
            finite &= np.isfinite(gradient[i])
        for i in range(n):
            for j in range(n):
                gradient[i] += v[i, j] * w[j]
        stop = tolerance * abs(tolerance) * size  # below 0: never
        if finite:
            _descend(n, v, w, gradient, inverse, lower, stop, n_sweeps)
            if prune:
                _prune(n, v, u, w, gradient, inverse, lower, kept, stop, n_sweeps, rss[0][p], rss[1][p], trial)
        for i in range(n):
            out[entries[first + i]] = w[i] if finite else 0.0


def _by_pixel(indptr: Any, pixels: Any, n_pixels: int) -> tuple[NDArray[Any], ...]:
    """Return where each pixel's entries begin, of each its regressor, and its number in the order of the regressors."""
    shape = (len(indptr) - 1, n_pixels)
    numbers = np.arange(len(pixels), dtype=np.int64)
    turned = sparse.csr_array((numbers, np.asarray(pixels), np.asarray(indptr)), shape=shape).tocsc()
    return turned.indptr.astype(np.int64), turned.indices.astype(np.int32), turned.data


def _as_gram(gram: Any, n_regressors: int) -> tuple[NDArray[Any], ...]:
    """Return a Gram matrix as a dense array, empty where it is sparse, and as CSR, empty where it is dense."""
    if gram.shape != (n_regressors, n_regressors):
        raise InputError(f"gram has shape {gram.shape}, the support {n_regressors} regressors")
    if sparse.issparse(gram):
        rows = sparse.csr_array(gram, copy=True)
        rows.sum_duplicates()
        return (
            np.empty((0, 0)), rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.astype(np.float64)
        )  # fmt: skip
    nothing = np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0)
    return np.ascontiguousarray(gram, np.float64), *nothing


def _filled(values: ArrayLike | None, default: float, n: int, name: str) -> Float64:
    """Return one number for each of ``n`` things."""
    filled = np.full(n, default) if values is None else np.array(values, np.float64)
    if filled.shape != (n,):
        raise InputError(f"{name} has shape {filled.shape}; ({n},) is wanted")
    return filled


def masked_lasso(
    products: Any, gram: Any, penalty: ArrayLike, indptr: Any, pixels: Any, *, start: ArrayLike | None = None,
    lower: ArrayLike | None = None, weight: ArrayLike | None = None, tolerance: float = TOLERANCE,
    n_sweeps: int | None = None,
) -> Float32:  # fmt: skip
    """Solve the lasso of every pixel.

    Parameters
    ----------
    products : numpy.ndarray
        ``(n_entries,)`` ``u``: trace of an entry's regressor times its pixel. Its device picks the body.
    gram : numpy.ndarray or scipy.sparse array
        ``(n_regressors, n_regressors)`` ``V``, symmetric. A sparse one needs the pairs that share a pixel; what it
        lacks is 0.
    penalty : numpy.ndarray
        ``(n_pixels,)`` lambda, in units of ``products``.
    indptr, pixels : numpy.ndarray
        ``(n_regressors + 1,)`` and ``(n_entries,)``: which pixels each regressor may have, as in a CSR matrix. An image
        of the background is a row with all pixels.
    start : numpy.ndarray, optional
        ``(n_entries,)`` where to begin; 0 if not given.
    lower : numpy.ndarray, optional
        ``(n_regressors,)`` least coefficient: 0 (default) or ``-inf``.
    weight : numpy.ndarray, optional
        ``(n_regressors,)`` share of the penalty that a regressor pays; 1 if not given, 0 for a background.
    tolerance : float
        Largest movement in the last sweep, as a share of what one regressor alone explains of the pixel.
    n_sweeps : int, optional
        Exactly so many sweeps, whatever the tolerance: with a penalty of 0 the spatial sweeps of HALS.

    Returns
    -------
    numpy.ndarray
        ``(n_entries,)`` float32 coefficients. 0 in a pixel one of whose products or whose penalty is not finite; 0 of a
        regressor whose trace is 0.

    Raises
    ------
    InputError
        Sizes do not fit each other.
    """
    rule = (tolerance, MOST_SWEEPS) if n_sweeps is None else (-1.0, n_sweeps)
    return _solve(products, gram, penalty, indptr, pixels, start, lower, weight, rule, None)


def nnls_l0(
    products: Any, gram: Any, energy: ArrayLike, limit: ArrayLike, indptr: Any, pixels: Any, *,
    start: ArrayLike | None = None, lower: ArrayLike | None = None, removable: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
) -> Float32:  # fmt: skip
    """Solve non-negative least squares in every pixel with as few regressors as its noise allows.

    From the solution with all of them, the one whose removal leaves the least residual, with the others fitted again,
    is taken away as long as the residual's sum of squares stays below the limit. It comes from the products:
    ``y'y - 2 u'w + w'Vw``.

    Parameters
    ----------
    products, gram, indptr, pixels, start, lower, tolerance
        As those of `masked_lasso`.
    energy : numpy.ndarray
        ``(n_pixels,)`` ``y'y``, in double precision: the residual is a small difference of large numbers.
    limit : numpy.ndarray
        ``(n_pixels,)`` most residual sum of squares; ``1.2 noise_std**2 n_frames`` in CaImAn.
    removable : numpy.ndarray, optional
        ``(n_regressors,)`` bool; all if not given. A background is not.

    Returns
    -------
    numpy.ndarray
        ``(n_entries,)`` float32 coefficients.
    """
    n_pixels = np.shape(energy)[0]
    removed = np.ones(len(indptr) - 1, bool) if removable is None else np.asarray(removable, bool)
    rss = np.array(energy, np.float64), _filled(limit, 0.0, n_pixels, "limit"), (~removed).astype(np.int32)
    zeros, rule = np.zeros(n_pixels), (tolerance, MOST_SWEEPS)
    return _solve(products, gram, zeros, indptr, pixels, start, lower, None, rule, rss)


def _solve(
    products: Any, gram: Any, penalty: ArrayLike, indptr: Any, pixels: Any, start: ArrayLike | None,
    lower: ArrayLike | None, weight: ArrayLike | None, rule: tuple[float, int], rss: tuple[Any, Any, Any] | None,
) -> Float32:  # fmt: skip
    starts, places = to_host(indptr), to_host(pixels)
    n_regressors, n_entries, n_pixels = len(starts) - 1, len(places), np.shape(penalty)[0]
    if products.shape != (n_entries,) or n_entries != starts[-1]:
        raise InputError(f"{products.shape} products for {n_entries} entries, of which the support has {starts[-1]}")
    support, pairs = _by_pixel(starts, places, n_pixels), _as_gram(gram, n_regressors)
    paid, least = _filled(weight, 1.0, n_regressors, "weight"), _filled(lower, 0.0, n_regressors, "lower")
    out = _filled(start, 0.0, n_entries, "start")
    energy, limit, stays = (np.zeros(n_pixels), np.zeros(n_pixels), np.zeros(n_regressors, np.int32))
    if rss is not None:
        energy, limit, stays = rss
    arguments = (
        support, pairs, np.array(penalty, np.float64), (paid, least, stays), *rule, rss is not None, (energy, limit)
    )  # fmt: skip
    if is_cupy_array(products):
        return _solve_cuda(products, out, *arguments)
    most = int(np.diff(support[0]).max(initial=0))
    u = np.ascontiguousarray(products, np.float64)
    each_share(n_pixels, lambda begin, end: _solve_pixels(
        *arguments[:2], u, *arguments[2:], out, most, begin, end
    ))  # fmt: skip
    return out.astype(np.float32)


def _solve_cuda(
    products: Any, out: Float64, support: Any, pairs: Any, penalty: Float64, of_regressor: Any, tolerance: float,
    n_sweeps: int, prune: bool, rss: tuple[Float64, Float64],
) -> Float32:  # fmt: skip
    xp = namespace_of(products)
    sizes = np.diff(support[0])
    doubles = np.where(sizes > SIDE, sizes * (sizes + 8), 0)  # what shared memory does not hold
    scratch_start = np.cumsum(doubles) - doubles
    sent = [xp.asarray(array) for array in (*support, *pairs, penalty, *of_regressor, *rss, scratch_start, out)]
    result = sent[-1]
    MASKED_LASSO.launch(
        (-(-len(penalty) // WARPS),), (32, WARPS), start=sent[0], regressors=sent[1], entries=sent[2], dense=sent[3],
        gram_start=sent[4], gram_columns=sent[5], gram=sent[6], products=xp.asarray(products, np.float64),
        penalty=sent[7], weight=sent[8], lower=sent[9], stays=sent[10], tolerance=tolerance, n_sweeps=n_sweeps,
        prune=int(prune), energy=sent[11], limit=sent[12], scratch_start=sent[13],
        scratch=xp.empty(int(doubles.sum()), np.float64), out=result,
    )  # fmt: skip
    return to_host(result).astype(np.float32)
