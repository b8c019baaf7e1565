"""Sums over photons as they are written down, in float64, with the whole ratio."""

from __future__ import annotations

from typing import Any

import numpy as np


def sums(counts: Any, images: Any, traces: Any, partners: Any = None) -> tuple[Any, Any, float]:
    """Return images times ratio ``(n_components, n_frames)``, ratio times traces likewise by pixels, and log L."""
    n, c, t = (np.asarray(a, np.float64) for a in (counts, images, traces))
    model = c.T @ t
    ratio = np.divide(n, model, out=np.zeros_like(model), where=model > 0)
    return c @ ratio, (t if partners is None else np.asarray(partners, np.float64)) @ ratio.T, likelihood(n, c, t)


def likelihood(counts: Any, images: Any, traces: Any) -> float:
    """Return the Poisson likelihood but for what the counts alone make, over pixels that the model reaches."""
    n, c, t = (np.asarray(a, np.float64) for a in (counts, images, traces))
    model = c.T @ t
    lit = (model > 0) & (n > 0)
    return float((n[lit] * np.log(model[lit])).sum() - model.sum())


def rounds(counts: Any, images: Any, traces: Any, n_rounds: int) -> Any:
    """Return traces after rounds of EM with images that stay."""
    n, c, t = (np.asarray(a, np.float64) for a in (counts, images, traces))
    volume = c.sum(axis=1, keepdims=True)
    for _ in range(n_rounds):
        t = t * sums(n, c, t)[0] / np.maximum(volume, 1e-30)
    return t
