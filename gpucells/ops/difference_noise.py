"""Noise of traces from their second differences: blind to anything as slow as a transient, deaf to outliers."""

from __future__ import annotations

from typing import Any

import array_api_compat

NORMAL_MEDIAN = 0.6745  # median of |x| of a standard normal variable
ENOUGH = (
    512  # differences: the estimate is good to 3 %, and more of them overlap, so that twice as many say little more
)
SECOND_DIFFERENCE = 6.0**0.5  # standard deviation of x[t-1] - 2 x[t] + x[t+1] of unit white noise


def difference_noise(traces: Any, most: int | None = None) -> Any:
    """Estimate the standard deviation of the white noise of every trace.

    Parameters
    ----------
    traces : array
        ``(..., n_frames)``, at least 3 frames. NumPy or CuPy.
    most : int, optional
        Differences to take, evenly spread; all where not given.

    Returns
    -------
    array
        ``(...)``; 0 where there are too few frames.
    """
    xp = array_api_compat.array_namespace(traces)
    if traces.shape[-1] < 3:
        return xp.zeros_like(traces[..., 0])
    step = 1 if most is None else max(1, (traces.shape[-1] - 2) // most)
    second = xp.abs(traces[..., :-2:step] - 2 * traces[..., 1:-1:step] + traces[..., 2::step])
    middle = second.shape[-1] // 2
    return xp.partition(second, middle, axis=-1)[..., middle] / (NORMAL_MEDIAN * SECOND_DIFFERENCE)


def frame_noise(frames: Any) -> Any:
    """Estimate the standard deviation of every pixel's white noise, as :func:`difference_noise` does for traces.

    Parameters
    ----------
    frames : array
        ``(n_frames, height, width)``, at least 3 frames. Where they join parts of a movie, the few differences across
        the joints do not move a median.

    Returns
    -------
    array
        ``(height, width)``; 0 where there are too few frames.
    """
    xp = array_api_compat.array_namespace(frames)
    if len(frames) < 3:
        return xp.zeros_like(frames[0])
    step = max(1, (len(frames) - 2) // ENOUGH)
    second = xp.abs(frames[:-2:step] - 2 * frames[1:-1:step] + frames[2::step])
    middle = len(second) // 2
    return xp.partition(second, middle, axis=0)[middle] / (NORMAL_MEDIAN * SECOND_DIFFERENCE)
