"""The one-factor fit as plain functions, and the original's with a threshold that it estimates anew as it goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpucells.ops.contamination import Relation, estimate_epsilon, k_from_epsilon
from gpucells.ops.robust_single import fit_problems, start_problems

STEPS, TOLERANCE = 10, 1e-4  # the original's


def fit(data: Any, shape: Any, kappa: Any, steps: int = STEPS, tolerance: float = TOLERANCE, start: Any = None) -> Any:
    """Fit how much of ``shape`` ``(n_samples,)`` is in each column of ``data`` ``(n_samples, n_problems)``."""
    data = np.ascontiguousarray(data, np.float32)
    samples = np.flatnonzero(np.asarray(shape) > 0)
    values = np.asarray(shape, np.float32)[samples]
    x = np.zeros(data.shape[1], np.float32) if start is None else start.astype(np.float32)
    if start is None:
        start_problems(data, samples, values, x)
    kappas = np.broadcast_to(np.asarray(kappa, np.float32), x.shape).copy()
    fit_problems(data, samples, values, kappas, steps, tolerance, x, np.empty_like(x))
    return x


def fit_adaptively(data: Any, shape: Any, noise: float, relation: Relation = "exact") -> Any:
    """Let k follow the share of positive residuals, at a half, two thirds and three quarters of the steps.

    Bright pixels, where the cell itself decides the residual, count less, as in the original.
    """
    shape = np.asarray(shape, np.float32)
    inside = shape[shape > 0]
    weights = 1 / (1 + inside)
    weights /= weights.sum()
    mixing = 0.05 * float(inside.mean() * inside.sum() / (inside**2).sum())
    k = np.ones(np.shape(data)[1], np.float32)
    x, done = None, 1
    for until in (5, 7, 8, STEPS + 1):
        x = fit(data, shape, noise * k, until - done, start=x)
        if until <= STEPS:
            positive = weights @ (data[shape > 0] > inside[:, None] * x)
            k = np.asarray(k_from_epsilon(estimate_epsilon(positive, k, mixing, in_steps=True), relation), np.float32)
        done = until
    return x
