"""The CUDA bodies of :func:`gpucells.ops.oasis.deconvolve`: ``kernels/oasis_ar1.cu``, ``kernels/oasis_ar2.cu``.

Traces are turned around, so that threads, one a trace, read side by side; as many at once as there is room for the
work space, which is some 10 times the traces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.budget import device_budget_bytes
from gpucells.ops.oasis_ar1 import FEWEST_SPIKES, OASIS_AR1, WARP
from gpucells.ops.oasis_ar2 import OASIS_AR2

Float64 = NDArray[np.float64]

FREE_SHARE = 0.5  # of what arrays may take: for the work space


def deconvolve_cuda(
    traces: Any, response: Float64, noise: Float64, baseline: Float64, penalty: Float64, mode: int, floor: Float64,
    free: bool, least: Float64, c: Any, s: Any,
) -> None:  # fmt: skip
    """Fill ``c``, ``s``, ``baseline`` and ``penalty``.

    Parameters
    ----------
    traces, c, s : cupy.ndarray
        ``(n_traces, n_frames)`` float32.
    response : numpy.ndarray
        ``(n_traces, order)`` float64, of order 1 or 2.
    noise, baseline, penalty, floor, least, mode, free
        As in :func:`gpucells.ops.oasis_ar1.deconvolve_ar1`.
    """
    n_traces, n_frames = traces.shape
    order = response.shape[1]
    bytes_each = n_frames * (12 + (40 if order == 1 else 41) + (32 if mode == FEWEST_SPIKES else 0))
    rows = max(WARP, int(FREE_SHARE * device_budget_bytes(f"cuda:{traces.device.id}")) // bytes_each)
    for first in range(0, n_traces, rows):
        some = slice(first, first + rows)
        _launch(
            traces[some], response[some], noise[some], baseline[some], penalty[some], mode, floor[some], free,
            least[some], c[some], s[some],
        )  # fmt: skip


def _launch(
    traces: Any, response: Float64, noise: Float64, baseline: Float64, penalty: Float64, mode: int, floor: Float64,
    free: bool, least: Float64, c: Any, s: Any,
) -> None:  # fmt: skip
    xp = namespace_of(traces)
    turned = xp.ascontiguousarray(traces.T)
    n_frames, n_traces = turned.shape
    out_c, out_s = xp.zeros(turned.shape, np.float32), xp.zeros(turned.shape, np.float32)
    sent_baseline, sent_penalty = xp.asarray(baseline), xp.asarray(penalty)
    shared = {
        "traces": turned, "noise": xp.asarray(noise), "baseline": sent_baseline, "penalty": sent_penalty,
        "floor": xp.asarray(floor), "least": xp.asarray(least), "c": out_c, "s": out_s, "mode": mode, "free": free,
    }  # fmt: skip
    grid, n_spare = (-(-n_traces // WARP),), n_frames if mode == FEWEST_SPIKES else 0
    if response.shape[1] == 1:
        OASIS_AR1.launch(
            grid, (WARP,), coefficients=xp.asarray(response[:, 0]),
            pools_of_all=xp.empty((5, n_frames, n_traces), np.float64),
            spare_of_all=xp.empty((4, n_spare, n_traces), np.float64), **shared,
        )  # fmt: skip
    else:
        OASIS_AR2.launch(
            grid, (WARP,), coefficients=xp.asarray(response), gains=xp.empty((4, n_frames, n_traces), np.float64),
            path=xp.empty((n_frames, n_traces), np.float64), inside=xp.empty((n_frames, n_traces), bool),
            sizes=xp.empty((n_spare, n_traces), np.float64), **shared,
        )  # fmt: skip
    baseline[:], penalty[:] = to_host(sent_baseline), to_host(sent_penalty)
    c[:], s[:] = out_c.T, out_s.T
