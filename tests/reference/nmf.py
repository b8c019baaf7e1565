"""Non-negative matrix factorisation as it is written down, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def sweep(factor: Any, gram: Any, cross: Any, order: Any) -> tuple[Any, float]:
    """Return a factor, ``(n_components, n_items)``, after one turn of every component, and its projected gradient."""
    improved, moved = np.array(factor, np.float64), 0.0
    for i in range(improved.shape[1]):
        for t in order:
            slope = float(gram[t] @ improved[:, i] - cross[t, i])
            moved += abs(slope if improved[t, i] > 0 else min(0.0, slope))
            if gram[t, t] > 0:
                improved[t, i] = max(0.0, improved[t, i] - slope / gram[t, t])
    return improved, moved


def objective(x: Any, w: Any, h: Any, *, loss: str, alpha_w: float, alpha_h: float, l1_ratio: float) -> float:
    """Return what scikit-learn's manual says that NMF minimises."""
    x, w, h = (np.asarray(a, np.float64) for a in (x, w, h))
    model = w @ h
    if loss == "frobenius":
        total = 0.5 * ((x - model) ** 2).sum()
    else:
        lit = x > 0
        total = (x[lit] * np.log(x[lit] / model[lit])).sum() - x.sum() + model.sum()
    for factor, strength in ((w, x.shape[1] * alpha_w), (h, x.shape[0] * alpha_h)):
        total += strength * (l1_ratio * factor.sum() + 0.5 * (1 - l1_ratio) * (factor**2).sum())
    return float(total)


def nndsvd(x: Any, n_components: int) -> tuple[Any, Any]:
    """Return the start of Boutsidis & Gallopoulos (2008) from a whole singular value decomposition."""
    left, values, right = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    w, h = [], []
    for u, s, v in list(zip(left.T, values, right, strict=True))[:n_components]:
        halves = [(np.maximum(sign * u, 0), np.maximum(sign * v, 0)) for sign in (1, -1)]
        best_u, best_v = max(halves, key=lambda half: np.linalg.norm(half[0]) * np.linalg.norm(half[1]))
        norm_u, norm_v = np.linalg.norm(best_u), np.linalg.norm(best_v)
        w.append(np.sqrt(s * norm_u * norm_v) * best_u / norm_u)
        h.append(np.sqrt(s * norm_u * norm_v) * best_v / norm_v)
    return np.array(w).T, np.array(h)
