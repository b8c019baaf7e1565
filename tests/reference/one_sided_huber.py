"""Slow float64 answer of the robust regression that the fast solvers are held to.

Every row of the data is a problem of its own, with ``r = y - x A``:

    minimise  sum_i rho(r_i; kappa_i) + sum_k penalty_k x_k     subject to  x_k >= lower_k,  x_k = 0 where not allowed

by accelerated projected gradient with restarts: slow, first-order, and nothing in common with Newton's method but the
objective. It stops by the optimality conditions and fails where they are not met.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS = 40_000
MET = 1e-8  # largest violation of the optimality conditions, relative to the largest slope at the start


def objective(data: Any, components: Any, x: Any, kappa: Any, penalty: Any = 0.0) -> np.ndarray:
    """Return the objective of every row, ``(n_rows,)``."""
    residual = np.asarray(data, float) - np.asarray(x, float) @ np.asarray(components, float)
    kappa = np.broadcast_to(np.asarray(kappa, float), residual.shape)
    loss = np.where(residual <= kappa, residual**2 / 2, kappa * (residual - kappa / 2))
    return loss.sum(axis=1) + (np.asarray(x, float) * penalty).sum(axis=1)


def descent(data: Any, components: Any, x: Any, kappa: Any, penalty: Any = 0.0) -> np.ndarray:
    """Return the direction of steepest descent of every row, ``(n_rows, n_components)``."""
    return np.minimum(data - x @ components, kappa) @ components.T - penalty


def violation(data: Any, components: Any, x: Any, kappa: Any, penalty: Any = 0.0, lower: Any = 0.0) -> np.ndarray:
    """Return by how much each unknown violates the optimality conditions: its slope, if it may still follow it."""
    data, components, x = (np.asarray(a, float) for a in (data, components, x))
    slope = descent(data, components, x, kappa, penalty)
    return np.where(x > lower, np.abs(slope), np.maximum(slope, 0))


def solve(
    data: Any, components: Any, kappa: Any, penalty: Any = 0.0, lower: Any = 0.0, allowed: Any = None
) -> np.ndarray:
    """Solve every row; ``kappa`` broadcasts to the data, ``lower`` and ``allowed`` to ``(n_rows, n_components)``."""
    data, components = np.asarray(data, float), np.asarray(components, float)
    shape = (len(data), len(components))
    kappa = np.broadcast_to(np.asarray(kappa, float), data.shape)
    lower = np.broadcast_to(np.asarray(lower, float), shape)
    upper = np.full(shape, np.inf)
    if allowed is not None:
        lower, upper = np.where(allowed, lower, 0), np.where(allowed, np.inf, 0)
    if 0 in shape:
        return np.zeros(shape)
    largest = max(float(np.linalg.eigvalsh(components @ components.T)[-1]), 1e-12)
    x = np.clip(np.zeros(shape), lower, upper)
    ahead, momentum = x, np.ones((shape[0], 1))
    bar = MET * max(1.0, float(np.abs(descent(data, components, x, kappa, penalty)).max()))
    for step in range(STEPS):
        slope = descent(data, components, ahead, kappa, penalty)
        new = np.clip(ahead + slope / largest, lower, upper)
        turned = ((ahead - new) * (new - x)).sum(axis=1, keepdims=True) > 0
        momentum = np.where(turned, 1, momentum)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = np.where(turned, new, new + (momentum - 1) / following * (new - x))
        x, momentum = new, following
        if step % 50 == 49:
            left = violation(data, components, x, kappa, penalty, lower)
            if (left * (upper > 0)).max() < bar:
                return x
    raise AssertionError("the reference did not converge: make the problem better conditioned")
