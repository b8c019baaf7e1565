r"""How good a trace is: signal over noise, and how corrupted its large transients are (EXTRACT's measures).

With :math:`m` the trace's running median of three frames and :math:`\sigma` its noise (:mod:`gpucells.ops.noise`),

.. math:: \mathrm{snr} = \max m / (\sqrt 2 \sigma), \qquad
          \mathrm{corruption} = \operatorname{mean}_{t:\, m_t > .3 \max m} |x_t - m_t| / \max(x_t, m_t).

A trace that is nothing but noise has an snr of about 2; EXTRACT keeps cells above 7 and below a corruption of .7.
Works on NumPy and CuPy arrays.
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from gpucells.errors import InputError
from gpucells.ops.noise import noise_std

ACTIVE = 0.3  # share of the maximum above which a frame counts as active, as in the original
CHUNK_BYTES = 32 * 2**20  # work space of one block of traces


def median3(traces: Any) -> Any:
    """Return the running median of three frames, zero beyond both ends.

    Parameters
    ----------
    traces : array
        ``(..., n_frames)``.

    Returns
    -------
    array
        Same shape and type.
    """
    xp = array_api_compat.array_namespace(traces)
    edge = xp.zeros_like(traces[..., :1])
    before = xp.concat([edge, traces[..., :-1]], axis=-1)
    after = xp.concat([traces[..., 1:], edge], axis=-1)
    low, high = xp.minimum(before, traces), xp.maximum(before, traces)
    return xp.maximum(low, xp.minimum(high, after))


def trace_snr(traces: Any, noise: Any = None) -> Any:
    """Compute the signal-to-noise ratio of every trace.

    Parameters
    ----------
    traces : array
        ``(n_cells, n_frames)``, baseline at 0.
    noise : array, optional
        ``(n_cells,)`` noise of the traces; estimated from them where not given.

    Returns
    -------
    array
        ``(n_cells,)``; 0 where a trace has no noise at all (an empty one).
    """
    xp = _checked(traces)
    noise = noise_std(traces) if noise is None else noise
    peaks = _over_rows(xp, traces, lambda x: xp.max(median3(x), axis=1))
    alive = noise > 0
    return xp.where(alive, peaks / xp.where(alive, math.sqrt(2) * noise, xp.ones_like(noise)), xp.zeros_like(peaks))


def temporal_corruption(traces: Any) -> Any:
    """Compute how far active frames are, on average, from their own running median.

    Parameters
    ----------
    traces : array
        ``(n_cells, n_frames)``, baseline at 0.

    Returns
    -------
    array
        ``(n_cells,)``: 0 for a smooth trace, near 1 for one made of single-frame spikes on nothing; 0 where no frame
        is active.
    """
    xp = _checked(traces)

    def corruption(x: Any) -> Any:
        middle = median3(x)
        active = middle > ACTIVE * xp.max(middle, axis=1, keepdims=True)
        active &= middle > 0
        larger = xp.where(active, xp.maximum(x, middle), xp.ones_like(x))
        relative = xp.where(active, xp.abs(x - middle) / larger, xp.zeros_like(x))
        count = xp.sum(xp.astype(active, x.dtype), axis=1)
        return xp.sum(relative, axis=1) / xp.where(count > 0, count, xp.ones_like(count))

    return _over_rows(xp, traces, corruption)


def _checked(traces: Any) -> Any:
    if traces.ndim != 2:
        raise InputError(f"traces have shape {traces.shape}", "they must be (n_cells, n_frames)")
    return array_api_compat.array_namespace(traces)


def _over_rows(xp: Any, traces: Any, measure: Any) -> Any:
    """Apply ``measure`` to blocks of rows, so that the work space stays small."""
    n_cells, n_frames = traces.shape
    step = max(1, CHUNK_BYTES // max(1, 6 * n_frames * traces.dtype.itemsize))
    parts = [measure(traces[start : start + step]) for start in range(0, n_cells, step)]
    return xp.concat(parts) if parts else xp.zeros((0,), dtype=traces.dtype)
