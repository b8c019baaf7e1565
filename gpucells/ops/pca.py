r"""Principal components of a movie that may be larger than memory, read once for the spectrum and once for the images.

The movie :math:`X` (n_pixels, n_frames) is taken about each pixel's mean over time, then about each frame's mean over
pixels, so that neither a still picture nor the whole field's brightness is a component. With :math:`X = U S V^T`:

- :math:`X^T X = V S^2 V^T`, the smaller covariance where there are fewer frames than pixels. Blocks of pixels are
  multiplied in single precision and added up in double precision; then one pass makes :math:`U = X V S^{-1}`.
- :math:`X X^T` where there are fewer pixels; then :math:`V^T = S^{-1} U^T X`.
- Where few of many components are wanted, subspace iteration on :math:`X^T X` (Halko, Martinsson & Tropp 2011), a
  pass an iteration, and the two steps above in the subspace.

Frames' means are known at the end of the pass only: :math:`X^T X` of the movie without them is that with them less
:math:`s s^T / P`, where :math:`s` are the frames' sums.

Which way is chosen by operations: :math:`P T^2 + 9 T^3` for the covariance and its eigenvectors (P and T change places
where there are fewer pixels), :math:`(4 q + 2) P T l` for q iterations in l dimensions. Products are BLAS's or
cuBLAS's, as the movie is NumPy's or CuPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError, SettingsError

Float64 = NDArray[np.float64]
Blocks = Callable[[], Iterable[Any]]
Way = Literal["auto", "covariance", "randomised"]

BLOCK_BYTES = 2**24  # of pixels that are multiplied in single precision at once
POWERS = 8  # iterations: the ratio of what is kept to what is not counts to the 16th power
MORE = 16  # dimensions of the subspace beyond what is wanted
SMALLEST = 1e-6  # share of the largest singular value below which there is nothing but rounding


@dataclass(frozen=True)
class PrincipalComponents:
    """The leading components.

    Parameters
    ----------
    images : array
        ``(n_pixels, n_components)`` float32 with orthonormal columns, on the movie's side.
    singular_values : numpy.ndarray
        ``(n_components,)`` float64, the largest first.
    traces : numpy.ndarray
        ``(n_frames, n_components)`` float64 with orthonormal columns.
    eigenvalues : numpy.ndarray
        ``(min(n_pixels, n_frames),)`` squares of all singular values, the largest first; those of the components alone
        where the covariance was not made.
    """

    images: Any
    singular_values: Float64
    traces: Float64
    eigenvalues: Float64


def pca(
    movie: Any, n_components: int | Callable[[Float64], int], *, counted: NDArray[np.bool_] | None = None,
    way: Way = "auto", seed: int = 0,
) -> PrincipalComponents:  # fmt: skip
    """Find the principal components of a movie.

    Parameters
    ----------
    movie : array or callable
        ``(n_pixels, n_frames)`` float32, NumPy's (a memory map, too) or CuPy's; or what returns an iterator over its
        blocks of pixels, ``(n, n_frames)`` each, twice or more.
    n_components : int or callable
        How many, at most; or what tells it from all eigenvalues.
    counted : numpy.ndarray, optional
        ``(n_pixels,)`` bool, pixels that count; the others have no light in any component.
    way : {"auto", "covariance", "randomised"}
        ``"auto"`` by operations.
    seed : int
        Of the subspace to begin with.

    Raises
    ------
    InputError
        There are no blocks, or no pixel counts.
    SettingsError
        A number told from all eigenvalues goes with the covariance alone.
    """
    source = _Source(movie, counted)
    if way == "randomised" and callable(n_components):
        raise SettingsError("n_components from the spectrum, which way='randomised' does not see", "give a number")
    if source.n_counted == 0:
        raise InputError("a movie without pixels that count has no components")
    if not callable(n_components) and (way == "randomised" or (way == "auto" and source.is_long(n_components))):
        return _in_subspace(source, n_components, seed)
    if source.array is not None and source.n_counted < source.n_frames:
        return _by_pixels(source, n_components)
    gram = _gram(source, None)
    values, vectors = _eigenpairs(gram, n_components)
    return _with_images(source, np.sqrt(np.maximum(values[: vectors.shape[1]], 0)), vectors, values)


class _Source:
    """A movie in blocks of pixels about their own means."""

    def __init__(self, movie: Any, counted: NDArray[np.bool_] | None) -> None:
        self.array: Any = None if callable(movie) else movie
        self._blocks: Any = movie if callable(movie) else None
        self.counted = counted
        first = next(iter(movie()), None) if callable(movie) else movie
        if first is None:
            raise InputError("a movie of no blocks has no components")
        self.n_frames = first.shape[1]
        if counted is not None:
            self.n_counted = int(counted.sum())
        else:
            self.n_counted = len(movie) if self._blocks is None else sum(len(block) for block in self._blocks())
        self.sums: Any = None  # of the frames, over the pixels that count; known after a pass

    def is_long(self, k: int) -> bool:
        """Whether iterations in a subspace take fewer operations than the smaller covariance."""
        few, many = sorted((self.n_counted, self.n_frames))
        wide = min(few, k + MORE)
        return bool((4 * POWERS + 2) * wide * many < many * few + 9 * few**2)

    def blocks(self) -> Iterator[Any]:
        """Yield ``(n, n_frames)`` float32 about each pixel's mean; the pixels that do not count are 0."""
        at, array = 0, self.array
        if array is None:
            parts: Iterable[Any] = self._blocks()
        else:
            step = max(1, BLOCK_BYTES // (4 * max(1, self.n_frames)))
            parts = (array[first : first + step] for first in range(0, len(array), step))
        for part in parts:
            xp = namespace_of(part)
            block = part.astype(xp.float32)  # a copy
            block -= block.mean(axis=1, keepdims=True, dtype=xp.float64).astype(xp.float32)
            if self.counted is not None:
                block *= xp.asarray(self.counted[at : at + len(block), None])
            at += len(block)
            yield block

    def level(self, block: Any, at: int) -> Any:
        """Return each pixel's share in the frames' means, ``(n, 1)``: 1 over the number that count, or 0."""
        xp = namespace_of(block)
        own = np.ones(len(block)) if self.counted is None else self.counted[at : at + len(block)]
        return xp.asarray((own / self.n_counted).astype(np.float32)[:, None])


def _gram(source: _Source, within: Any) -> Any:
    """Add up ``X' X``, or in a subspace ``X' X Q``, of the movie without its frames' means."""
    total, sums = None, None
    for block in source.blocks():
        xp = namespace_of(block)
        right = block if within is None else block @ xp.asarray(within.astype(np.float32))
        product, light = block.T @ right, block.sum(axis=0, dtype=xp.float64)
        total = product.astype(xp.float64) if total is None else total + product
        sums = light if sums is None else sums + light
    assert total is not None
    assert sums is not None
    source.sums = sums
    xp = namespace_of(total)
    right = sums if within is None else sums @ xp.asarray(within)
    total -= xp.outer(sums, right / source.n_counted)
    return total


def _eigenpairs(gram: Any, n_components: int | Callable[[Float64], int]) -> tuple[Float64, Float64]:
    """Return all eigenvalues, the largest first, and as many vectors as are wanted, ``(n, k)``."""
    xp = namespace_of(gram)
    if xp is not np:
        ascending, vectors = xp.linalg.eigh(gram)
        values = to_host(ascending)[::-1]
        k = _wanted(values, n_components)
        return values, np.asarray(to_host(vectors[:, ::-1][:, :k]), np.float64)
    if not callable(n_components) and 2 * n_components >= len(gram):
        ascending, vectors = linalg.eigh(gram, overwrite_a=True, check_finite=False)
        k = _wanted(ascending[::-1], n_components)
        return ascending[::-1], vectors[:, ::-1][:, :k]
    values = linalg.eigvalsh(gram, check_finite=False)[::-1]
    k, n = _wanted(values, n_components), len(gram)
    if k == 0:
        return values, np.zeros((n, 0))
    _, vectors = linalg.eigh(gram, subset_by_index=(n - k, n - 1), overwrite_a=True, check_finite=False)
    return values, vectors[:, ::-1]


def _wanted(values: Float64, n_components: int | Callable[[Float64], int]) -> int:
    k = n_components(values) if callable(n_components) else n_components
    largest = max(float(values.max(initial=0)), 0.0)
    real = int((values > SMALLEST**2 * largest).sum()) if largest > 0 else 0
    return max(0, min(k, real, len(values) - 1))  # the mean's is gone


def _with_images(source: _Source, singular: Float64, traces: Float64, eigenvalues: Float64) -> PrincipalComponents:
    """Make the images of known traces: one pass."""
    onto = traces / singular
    parts, at = [], 0
    for block in source.blocks():
        xp = namespace_of(block)
        on = xp.asarray(onto.astype(np.float32))
        mean = (source.sums @ xp.asarray(onto)).astype(xp.float32)
        parts.append(block @ on - source.level(block, at) * mean)
        at += len(block)
    return PrincipalComponents(namespace_of(parts[0]).concatenate(parts), singular, traces, np.asarray(eigenvalues))


def _by_pixels(source: _Source, n_components: int | Callable[[Float64], int]) -> PrincipalComponents:
    """Go by the covariance of pixels, of which there are fewer than frames."""
    block = _join(source.blocks())
    xp = namespace_of(block)
    block -= (block.sum(axis=0, dtype=xp.float64) * source.level(block, 0)).astype(xp.float32)
    gram, step = xp.zeros((len(block),) * 2, np.float64), max(1, BLOCK_BYTES // (4 * len(block)))
    for first in range(0, source.n_frames, step):
        some = block[:, first : first + step]
        gram += some @ some.T
    values, vectors = _eigenpairs(gram, n_components)
    singular = np.sqrt(np.maximum(values[: vectors.shape[1]], 0))
    images = xp.asarray(vectors.astype(np.float32))
    traces = np.asarray(to_host(block.T @ images), np.float64) / singular
    return PrincipalComponents(images, singular, traces, np.asarray(values))


def _join(blocks: Iterator[Any]) -> Any:
    parts = list(blocks)
    return parts[0] if len(parts) == 1 else namespace_of(parts[0]).concatenate(parts)


def _in_subspace(source: _Source, k: int, seed: int) -> PrincipalComponents:
    wide = min(source.n_frames, source.n_counted, k + MORE)
    basis: Float64 = np.linalg.qr(np.random.default_rng(seed).normal(size=(source.n_frames, wide)))[0]
    for _ in range(POWERS):
        basis = np.linalg.qr(np.asarray(to_host(_gram(source, basis)), np.float64))[0]
    small = basis.T @ np.asarray(to_host(_gram(source, basis)), np.float64)
    ascending, vectors = np.linalg.eigh((small + small.T) / 2)
    values = ascending[::-1]
    n = _wanted(values, min(k, source.n_frames - 1, source.n_counted - 1))
    return _with_images(source, np.sqrt(values[:n]), basis @ vectors[:, ::-1][:, :n], values[:n])
