"""Where a non-negative factorisation starts: random factors, or NNDSVD (Boutsidis & Gallopoulos 2008)."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import SettingsError
from gpucells.ops.nmf_rows import checked_mean, float_type, row_blocks

Start = Literal["random", "nndsvd", "nndsvda", "nndsvdar"]
Random = np.random.Generator | np.random.RandomState
Seed = int | Random

OVERSAMPLES = 10  # directions beyond those asked for (Halko, Martinsson & Tropp 2011, section 4.2)
POWER_ITERATIONS = 4  # scikit-learn takes 4 or 7; a start needs no more
NOTHING = 1e-6  # share of a component's largest value below which NNDSVD says 0


def initial_factors(x: Any, n_components: int, start: Start | None = None, seed: Seed = 0) -> tuple[Any, Any]:
    """Return factors to start from.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)``, finite and not negative; NumPy or CuPy.
    n_components : int
        Of the factorisation.
    start : {"random", "nndsvd", "nndsvda", "nndsvdar"}, optional
        ``random``: absolute normal numbers of the scale at which the product has the matrix' mean. ``nndsvd``: the
        larger of the positive and the negative part of each pair of singular vectors, the rest 0; ``nndsvda``: with
        the matrix' mean for 0; ``nndsvdar``: with small random numbers for 0. As scikit-learn, ``nndsvda`` where not
        given and there are no more components than rows and columns, else ``random``.
    seed : int, numpy.random.Generator or numpy.random.RandomState
        Of what is random, or what draws it; the same numbers on a CPU and a GPU. From a ``RandomState``, ``random`` is
        what scikit-learn starts from.

    Returns
    -------
    w, h : array
        ``(n_rows, n_components)`` and ``(n_components, n_columns)`` float32, or float64 where ``x`` is, beside ``x``.

    Raises
    ------
    SettingsError
        An unknown start, or NNDSVD of more components than rows or columns.
    InputError
        A value of the matrix that is negative or not finite.
    """
    fewest = min(x.shape)
    chosen = start or ("nndsvda" if n_components <= fewest else "random")
    if chosen not in ("random", "nndsvd", "nndsvda", "nndsvdar"):
        raise SettingsError(f"start = {chosen!r} is unknown", "use 'random', 'nndsvd', 'nndsvda' or 'nndsvdar'")
    mean, rng = checked_mean(x), generator(seed)
    if chosen == "random":
        scale = math.sqrt(mean / max(1, n_components))
        h = _normal(x, rng, (n_components, x.shape[1]), scale)
        return _normal(x, rng, (x.shape[0], n_components), scale), h
    if n_components > fewest:
        raise SettingsError(
            f"start = {chosen!r} gives at most min(n_rows, n_columns) = {fewest} components, not {n_components}",
            "use start='random'",
        )
    if n_components == 0:
        return _normal(x, rng, (x.shape[0], 0), 0), _normal(x, rng, (0, x.shape[1]), 0)
    w, h = _nndsvd(x, n_components, rng)
    xp = namespace_of(x)
    if chosen == "nndsvda":
        w[w == 0] = mean
        h[h == 0] = mean
    elif chosen == "nndsvdar":
        w = xp.where(w == 0, _normal(x, rng, w.shape, mean / 100), w)
        h = xp.where(h == 0, _normal(x, rng, h.shape, mean / 100), h)
    return w, h


def generator(seed: Seed) -> Random:
    """Return what draws random numbers: what was given, or a new generator of a seed.

    Parameters
    ----------
    seed : int, numpy.random.Generator or numpy.random.RandomState
        One or the other.
    """
    return np.random.default_rng(seed) if isinstance(seed, int | np.integer) else seed


def _normal(x: Any, rng: Random, shape: tuple[int, ...], scale: float) -> Any:
    numbers = np.abs(scale * rng.standard_normal(shape)).astype(float_type(x))
    return namespace_of(x).asarray(numbers)


def leading_rows(x: Any, n: int, rng: Random) -> Any:
    """Return an orthonormal basis of about the ``n`` directions in which a matrix' rows vary most.

    A randomised range finder with power iterations (Halko, Martinsson & Tropp 2011, algorithm 4.4).

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)`` of any real type; NumPy or CuPy.
    n : int
        How many, at most ``min(n_rows, n_columns)``.
    rng : numpy.random.Generator or numpy.random.RandomState
        Draws the first directions, on the host.

    Returns
    -------
    array
        ``(n_columns, n)`` float32 or float64, beside ``x``.
    """
    xp = namespace_of(x)
    columns = xp.asarray(rng.standard_normal((x.shape[1], n)).astype(float_type(x)))
    for _ in range(1 + POWER_ITERATIONS):
        columns = transposed_times(x, xp.linalg.qr(times(x, columns))[0])
        columns = xp.linalg.qr(columns)[0]
    return columns


def times(x: Any, columns: Any) -> Any:
    """Return ``x @ columns``, ``(n_rows, n)``, reading the matrix by blocks.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)`` of any real type; NumPy or CuPy.
    columns : array
        ``(n_columns, n)`` of the type of a block.
    """
    out = namespace_of(x).empty((x.shape[0], columns.shape[1]), columns.dtype)
    for rows, block in row_blocks(x, only_products=True):
        out[rows] = block @ columns
    return out


def transposed_times(x: Any, columns: Any) -> Any:
    """Return ``x.T @ columns``, ``(n_columns, n)``, reading the matrix by blocks.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)`` of any real type; NumPy or CuPy.
    columns : array
        ``(n_rows, n)`` of the type of a block.
    """
    out = namespace_of(x).zeros((x.shape[1], columns.shape[1]), columns.dtype)
    for rows, block in row_blocks(x, only_products=True):
        out += block.T @ columns[rows]
    return out


def _nndsvd(x: Any, n_components: int, rng: Random) -> tuple[Any, Any]:
    xp = namespace_of(x)
    basis = leading_rows(x, min(n_components + OVERSAMPLES, *x.shape), rng)
    left, values, right = xp.linalg.svd(times(x, basis), full_matrices=False)
    left, right = left[:, :n_components].T, (right @ basis.T)[:n_components]
    values = to_host(values)[:n_components]
    w, h = xp.empty((x.shape[0], n_components), left.dtype), xp.empty((n_components, x.shape[1]), left.dtype)
    for k in range(n_components):  # a handful of small vectors each
        halves = [_half(xp, left[k], right[k], sign) for sign in (1, -1)]
        strength = [a * b for _, _, a, b in halves]
        u, v, a, b = halves[int(strength[1] > strength[0])]
        scale = math.sqrt(float(values[k]))
        w[:, k] = u * (scale * math.sqrt(b / a) if a > 0 else 0)
        h[k] = v * (scale * math.sqrt(a / b) if b > 0 else 0)
    return _without_specks(xp, w, 0), _without_specks(xp, h, 1)


def _half(xp: Any, left: Any, right: Any, sign: int) -> tuple[Any, Any, float, float]:
    """Return one half of a pair of singular vectors and the norms of its two parts."""
    u, v = xp.maximum(sign * left, 0), xp.maximum(sign * right, 0)
    return u, v, float(xp.linalg.norm(u)), float(xp.linalg.norm(v))


def _without_specks(xp: Any, factor: Any, axis: int) -> Any:
    return xp.where(factor < NOTHING * factor.max(axis=axis, keepdims=True), 0, factor)
