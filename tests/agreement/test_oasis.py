"""Deconvolution: the CPU body against an independent convex solver, the CUDA bodies against the CPU body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.calcium_traces import calcium_traces
from reference.sparse_deconvolution import response_matrix, solve_convex

from gpucells.device.arrays import to_host
from gpucells.ops.oasis import Deconvolved, deconvolve

CONVEX = {
    "penalty, baseline given": {"penalty": 1.0, "baseline": 1.0},
    "penalty": {"penalty": 1.0},
    "noise, baseline given": {"noise": 0.3, "baseline": 1.0},
    "noise": {"noise": 0.3},
    "noise, baseline from 0 on": {"noise": 0.3, "baseline_nonnegative": True},
}
MODES = {
    **CONVEX,
    "all estimated": {},
    "floor": {"noise": 0.3, "s_min": 0.5},
    "floor by noise, baseline given": {"s_min": -3.0, "baseline": 0.5},
    "fewest": {"noise": 0.3, "s_min": 0},
}
RELATIVE = 1e-4  # what the solver and ours may differ; measured: 1e-5


def problem(order: int, n_frames: int, n: int, seed: int) -> tuple[Any, Any]:
    traces, coefficients, _, _ = calcium_traces(n, n_frames, order, seed, rate=0.05)
    traces[::4] -= 2  # baselines below 0
    return traces, coefficients


def assert_solved(found: Deconvolved, traces: Any, options: dict[str, Any]) -> None:
    """Compare with the convex solver: calcium, baseline, sum of the spikes."""
    for i, y in enumerate(traces):
        g, size = found.coefficients[i], float(np.std(y)) * len(y) ** 0.5
        c, b, total = solve_convex(
            y, g, noise=options.get("noise"), penalty=options.get("penalty", 0.0), baseline=options.get("baseline"),
            least=0.0 if options.get("baseline_nonnegative") else -np.inf,
        )  # fmt: skip
        ours = np.asarray(found.denoised[i], float)
        assert np.linalg.norm(ours - c) <= RELATIVE * size, i
        if total > 1e-6 * size:  # where no spikes are needed, baselines that do are many
            assert abs(found.baseline[i] - b) <= RELATIVE * np.std(y), i
        assert abs((response_matrix(g, len(y)) @ ours).sum() - total) <= RELATIVE * max(total, size), i


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("mode", CONVEX)
def test_convex_problems_are_solved(mode: str, order: int) -> None:
    pytest.importorskip("clarabel", reason="the independent solver, of the extra test, is not installed")
    for seed, n_frames in enumerate((20, 40, 80, 160)):
        traces, coefficients = problem(order, n_frames, 50, seed)
        found = deconvolve(traces, order, coefficients=coefficients, **CONVEX[mode])
        assert_solved(found, traces, CONVEX[mode])


@pytest.mark.parametrize("order", [1, 2])
def test_long_traces_are_solved(order: int) -> None:
    pytest.importorskip("clarabel", reason="the independent solver, of the extra test, is not installed")
    traces, coefficients = problem(order, 3000, 2, 7)
    found = deconvolve(traces, order, coefficients=coefficients, noise=0.3)
    assert_solved(found, traces, {"noise": 0.3})
    residual = traces - found.baseline[:, None] - found.denoised
    np.testing.assert_allclose((residual**2).sum(axis=1), 0.09 * 3000, rtol=1e-5)
    np.testing.assert_allclose(residual.mean(axis=1), 0, atol=1e-5)


def assert_same(on_gpu: Deconvolved, on_cpu: Deconvolved) -> None:
    """The same steps in float64: but for the noise, which is estimated in float32, the same to the last bits."""
    for name in ("baseline", "noise", "coefficients", "penalty"):
        assert isinstance(getattr(on_gpu, name), np.ndarray)
        np.testing.assert_allclose(getattr(on_gpu, name), getattr(on_cpu, name), rtol=2e-5, atol=1e-5)
    for name in ("denoised", "spikes"):
        assert not isinstance(getattr(on_gpu, name), np.ndarray)
        np.testing.assert_allclose(to_host(getattr(on_gpu, name)), getattr(on_cpu, name), atol=5e-5)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_both_bodies_agree(cuda: Any, mode: str, order: int) -> None:
    traces, coefficients = problem(order, 150, 37, 3)
    traces[5, 7], traces[6] = np.nan, 1.5
    options = dict(MODES[mode])
    if "noise" in options and order:
        options["coefficients"] = coefficients
    assert_same(deconvolve(cuda.asarray(traces), order, **options), deconvolve(traces, order, **options))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shape", [(0, 20), (1, 1), (3, 2), (33, 40)])
def test_both_bodies_agree_on_few(cuda: Any, shape: tuple[int, int], order: int) -> None:
    traces = np.random.default_rng(1).normal(1, 1, shape).astype("f4")
    options: dict[str, Any] = {"coefficients": [0.9, -0.1][:order], "noise": 0.5}
    for more in ({}, {"s_min": 0.2}, {"s_min": 0}):
        assert_same(
            deconvolve(cuda.asarray(traces), order, **options, **more), deconvolve(traces, order, **options, **more)
        )


def test_decays_fitted_to_events_agree(cuda: Any) -> None:
    traces, _ = problem(1, 400, 5, 4)
    assert_same(deconvolve(cuda.asarray(traces), optimize_g=3, noise=0.3), deconvolve(traces, optimize_g=3, noise=0.3))


@pytest.mark.parametrize("order", [1, 2])
def test_sanitizers_find_nothing(sanitized_cuda: Any, order: int) -> None:
    traces, coefficients = problem(order, 40, 34, 5)
    for more in ({}, {"s_min": 0.5}, {"s_min": 0}):
        options: dict[str, Any] = {"coefficients": coefficients, "noise": 0.3, **more}
        assert_same(deconvolve(sanitized_cuda.asarray(traces), order, **options), deconvolve(traces, order, **options))
