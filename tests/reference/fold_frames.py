"""Frames turned into pixels' traces, in float64 and one line each; what is not finite counts as 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def finite_pixels(frames: NDArray[Any]) -> NDArray[np.float64]:
    """``(n_frames, n_pixels)``."""
    flat = frames.astype(np.float64).reshape(len(frames), int(np.prod(frames.shape[1:])))
    return np.where(np.isfinite(flat), flat, 0.0)


def averages(frames: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """``(n_pixels, n_frames // factor)``."""
    flat, n = finite_pixels(frames), len(frames) // factor
    return flat[: n * factor].reshape(n, factor, flat.shape[1]).sum(axis=1).T / factor


def whitened(frames: NDArray[Any], baseline: Any, noise: Any, pixels: Any) -> NDArray[np.float64]:
    """``(len(pixels), n_frames)``."""
    plain = finite_pixels(frames) - np.asarray(baseline, np.float64)
    return (plain / np.asarray(noise, np.float64))[:, pixels].T
