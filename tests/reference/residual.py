"""What components leave of a movie, and the fit of gain and offset, in float64 and dense."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def residual(movie: Any, images: Any, traces: Any, offset: Any = 0.0) -> Float64:
    """``(n_pixels, n_frames)``."""
    model = np.asarray(images.toarray(), np.float64).T @ np.asarray(traces, np.float64)
    left: Float64 = np.asarray(movie, np.float64) - model - np.reshape(np.asarray(offset, np.float64), (-1, 1))
    return left


def gain_and_offset(
    movie: Any, footprints: Any, traces: Any, hats: Any, hat_traces: Any, start_gain: Any, start_offset: Any,
    kappa: float, near: float = 0.5, usual: float = 0.3,
) -> tuple[Float64, Float64, Float64]:  # fmt: skip
    """Two steps of least squares with clipped residuals for the gain, then four of Huber's location for the offset."""
    left = residual(movie, footprints, traces, start_offset)
    field = -residual(np.zeros_like(movie), hats, hat_traces)
    swing = field - field.mean(axis=1, keepdims=True)
    energy = 1e-6 + (swing**2).sum(axis=1)
    gain = np.asarray(start_gain, np.float64)
    for _ in range(2):
        gain = gain + (np.minimum(left - gain[:, None] * field, kappa) * swing).sum(axis=1) / energy
    left = left - gain[:, None] * field
    level = np.zeros(len(left))
    for _ in range(4):
        distance = left - level[:, None]
        n_near = (np.abs(distance) < near).sum(axis=1)
        level = level + np.clip(distance, -near, near).sum(axis=1) / np.maximum(n_near, usual * left.shape[1])
    return gain, start_offset + level, energy
