"""Long traces with few points: the lowest and highest value of each stretch, so that no transient is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpucells.model.cells import Float32


def thin(trace: Float32, max_points: int) -> tuple[NDArray[np.float64], Float32]:
    """Return frame numbers and values to draw.

    Parameters
    ----------
    trace : numpy.ndarray
        ``(n_frames,)``.
    max_points : int
        At most so many, at least 2.

    Returns
    -------
    tuple of numpy.ndarray
        Frames and values, both ``(n_points,)``. All samples where they are few enough; else every stretch of frames
        gives its lowest and its highest value, at the stretch's first and middle frame.
    """
    n_frames = len(trace)
    if n_frames <= max_points:
        return np.arange(n_frames, dtype=np.float64), trace
    edges = np.linspace(0, n_frames, max_points // 2 + 1).astype(np.int64)
    starts, stops = edges[:-1], edges[1:]
    values = np.empty(2 * len(starts), dtype=np.float32)
    values[0::2] = np.fmin.reduceat(trace, starts)
    values[1::2] = np.fmax.reduceat(trace, starts)
    frames = np.empty(len(values), dtype=np.float64)
    frames[0::2], frames[1::2] = starts, (starts + stops) / 2
    return frames, values
