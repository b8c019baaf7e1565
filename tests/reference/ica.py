"""Fixed-point independent component analysis as it is written down, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

SLOPES: dict[str, Any] = {
    "skew": (np.square, lambda u: 2 * u),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "cube": (lambda u: u**3, lambda u: 3 * u**2),
    "gauss": (lambda u: u * np.exp(-(u**2) / 2), lambda u: (1 - u**2) * np.exp(-(u**2) / 2)),
}


def raised(z: Any, w: Any, contrast: str) -> Any:
    """Return what one round makes of ``w`` before it is orthonormalised."""
    slope, curvature = SLOPES[contrast]
    u = np.asarray(w, np.float64) @ np.asarray(z, np.float64)
    return slope(u) @ z.T / z.shape[1] - curvature(u).mean(axis=1)[:, None] * w


def converged(z: Any, w: Any, contrast: str, rounds: int = 3000, tol: float = 1e-12) -> Any:
    """Return the fixed point that rounds from ``w`` come to."""
    for _ in range(rounds):
        left, _, right = np.linalg.svd(raised(z, w, contrast), full_matrices=False)
        new = left @ right
        if np.abs(1 - np.abs((new * w).sum(axis=1))).max() < tol:
            return new
        w = new
    return w


def white(rng: Any, n_sources: int, n_noise: int, n_samples: int) -> Any:
    """Return sparse positive sources and noise, mixed and white, ``(n_sources + n_noise, n_samples)`` float64."""
    sources = rng.gamma(1, 1, (n_sources, n_samples)) * (rng.random((n_sources, n_samples)) < 0.1)
    everything = np.concatenate([sources, rng.normal(size=(n_noise, n_samples))])
    mixed = rng.normal(size=(len(everything),) * 2) @ (everything - everything.mean(axis=1, keepdims=True))
    left, _, right = np.linalg.svd(mixed, full_matrices=False)
    return left @ right * np.sqrt(n_samples)
