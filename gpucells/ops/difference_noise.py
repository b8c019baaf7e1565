"""Noise of traces from their second differences: blind to anything as slow as a transient, deaf to outliers."""

from __future__ import annotations

from typing import Any

import array_api_compat

NORMAL_MEDIAN = 0.6745  # median of |x| of a standard normal variable
ENOUGH = 512  # frames of a pixel that its noise or a quantile is taken of: both known to 5 % of the noise
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
