r"""Non-negative matrix factorisation: a matrix as the product of two factors without negative values.

.. math:: \min_{W, H \ge 0} D(X, WH)
          + m \alpha_W \left(\rho |W|_1 + \tfrac{1-\rho}{2} |W|_F^2\right)
          + n \alpha_H \left(\rho |H|_1 + \tfrac{1-\rho}{2} |H|_F^2\right)

of :math:`X` (n rows, m columns), with :math:`D = \frac12 |X - WH|_F^2` or the Kullback-Leibler divergence. Objective,
names of settings, tolerances and order of updates are those of scikit-learn's ``NMF``, so that a script gets what it
got; ``hals`` is its ``cd``. The random numbers of a start are others.

Where we differ: the matrix may be of any real type and is read by blocks, once an iteration, since what a block adds
to the cross products of H is known as soon as the block's rows of W are; with ``fixed_h`` it is read once in all. More
than one sweep a pass (``n_sweeps``; Gillis & Glineur 2012) costs little beside the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpucells.device.arrays import namespace_of
from gpucells.errors import InputError, SettingsError
from gpucells.ops.nmf_hals import sweep_factor
from gpucells.ops.nmf_multiplicative import Penalty, multiplicative_pass
from gpucells.ops.nmf_rows import Loss, check_loss, checked_mean, float_type, reconstruction_error, row_blocks
from gpucells.ops.nmf_start import Random, Seed, Start, generator, initial_factors

LOOK_EVERY = 10  # iterations of multiplicative updates between two looks at the error, as in scikit-learn


@dataclass(frozen=True)
class Factorization:
    """Factors of a matrix.

    Parameters
    ----------
    w : array
        ``(n_rows, n_components)``, not negative, C order.
    h : array
        ``(n_components, n_columns)``, not negative, C order.
    n_iterations : int
        Passes that were made.
    converged : bool
        Whether the tolerance was met before the iterations ran out.
    """

    w: Any
    h: Any
    n_iterations: int
    converged: bool


@dataclass(frozen=True)
class _Rules:
    """What the solvers obey."""

    loss: Loss
    fixed_h: bool
    tol: float
    max_iterations: int
    of_w: Penalty
    of_h: Penalty
    shuffle: bool
    n_sweeps: int
    seed: Seed


def nmf(
    x: Any,
    n_components: int | None = None,
    *,
    start: Start | None = None,
    w: Any = None,
    h: Any = None,
    fixed_h: bool = False,
    solver: Literal["hals", "mu"] = "hals",
    loss: Loss = "frobenius",
    tol: float = 1e-4,
    max_iterations: int = 200,
    alpha_w: float = 0.0,
    alpha_h: float | Literal["same"] = "same",
    l1_ratio: float = 0.0,
    shuffle: bool = False,
    n_sweeps: int = 1,
    seed: Seed = 0,
) -> Factorization:
    """Factor a matrix.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)`` of any real type, finite and not negative; NumPy or CuPy. Never copied as a whole.
    n_components : int, optional
        Columns of W; that of ``h`` or ``w``, or the columns of ``x``, where not given.
    start : {"random", "nndsvd", "nndsvda", "nndsvdar"}, optional
        See :func:`gpucells.ops.nmf_start.initial_factors`. Not used where factors are given.
    w, h : array, optional
        ``(n_rows, n_components)`` and ``(n_components, n_columns)`` to start from: both, or with ``fixed_h`` at least
        ``h``. Left as they are.
    fixed_h : bool
        Look for W alone, as scikit-learn's ``transform``; it starts from 0 with ``hals`` and from a constant with
        ``mu`` where it is not given.
    solver : {"hals", "mu"}
        Coordinate descent (Frobenius norm only) or multiplicative updates.
    loss : {"frobenius", "kullback-leibler"}
        How far the product is from the matrix.
    tol : float
        ``hals`` ends when the sum of absolute projected gradients is at most this part of what it was in the first
        iteration; ``mu`` when ten iterations lower the error by less than this part of the first. 0: never.
    max_iterations : int
        Most passes.
    alpha_w, alpha_h : float
        Strength of the penalties, per column and per row of ``x``; ``alpha_h="same"`` is ``alpha_w``.
    l1_ratio : float
        Share of the absolute values in the penalties, 0 to 1; the rest is squares.
    shuffle : bool
        Components in another random order every sweep (``hals``).
    n_sweeps : int
        Sweeps over each factor between two products with the matrix (``hals``).
    seed : int, numpy.random.Generator or numpy.random.RandomState
        Of the start and of ``shuffle``, or what draws them.

    Returns
    -------
    Factorization
        float64 where ``x`` is, otherwise float32; on the device of ``x``.

    Raises
    ------
    SettingsError
        Settings that are unknown, out of range or at odds with each other.
    InputError
        A matrix, or given factors, that cannot be used.

    Notes
    -----
    Memory beside ``x``: some (n_rows + n_columns) n_components values, and a block of 32 MiB on a CPU or 256 MiB on a
    GPU where ``x`` is neither float32 nor float64, three of them for the Kullback-Leibler divergence.
    """
    _check(x, solver, loss, l1_ratio, max_iterations, n_sweeps)
    strength_h = alpha_w if alpha_h == "same" else alpha_h
    rules = _Rules(
        loss, fixed_h, tol, max_iterations,
        (x.shape[1] * alpha_w * l1_ratio, x.shape[1] * alpha_w * (1 - l1_ratio)),
        (x.shape[0] * strength_h * l1_ratio, x.shape[0] * strength_h * (1 - l1_ratio)), shuffle, n_sweeps, seed,
    )  # fmt: skip
    first_w, first_h = _first_factors(x, n_components, start, w, h, fixed_h, solver, seed)
    xp = namespace_of(x)
    turned = xp.array(first_w.T, order="C")  # both factors with their components first: lanes and threads are items
    own_h = xp.array(first_h, order="C")
    solve = _hals if solver == "hals" else _multiplicative
    n_iterations, converged = solve(x, turned, own_h, rules)
    return Factorization(xp.ascontiguousarray(turned.T), own_h, n_iterations, converged)


def _check(x: Any, solver: str, loss: str, l1_ratio: float, max_iterations: int, n_sweeps: int) -> None:
    check_loss(loss)
    if x.ndim != 2:
        raise InputError(f"the matrix has {x.ndim} axes", "give (n_rows, n_columns)")
    if solver not in ("hals", "mu"):
        raise SettingsError(f"solver = {solver!r} is unknown", "use 'hals' or 'mu'")
    if solver == "hals" and loss != "frobenius":
        raise SettingsError(f"solver = 'hals' does not do loss = {loss!r}", "use solver='mu'")
    if not 0 <= l1_ratio <= 1:
        raise SettingsError(f"l1_ratio = {l1_ratio}", "it must be from 0 to 1")
    if max_iterations < 1 or n_sweeps < 1:
        raise SettingsError(f"max_iterations = {max_iterations}, n_sweeps = {n_sweeps}", "both must be at least 1")


def _first_factors(
    x: Any, n_components: int | None, start: Start | None, w: Any, h: Any, fixed_h: bool, solver: str, seed: Seed
) -> tuple[Any, Any]:
    if h is None:
        if fixed_h or w is not None:
            raise SettingsError("no h is given", "give h with fixed_h or with w")
        wanted = x.shape[1] if n_components is None else n_components
        if wanted < 0:
            raise SettingsError(f"n_components = {wanted}", "it must not be negative")
        return initial_factors(x, wanted, start, seed)
    if w is None and not fixed_h:
        raise SettingsError("h is given without w", "give both, or fixed_h=True")
    xp, dtype = namespace_of(x), float_type(x)
    mean = checked_mean(x)
    own_h = xp.asarray(h, dtype=dtype)
    if own_h.ndim != 2 or own_h.shape[1] != x.shape[1] or len(own_h) != (n_components or len(own_h)):
        raise InputError(f"h has shape {own_h.shape}; ({n_components or 'n_components'}, {x.shape[1]}) is wanted")
    if w is None:
        level = (mean / max(1, len(own_h))) ** 0.5 if solver == "mu" else 0.0
        own_w = xp.full((x.shape[0], len(own_h)), level, dtype)
    else:
        own_w = xp.asarray(w, dtype=dtype)
    if own_w.shape != (x.shape[0], len(own_h)):
        raise InputError(f"w has shape {own_w.shape}; ({x.shape[0]}, {len(own_h)}) is wanted")
    for name, factor in (("w", own_w), ("h", own_h)):
        if factor.size and not bool((factor >= 0).all() & (factor < np.inf).all()):
            raise InputError(f"{name} has values that are negative or not finite")
    return own_w, own_h


def _hals(x: Any, w: Any, h: Any, rules: _Rules) -> tuple[int, bool]:
    """Sweep over W, then over H; return the iterations and whether the tolerance was met."""
    rng = generator(rules.seed)
    kept: Any = _cross(x, h, rules.of_w[0]) if rules.fixed_h else None
    at_first = 0.0
    for iteration in range(1, rules.max_iterations + 1):
        if kept is not None:
            violation = sweep_factor(w, _gram(h, rules.of_w[1]), kept, **_turns(rng, len(h), rules))
        else:
            violation, cross = _sweep_w(x, w, h, rules, _turns(rng, len(h), rules))
            cross -= rules.of_h[0]
            violation = violation + sweep_factor(h, _gram(w, rules.of_h[1]), cross, **_turns(rng, len(h), rules))
        now = float(violation)
        at_first = now if iteration == 1 else at_first
        if at_first == 0 or now <= rules.tol * at_first:
            return iteration, True
    return rules.max_iterations, False


def _turns(rng: Random, n: int, rules: _Rules) -> dict[str, Any]:
    return {"order": rng.permutation(n) if rules.shuffle else np.arange(n), "n_sweeps": rules.n_sweeps}


def _gram(factor: Any, penalty: float) -> Any:
    gram = factor @ factor.T
    return gram + penalty * namespace_of(factor).eye(len(gram), dtype=gram.dtype) if penalty else gram


def _cross(x: Any, h: Any, penalty: float) -> Any:
    cross = namespace_of(x).empty((len(h), x.shape[0]), h.dtype)
    for rows, block in row_blocks(x, only_products=True):
        cross[:, rows] = h @ block.T
    cross -= penalty
    return cross


def _sweep_w(x: Any, w: Any, h: Any, rules: _Rules, turns: dict[str, Any]) -> tuple[Any, Any]:
    """Sweep over W; return its violation, and W^T X, of which each block's part is added while it is in the cache."""
    gram, violation, products = _gram(h, rules.of_w[1]), 0.0, namespace_of(x).zeros_like(h)
    for rows, block in row_blocks(x, only_products=True):
        cross = h @ block.T
        if rules.of_w[0]:
            cross -= rules.of_w[0]
        violation = violation + sweep_factor(w, gram, cross, first=rows.start, **turns)
        products += w[:, rows] @ block
    return violation, products


def _multiplicative(x: Any, w: Any, h: Any, rules: _Rules) -> tuple[int, bool]:
    """Update both factors by turns; return the iterations and whether the tolerance was met."""
    at_first = before = reconstruction_error(x, w.T, h, rules.loss) if rules.tol > 0 else 0.0
    for iteration in range(1, rules.max_iterations + 1):
        multiplicative_pass(x, w, h, rules.loss, rules.of_w, rules.of_h, rules.fixed_h)
        if rules.tol > 0 and iteration % LOOK_EVERY == 0:
            now = reconstruction_error(x, w.T, h, rules.loss)
            if at_first == 0 or (before - now) / at_first < rules.tol:
                return iteration, True
            before = now
    return rules.max_iterations, False
