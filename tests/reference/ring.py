"""The ring model by its definition: every block's least squares from its own traces, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_ring(i: int, inside: Any, radius: float) -> Any:
    """Numbers of the blocks that count on the ring around block ``i``."""
    y, x = np.mgrid[: inside.shape[0], : inside.shape[1]]
    squared = (y - i // inside.shape[1]) ** 2 + (x - i % inside.shape[1]) ** 2
    return np.flatnonzero((squared >= radius**2) & (squared < (radius + 1) ** 2) & inside)


def ring_weights(blocks: Any, inside: Any, radius: float, ridge: float) -> tuple[Any, Any, Any]:
    """Weights ``(d, d)``, explained shares and means ``(d,)``.

    Ridge regression is least squares with a row ``sqrt(penalty)`` a weight added below: no normal equations here.
    """
    traces = np.where(inside[..., None], blocks, 0).reshape(inside.size, -1).astype("f8")
    means = traces.mean(axis=1)
    traces -= means[:, None]
    weights, explained = np.zeros((inside.size,) * 2), np.zeros(inside.size)
    for i in np.flatnonzero(inside):
        ring = on_ring(i, inside, radius)
        x = traces[ring].T
        penalty = np.sqrt(ridge * (x**2).sum())
        system, right = np.vstack([x, penalty * np.eye(len(ring))]), np.append(traces[i], np.zeros(len(ring)))
        if len(ring) and (x != 0).any():
            weights[i, ring] = np.linalg.lstsq(system, right, rcond=None)[0]
        energy = (traces[i] ** 2).sum()
        explained[i] = 1 - ((traces[i] - x @ weights[i, ring]) ** 2).sum() / energy if len(ring) and energy else 0
    return weights, explained, means


def predicted(weights: Any, means: Any, blocks: Any) -> Any:
    """Prediction of every block, ``(d, n_frames)``."""
    traces = blocks.reshape(len(means), -1).astype("f8")
    return means[:, None] + weights @ (traces - means[:, None])


def without_transients(prediction: Any, blocks: Any, above: Any) -> Any:
    """The movie with samples replaced by the prediction where they are so far above it."""
    traces = blocks.reshape(prediction.shape)
    return np.where(traces > prediction + above.reshape(-1, 1), prediction, traces).reshape(blocks.shape)
