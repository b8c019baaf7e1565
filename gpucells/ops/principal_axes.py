r"""Principal axes of samples: directions of largest variance of the rows of a matrix about their mean.

With :math:`X` (n_samples, n_features) about the features' means, :math:`X = U S V^T`; wanted are the leading rows of
:math:`V^T`. (:mod:`gpucells.ops.pca` is for movies, and takes the frames' means out as well.) Three ways:

- the smaller of :math:`X^T X` and :math:`X X^T`: half of :math:`2 n m \min(n, m)` operations, since BLAS makes one
  triangle of it, and its leading eigenvectors;
- where few of many axes are wanted, block Krylov iteration (Musco & Musco 2015) on :math:`X^T X`, which is not made:
  each reading of the matrix multiplies a block of directions, new directions are orthonormalised against all before,
  and Rayleigh and Ritz find the axes in the span of all. A span holds what as many power iterations (Halko, Martinsson
  & Tropp 2011) end in, and more: on noise without any gap 5 readings here found more variance than scikit-learn's 7
  iterations, which read 16 times (tests/agreement);
- the singular value decomposition itself, for small values beside large ones.

Products square singular values: what they say of an axis whose variance is a share r of the largest is right to about
eps / r. Below a trusted share they are made again in float64, and then left to the decomposition.

The matrix is read by blocks of rows, each about a first guess of the mean; the rest of the mean is taken out of the
sums of products, where it is small. No centred copy is made. CuPy arrays stay on their device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError, SettingsError
from gpucells.ops.nmf_rows import float_type, row_blocks

Float64 = NDArray[np.float64]
Way = Literal["exact", "fast"]

READINGS = 5  # of a Krylov iteration: see above
MORE = 10  # directions of a block beyond the axes that are wanted (Halko et al., section 4.2)
GUESSED = 256  # rows whose mean is the first guess
TRUSTED = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-11}  # share of the largest variance: see above
SMALL = 1e9  # operations that the decomposition may take where another way was asked for
COLUMNS_BYTES = 2**25  # of a block of columns, where there are fewer samples than features


@dataclass(frozen=True)
class PrincipalAxes:
    """The leading axes.

    Parameters
    ----------
    axes : array
        ``(n_axes, n_features)`` with orthonormal rows, float32, or float64 where the matrix is; beside the matrix.
        The largest entry of each is positive.
    singular_values : numpy.ndarray
        ``(n_axes,)`` float64, the largest first: roots of the sums of squares along the axes.
    mean : array
        ``(n_features,)`` of the type of ``axes``.
    sum_of_squares : float
        Of all samples about the mean.
    """

    axes: Any
    singular_values: Float64
    mean: Any
    sum_of_squares: float


def principal_axes(
    x: Any, n_axes: int, *, way: Way = "exact", precise: bool = True, readings: int = READINGS, more: int = MORE,
    seed: int | np.random.RandomState = 0,
) -> PrincipalAxes:  # fmt: skip
    """Find the principal axes of samples.

    Parameters
    ----------
    x : array
        ``(n_samples, n_features)`` finite, of any real type; NumPy or CuPy. Never copied as a whole, but where it is
        left to the singular value decomposition.
    n_axes : int
        At most ``min(n_samples, n_features)``.
    way : {"exact", "fast"}
        ``"fast"`` may take Krylov iterations where these are fewer operations.
    precise : bool
        Whether axes of little variance are found again in a better way (see the module); otherwise products in the
        matrix' own type are good enough.
    readings, more : int
        Of the Krylov iteration: readings of the matrix, and directions of a block beyond ``n_axes``.
    seed : int or numpy.random.RandomState
        Of its first directions.

    Raises
    ------
    InputError
        The matrix has no samples or features, or not two axes.
    SettingsError
        More axes than there are.
    """
    if x.ndim != 2 or min(x.shape) == 0:
        raise InputError(f"a matrix of shape {x.shape} has no principal axes", "give (n_samples, n_features)")
    if not 0 <= n_axes <= min(x.shape):
        raise SettingsError(f"{n_axes} axes of a matrix of shape {x.shape}", "at most the smaller of its sides")
    n, m = x.shape
    few, width = min(n, m), min(n_axes + more, n, m)
    iterated = way == "fast" and readings * width < few
    iterated = iterated and 4 * readings * width * n * m < n * m * few + 9 * few**3
    own = np.dtype(float_type(x))
    precise = precise or n < m  # that way divides by the singular values
    rng = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    for dtype in sorted({own, np.dtype(np.float64)}, key=lambda kind: kind.itemsize):
        if iterated:
            found = _krylov(x, n_axes, width, readings, dtype, rng)
        else:
            found = _by_features(x, n_axes, dtype) if n >= m else _by_samples(x, n_axes, dtype)
        if not precise or _share(found) >= TRUSTED[dtype]:
            return found
    return found if way == "fast" and float(n) * m * few > SMALL else _decomposed(x, n_axes)


def onto_axes(x: Any, mean: Any, axes: Any) -> Any:
    """Return the coordinates of samples, ``(x - mean) @ axes.T``, reading the matrix by blocks.

    Parameters
    ----------
    x : array
        ``(n_samples, n_features)``, NumPy or CuPy.
    mean : array or None
        ``(n_features,)`` beside it; None for 0.
    axes : array
        ``(n_axes, n_features)`` beside it.
    """
    xp, dtype = namespace_of(x), np.promote_types(float_type(x), axes.dtype)
    out = xp.empty((x.shape[0], len(axes)), dtype)
    across = xp.ascontiguousarray(axes.T)
    for rows, block in row_blocks(x, only_products=mean is None):
        out[rows] = (block if mean is None else block - mean) @ across
    return out


def _share(found: PrincipalAxes) -> float:
    """Return the smallest variance as a share of the largest."""
    values = found.singular_values
    return float((values[-1] / values[0]) ** 2) if len(values) and values[0] > 0 else float(not len(values))


class _Products:
    """Sums over samples about a guess of their mean, and what is to be taken off them once the mean is known."""

    def __init__(self, x: Any, dtype: np.dtype[Any]) -> None:
        self.x, self.dtype, self.xp = x, dtype, namespace_of(x)
        some = x[:: max(1, x.shape[0] // GUESSED)][:GUESSED]
        self.guess = some.mean(axis=0, dtype=np.float64).astype(dtype)
        self.squares = 0.0

    def blocks(self) -> Iterator[Any]:
        for _, block in row_blocks(self.x):
            yield block.astype(self.dtype, copy=False) - self.guess

    def times(self, directions: Any = None) -> Any:
        """Return ``X' X``, or ``X' X`` times directions ``(n_features, n)``, float64."""
        xp, m, n = self.xp, self.x.shape[1], self.x.shape[0]
        right = None if directions is None else directions.astype(self.dtype)
        total = xp.zeros((m, m if right is None else right.shape[1]))
        sums, squares, first = xp.zeros(m), xp.zeros(()), self.squares == 0.0
        for block in self.blocks():
            total += block.T @ (block if right is None else block @ right)
            sums += block.sum(axis=0)  # of 32 MiB of small numbers: float32 holds them
            if right is not None and first:
                squares += xp.einsum("ij,ij->i", block, block).sum(dtype=np.float64)
        left = sums if directions is None else sums @ directions
        total -= xp.outer(sums, left / n)
        self.mean = self.guess + sums / n
        if right is None:
            self.squares = float(xp.trace(total))
        elif first:
            self.squares = max(0.0, float(squares) - float(sums @ sums) / n)
        return total


def _by_features(x: Any, k: int, dtype: np.dtype[Any]) -> PrincipalAxes:
    products = _Products(x, dtype)
    values, vectors = _leading(products.times(), k)
    return _found(x, vectors.T, values, products.mean, products.squares)


def _by_samples(x: Any, k: int, dtype: np.dtype[Any]) -> PrincipalAxes:
    xp, (n, m) = namespace_of(x), x.shape
    step = max(1, COLUMNS_BYTES // (dtype.itemsize * n))
    mean, gram, axes = xp.empty(m), xp.zeros((n, n)), xp.empty((k, m), dtype)
    columns = [slice(first, min(first + step, m)) for first in range(0, m, step)]
    for some in columns:
        block = x[:, some].astype(dtype)
        mean[some] = block.mean(axis=0, dtype=np.float64)
        block -= mean[some].astype(dtype)
        gram += block @ block.T
    values, vectors = _leading(gram, k)
    least = 1e-20 * values[0] if k and values[0] > 0 else 1.0  # what is below was not found this way
    size = xp.asarray(np.sqrt(np.maximum(values, least)))
    onto = xp.ascontiguousarray((vectors / size).T).astype(dtype)
    for some in columns:
        axes[:, some] = onto @ (x[:, some].astype(dtype) - mean[some].astype(dtype))
    return _found(x, axes, values, mean, float(xp.trace(gram)))


def _krylov(
    x: Any, k: int, width: int, readings: int, dtype: np.dtype[Any], rng: np.random.RandomState
) -> PrincipalAxes:
    xp, products = namespace_of(x), _Products(x, dtype)
    fresh = xp.linalg.qr(xp.asarray(rng.normal(size=(x.shape[1], width))))[0]
    span, images = fresh, None
    for reading in range(readings):
        image = products.times(fresh)
        images = image if images is None else xp.concatenate([images, image], axis=1)
        if reading == readings - 1:
            break
        for _ in range(2):  # once more for what rounding has left (Giraud et al. 2005: twice is enough)
            image = xp.linalg.qr(image - span @ (span.T @ image))[0]
        fresh = image
        span = xp.concatenate([span, fresh], axis=1)
    small = span.T @ images
    values, vectors = _leading((small + small.T) / 2, k)
    return _found(x, (span @ vectors).T, values, products.mean, products.squares)


def _decomposed(x: Any, k: int) -> PrincipalAxes:
    xp, dtype = namespace_of(x), float_type(x)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x.astype(dtype) - mean.astype(dtype)
    if xp is np:
        _, values, axes = linalg.svd(centred, full_matrices=False, overwrite_a=True, check_finite=False)
    else:
        _, values, axes = xp.linalg.svd(centred, full_matrices=False)
    squares = np.asarray(to_host(values), np.float64) ** 2
    return _found(x, axes[:k], squares[:k], mean, float(squares.sum()))


def _leading(gram: Any, k: int) -> tuple[Float64, Any]:
    """Return the largest eigenvalues, on the host, and their vectors ``(n, k)``, beside the matrix."""
    xp, n = namespace_of(gram), len(gram)
    if k == 0:
        return np.zeros(0), xp.zeros((n, 0))
    if xp is np:
        some = (n - k, n - 1) if 2 * k < n else None
        values, vectors = linalg.eigh(gram, subset_by_index=some, overwrite_a=True, check_finite=False)
    else:
        values, vectors = xp.linalg.eigh(gram)
    return np.maximum(to_host(values)[::-1][:k], 0), vectors[:, ::-1][:, :k]


def _found(x: Any, axes: Any, squares: Float64, mean: Any, total: float) -> PrincipalAxes:
    xp, dtype = namespace_of(x), float_type(x)
    if len(axes):
        largest = xp.take_along_axis(axes, xp.abs(axes).argmax(axis=1)[:, None], axis=1)
        axes = xp.where(largest < 0, -axes, axes)
    return PrincipalAxes(xp.ascontiguousarray(axes.astype(dtype)), np.sqrt(squares), mean.astype(dtype), total)
