"""Which cell of one set is which of another: footprint cosine, trace correlation, one-to-one pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from gpucells.model.truth import unit_rows

MIN_COSINE = 0.5
MIN_TRACE_R = 0.5

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Indices = NDArray[np.int64]


def footprint_cosine(first: Any, second: Any) -> sparse.csr_array:
    """Return the cosine of every footprint of one side with every one of the other, sparse ``(n_first, n_second)``."""
    return sparse.csr_array(unit_rows(first) @ unit_rows(second).T)


def zscored(traces: ArrayLike) -> Float32:
    """Return traces with mean 0 and standard deviation 1.

    Non-finite samples count as the mean; a trace that is constant or has no finite sample is all 0, and so correlates
    with nothing.
    """
    values = np.array(traces, dtype=np.float32, ndmin=2)
    if values.size == 0:
        return values
    finite = np.isfinite(values)
    if not finite.all():
        n_finite = np.maximum(finite.sum(axis=1, keepdims=True), 1)
        mean = np.where(finite, values, 0).sum(axis=1, keepdims=True, dtype=np.float64) / n_finite
        values = np.where(finite, values, mean).astype(np.float32)
    size = np.abs(values).max(axis=1, keepdims=True)
    values -= values.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    std = np.sqrt(np.mean(np.square(values), axis=1, keepdims=True, dtype=np.float64))
    # rounding leaves a constant trace with a spread of a few ulp of its size
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-6 * size)
    values *= scale.astype(np.float32)
    return values


def zscored_both(first: ArrayLike, second: ArrayLike) -> tuple[Float32, Float32]:
    """Return two sides' traces as :func:`zscored` does, without the frames that no trace of a side has: lost ones."""
    sides = [np.atleast_2d(np.asarray(side, dtype=np.float32)) for side in (first, second)]
    if sides[0].shape[1:] == sides[1].shape[1:] and all(side.size for side in sides):
        known = np.isfinite(sides[0]).any(axis=0) & np.isfinite(sides[1]).any(axis=0)
        sides = sides if known.all() else [side[:, known] for side in sides]
    return zscored(sides[0]), zscored(sides[1])


def paired_r(first: Float32, second: Float32, i: Indices, j: Indices) -> Float64:
    """Return the correlation of chosen pairs of traces, ``(n_pairs,)``.

    Parameters
    ----------
    first, second : numpy.ndarray
        Z-scored traces.
    i, j : numpy.ndarray
        ``(n_pairs,)`` which trace of the first with which of the second.
    """
    n_frames = max(first.shape[1], 1)
    chunk = max(1, 2**24 // n_frames)
    parts = [np.einsum("pt,pt->p", first[i[k : k + chunk]], second[j[k : k + chunk]]) for k in range(0, len(i), chunk)]
    return np.concatenate(parts).astype(np.float64) / n_frames if parts else np.zeros(0)


def one_to_one(cosine: sparse.csr_array, first: Float32, second: Float32) -> tuple[Indices, Float64, Float64]:
    """Pair cells by the Hungarian method on the cosine, and keep the pairs that fit well enough.

    Parameters
    ----------
    cosine : scipy.sparse.csr_array
        ``(n_first, n_second)``.
    first, second : numpy.ndarray
        Z-scored traces.

    Returns
    -------
    tuple
        ``(n_pairs, 2)`` indices, and the cosine and trace correlation of each pair.
    """
    value = cosine.toarray()
    rows, columns = linear_sum_assignment(value, maximize=True)
    fits = value[rows, columns] >= MIN_COSINE
    pairs = np.stack([rows[fits], columns[fits]], axis=1).astype(np.int64)
    trace_r = paired_r(first, second, pairs[:, 0], pairs[:, 1])
    pairs, trace_r = pairs[trace_r >= MIN_TRACE_R], trace_r[trace_r >= MIN_TRACE_R]
    return pairs, value[pairs[:, 0], pairs[:, 1]], trace_r


def row_maximum(rows: Any) -> Float64:
    """Return the largest value of each row, at least 0."""
    matrix = sparse.csr_array(rows)
    if 0 in matrix.shape:
        return np.zeros(matrix.shape[0])
    return np.maximum(np.asarray(matrix.max(axis=1).todense(), dtype=np.float64).ravel(), 0)
