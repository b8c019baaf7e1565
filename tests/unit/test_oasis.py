"""Deconvolution: what each option does, and what is refused."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from reference.calcium_traces import calcium_traces
from scipy.signal import lfilter

from gpucells.errors import InputError
from gpucells.ops import oasis_ar2
from gpucells.ops.oasis import deconvolve

ARRAYS = ("denoised", "spikes", "baseline", "noise", "coefficients", "penalty")


def rss(traces: Any, found: Any) -> Any:
    residual = np.asarray(traces, float) - found.baseline[:, None] - found.denoised
    return (residual**2).sum(axis=1)


@pytest.mark.parametrize("order", [1, 2])
def test_spikes_are_found(order: int) -> None:
    traces, coefficients, spikes, baseline = calcium_traces(20, 5000, order, noise=0.1)
    found = deconvolve(traces, order)
    assert found.denoised.dtype == found.spikes.dtype == np.float32
    assert np.median(np.abs(found.baseline - baseline)) < 0.2
    assert np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(found.spikes, spikes, strict=True)]) > 0.85
    assert np.abs(found.noise - 0.1).max() < 0.05
    known = deconvolve(traces, order, coefficients=coefficients, noise=0.1)
    assert np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(known.spikes, spikes, strict=True)]) > 0.95


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("options", [{}, {"s_min": 0.4}, {"s_min": 0}, {"penalty": 1.0}])
def test_calcium_is_the_response_to_spikes(order: int, options: dict[str, Any]) -> None:
    traces, coefficients, _, _ = calcium_traces(5, 400, order)
    found = deconvolve(traces, order, coefficients=coefficients, **options)
    for c, s, g in zip(found.denoised, found.spikes, coefficients, strict=True):
        first = np.r_[c[0], s[1:]].astype(float)  # what stands in the first frame is not called a spike
        assert s[0] == 0
        np.testing.assert_allclose(lfilter([1.0], np.r_[1.0, -g], first), c, atol=2e-5 * c.max())
        assert s.min() >= 0


@pytest.mark.parametrize("order", [1, 2])
def test_no_spike_is_below_the_floor(order: int) -> None:
    traces, coefficients, *_ = calcium_traces(10, 2000, order)
    found = deconvolve(traces, order, coefficients=coefficients, s_min=0.4)
    assert found.spikes[found.spikes > 0].min() >= 0.4 * (1 - 1e-5)
    assert not found.penalty.any()
    slow = np.array([np.roots([1, *-g]).max() for g in coefficients])
    relative = deconvolve(traces, order, coefficients=coefficients, s_min=-3.0, noise=0.3)
    floors = 3 * 0.3 * np.sqrt(1 - slow)
    assert all(s[s > 0].min() >= floor * (1 - 1e-5) for s, floor in zip(relative.spikes, floors, strict=True))


@pytest.mark.parametrize("order", [1, 2])
def test_the_fewest_spikes_come_within_the_noise(order: int) -> None:
    traces, coefficients, spikes, _ = calcium_traces(10, 2000, order)
    many = deconvolve(traces, order, coefficients=coefficients, noise=0.3)
    few = deconvolve(traces, order, coefficients=coefficients, noise=0.3, s_min=0)
    assert np.all(rss(traces, few) <= 0.09 * 2000 * (1 + 1e-5))
    count = (few.spikes > 0).sum(axis=1)
    assert np.all(count < 0.7 * (many.spikes > 0).sum(axis=1))
    assert count.sum() < 1.5 * (spikes > 0).sum()
    np.testing.assert_array_equal(few.baseline, many.baseline)


def test_decays_are_fitted_to_events() -> None:
    traces, coefficients, *_ = calcium_traces(20, 5000, noise=0.2, rate=0.01)
    before = np.abs(deconvolve(traces).coefficients - coefficients)
    after = np.abs(deconvolve(traces, optimize_g=5).coefficients - coefficients)
    assert np.median(after) < 0.3 * np.median(before)


def test_a_baseline_below_zero_is_only_found_where_it_may_be() -> None:
    traces, coefficients, _, baseline = calcium_traces(6, 1000)
    low = traces - 2 * np.float32(baseline)[:, None]
    assert np.all(deconvolve(low, coefficients=coefficients, noise=0.3).baseline < 0)
    held = deconvolve(low, coefficients=coefficients, noise=0.3, baseline_nonnegative=True)
    np.testing.assert_array_equal(held.baseline, 0)


@pytest.mark.parametrize("order", [1, 2])
def test_more_noise_than_signal_leaves_no_spikes_and_too_little_no_penalty(order: int) -> None:
    traces, coefficients, *_ = calcium_traces(4, 300, order)
    none = deconvolve(traces, order, coefficients=coefficients, noise=100.0)
    assert not none.denoised.any()
    np.testing.assert_allclose(none.baseline, traces.mean(axis=1), rtol=1e-5)
    options: dict[str, Any] = {"coefficients": coefficients, "baseline": 2.0}
    closest = deconvolve(traces, order, noise=1e-3, **options)
    assert not closest.penalty.any()
    np.testing.assert_array_equal(closest.denoised, deconvolve(traces, order, penalty=0.0, **options).denoised)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"s_min": 0.1}, {"s_min": 0}, {"optimize_g": 2}])
def test_traces_that_say_nothing_give_zeros(order: int, options: dict[str, Any]) -> None:
    if order != 1 and "optimize_g" in options:
        return
    good = calcium_traces(1, 60)[0][0]
    bad = np.r_[good[:30], np.nan, good[31:]]
    traces = np.array([bad, np.r_[np.inf, good[1:]], np.zeros(60), np.full(60, 3.0), good], "f4")
    found = deconvolve(traces, order, **options)
    for name in ARRAYS:
        assert np.all(np.isfinite(getattr(found, name)))
        if name != "coefficients":
            assert not np.any(getattr(found, name)[:3]), name
    if order:
        assert not found.denoised[3].any()
        np.testing.assert_allclose(found.baseline[3], 3.0)
    alone = deconvolve(traces[4:], order, **options)
    np.testing.assert_array_equal(found.spikes[4], alone.spikes[0])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_no_traces_give_no_results(order: int) -> None:
    found = deconvolve(np.zeros((0, 50), np.float32), order)
    assert found.denoised.shape == found.spikes.shape == (0, 50)
    assert found.coefficients.shape == (0, order)


def test_without_memory_what_is_positive_remains() -> None:
    traces = np.array([[-1.0, 2.0, 0.5, -3.0]])
    found = deconvolve(traces, 0)
    np.testing.assert_allclose(found.denoised, [[0, 2, 0.5, 0]], atol=1e-6)
    np.testing.assert_array_equal(found.spikes, found.denoised)
    np.testing.assert_allclose(deconvolve(traces, 0, baseline=1.0).denoised, [[0, 1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_large_offsets_and_other_types_cost_no_accuracy(order: int) -> None:
    traces, coefficients, *_ = calcium_traces(4, 500, order)
    options: dict[str, Any] = {"coefficients": coefficients, "noise": 0.3}
    wanted = deconvolve(traces, order, **options)
    moved = deconvolve(traces.astype(float) + 1e6, order, **options, baseline_nonnegative=True)
    np.testing.assert_allclose(moved.denoised, wanted.denoised, atol=1e-5)
    np.testing.assert_allclose(moved.baseline - 1e6, wanted.baseline, atol=1e-5)
    fixed = deconvolve(traces.astype(float) + 1e6, order, **options, baseline=1e6 + 1)
    np.testing.assert_allclose(fixed.denoised, deconvolve(traces, order, **options, baseline=1.0).denoised, atol=1e-5)
    whole = deconvolve(np.round(100 * traces).astype(np.int16)[:, ::-1][:, ::-1], order, coefficients=coefficients)
    assert whole.denoised.dtype == np.float32


@pytest.mark.parametrize("order", [1, 2])
def test_threads_change_nothing(order: int) -> None:
    traces, *_ = calcium_traces(9, 300, order)
    many = deconvolve(traces, order)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = deconvolve(traces, order)
    finally:
        numba.set_num_threads(threads)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


@pytest.mark.parametrize("stretch", [200, 10**6])
def test_exchanging_a_few_frames_at_a_time_ends_at_the_same(stretch: int) -> None:
    traces, coefficients, *_ = calcium_traces(1, 300, 2)
    wanted = deconvolve(traces, 2, coefficients=coefficients, penalty=1.0, baseline=1.0)
    y, (g1, g2) = traces[0], coefficients[0]
    inside, gains, c = np.zeros(300, bool), np.empty((300, 4)), np.empty(300)
    wrong, rounds = 1, 0
    while wrong and rounds < 5000:
        oasis_ar2._gains(y, 1.0, g1, g2, inside, gains)
        oasis_ar2._follow(g1, g2, inside, gains, 0.0, 1.0, c)
        wrong = oasis_ar2._exchange(y, 1.0, g1, g2, 1.0, c, inside, 1e-9, stretch)
        rounds += 1
    assert not wrong
    np.testing.assert_allclose(c, wanted.denoised[0], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((50,), {}), ((2, 0), {}), ((2, 3), {}), ((2, 50), {"order": 3}), ((2, 50), {"coefficients": 1.0}),
        ((2, 50), {"coefficients": -0.1}), ((2, 50), {"coefficients": np.nan}),
        ((2, 50), {"coefficients": [0.9, 0.8, 0.7]}),
        ((2, 50), {"coefficients": [[0.9], [0.9], [0.9]]}), ((2, 50), {"order": 2, "coefficients": [1.0, -0.5]}),
        ((2, 50), {"order": 2, "coefficients": [1.5, -0.4]}), ((2, 50), {"order": 2, "coefficients": [0.5, 0.3]}),
        ((2, 50), {"noise": -1.0}), ((2, 50), {"noise": [1.0, np.nan]}), ((2, 50), {"noise": [1.0] * 3}),
        ((2, 50), {"baseline": np.inf}), ((2, 50), {"penalty": -1.0}), ((2, 50), {"penalty": 1.0, "s_min": 1.0}),
        ((2, 50), {"s_min": np.nan}), ((2, 50), {"optimize_g": -1}), ((2, 50), {"order": 2, "optimize_g": 1}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        deconvolve(np.random.default_rng(0).normal(size=shape), **options)
