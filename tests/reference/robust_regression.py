"""Slow float64 answers for the robust regressions: bisection for one factor, a general optimiser for several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm


def scale_by_bisection(data: Any, shape: Any, kappa: Any, penalty: float = 0.0) -> np.ndarray:
    """Solve each problem's monotone equation sum a psi(b - a x) = kappa penalty for x >= 0."""
    data, shape = np.asarray(data, float), np.asarray(shape, float)
    answer = []
    for column, threshold in zip(data.T, np.broadcast_to(kappa, data.shape[1]), strict=True):

        def slope(x: float, column: Any = column, threshold: float = float(threshold)) -> float:
            return float(np.sum(shape * np.minimum(column - shape * x, threshold)) - threshold * penalty)

        low, high = 0.0, 1.0
        if slope(0) <= 0:
            answer.append(0.0)
            continue
        while slope(high) > 0:
            high *= 2
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        answer.append(low)
    return np.array(answer)


def objective(data: Any, components: Any, x: Any, kappa: float, penalty: Any) -> float:
    residual = data - x @ components
    loss = np.where(residual <= kappa, residual**2 / 2, kappa * (residual - kappa / 2))
    return float(loss.sum() + kappa * (x * penalty).sum())


def minimise(data: Any, components: Any, kappa: float, penalty: Any = 0.0, mask: Any = None) -> np.ndarray:
    """Minimise the objective over x >= 0 row by row with L-BFGS-B."""
    data, components = np.asarray(data, float), np.asarray(components, float)
    n_components = len(components)
    penalty = np.broadcast_to(penalty, n_components)
    x = np.zeros((len(data), n_components))
    for i, row in enumerate(data):

        def value_and_slope(v: Any, row: Any = row) -> tuple[float, Any]:
            residual = row - v @ components
            psi = np.minimum(residual, kappa)
            value = np.where(residual <= kappa, residual**2 / 2, kappa * (residual - kappa / 2)).sum()
            return value + kappa * v @ penalty, -components @ psi + kappa * penalty

        bounds = [(0, None if mask is None or mask[i, c] else 0) for c in range(n_components)]
        found = minimize(
            value_and_slope, x[i], jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10}
        )
        x[i] = found.x
    return x


def adaptive_kappa(residual: Any, components: Any) -> np.ndarray:
    """Write the first estimate of adaptive kappa down loop by loop, from k = .6361."""
    n_rows, n_samples = residual.shape
    n_components = len(components)
    k = 0.6361
    prior = 1 - 1 / (norm.pdf(k) / k + norm.cdf(k))
    epsilon = np.zeros((n_rows, n_components))
    for i in range(n_rows):
        for c in range(n_components):
            around = components[c] / components[c].max() > 0.01
            positive = np.mean(residual[i, around] > 0)
            missing = 1 - (1 - prior) * norm.cdf(0) - positive
            move = norm.cdf(0) - 0.05 * norm.pdf(0) * (norm.pdf(k) / norm.cdf(k) + k)
            value = min(max(prior - missing / move, 0.001), 0.99)
            for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9)):
                if low < value < high:
                    value = high
                    break
            epsilon[i, c] = value
    smooth = np.zeros_like(epsilon)
    for i in range(n_rows):
        for c in range(n_components):
            window = [epsilon[r, c] if 0 <= r < n_rows else 0.0 for r in range(i - 2, i + 3)]
            smooth[i, c] = sorted(window)[2]
    noise = np.median([residual[i].std(ddof=1) for i in range(n_rows)])
    kappa = np.zeros_like(residual)
    for i in range(n_rows):
        for j in range(n_samples):
            weights = [components[c, j] / components[c].max() + 1e-6 for c in range(n_components)]
            mixed = sum(w * e for w, e in zip(weights, smooth[i], strict=True)) / sum(weights)
            kappa[i, j] = noise * (-0.3775 * math.log(mixed) - 0.0597 * mixed + 0.0544)
    return kappa
