"""The running quantile: both bodies against one window at a time in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.running_percentile import windows_quantile

from gpucells.device.arrays import to_host
from gpucells.ops import running_percentile as operation
from gpucells.ops.running_percentile import running_percentile

# Frames that fill no word, one, several and part of the next; more than a block has threads; one; none.
SIZES = [(1, 1), (2, 2), (3, 31), (2, 32), (3, 97), (2, 600), (0, 9), (2, 0)]


def traces_of(n_traces: int, n_frames: int) -> Any:
    """Both signs, large and small, a trace of ties and gaps, and one that is nothing but gaps."""
    rng = np.random.default_rng(n_traces * 10_000 + n_frames)
    traces = (rng.normal(0, 1, (n_traces, n_frames)) * 10.0 ** rng.integers(-3, 6, (n_traces, 1))).astype(np.float32)
    if n_traces > 1 and n_frames > 2:
        traces[1] = np.round(rng.normal(0, 2, n_frames))
        traces[1, rng.random(n_frames) < 0.3] = np.nan
    if n_traces > 2:
        traces[2] = np.inf
    return traces


@pytest.mark.parametrize(("n_traces", "n_frames"), SIZES)
@pytest.mark.parametrize(("quantile", "window", "step"), [(0.0, 1, 1), (0.3, 10, 1), (0.5, 33, 4), (1.0, 10**4, 700)])
def test_both_bodies_give_the_quantile_of_every_window(
    cuda: Any, n_traces: int, n_frames: int, quantile: float, window: int, step: int
) -> None:
    traces = traces_of(n_traces, n_frames)
    wanted = windows_quantile(traces, quantile, window, step)
    on_cpu = running_percentile(traces, quantile, window, step)
    on_gpu = running_percentile(cuda.asarray(traces), quantile, window, step)
    assert isinstance(on_gpu, cuda.ndarray)
    assert on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, wanted)
    if step == 1 and quantile in (0.0, 1.0):  # samples themselves, so there is nothing to differ in
        np.testing.assert_array_equal(to_host(on_gpu), on_cpu)


def test_blocks_take_turns(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "SCRATCH_BYTES", 2 * 40 * 80)  # 2 blocks
    traces, quantiles = traces_of(7, 80), np.linspace(0, 1, 7)
    on_gpu = to_host(running_percentile(cuda.asarray(traces), quantiles, 15))
    np.testing.assert_allclose(on_gpu, running_percentile(traces, quantiles, 15), rtol=1e-6, atol=1e-6)


def test_sanitizers_find_nothing(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "SCRATCH_BYTES", 1)  # one block
    traces = traces_of(3, 70)
    on_gpu = to_host(running_percentile(sanitized_cuda.asarray(traces), 0.4, 9, 3))
    np.testing.assert_allclose(on_gpu, running_percentile(traces, 0.4, 9, 3), rtol=1e-6, atol=1e-6)
