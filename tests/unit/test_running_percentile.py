"""The running quantile on the CPU: its window, its edges, what is missing, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from reference.running_percentile import windows_quantile
from scipy import ndimage

from gpucells.errors import InputError
from gpucells.ops.running_percentile import running_percentile


def noisy(n_traces: int, n_frames: int, seed: int = 0) -> np.ndarray:
    """Normal samples, and a trace with ties, the smallest of which are 0 and -0."""
    traces = np.random.default_rng(seed).normal(0, 3, (n_traces, n_frames)).astype(np.float32)
    traces[-1:] = np.round(traces[-1:] / 2)
    return traces


@pytest.mark.parametrize("window", [1, 2, 7, 64, 299, 300, 301, 10**6])
@pytest.mark.parametrize("quantile", [0.0, 0.08, 0.5, 1.0])
def test_it_is_the_quantile_of_every_window(window: int, quantile: float) -> None:
    traces = noisy(2, 300)
    found = running_percentile(traces, quantile, window)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, windows_quantile(traces, quantile, window), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("window", [5, 6, 501])
def test_inside_it_is_what_scipy_finds(window: int) -> None:
    """On long traces, so that empty groups of words are passed over; SciPy gives no value between two samples."""
    traces = noisy(1, 20_000)
    steps = np.round(traces + 400 * (np.arange(20_000) // 700 % 2)).astype(np.float32)  # two levels far apart in rank
    for quantile in (0.0, 0.5, 1.0):
        if quantile == 0.5 and window % 2 == 0:
            continue  # the median of an even number lies between two
        wanted = ndimage.rank_filter(steps[0], int(quantile * (window - 1)), window)
        inside = slice(window, -window)
        np.testing.assert_array_equal(running_percentile(steps, quantile, window)[0, inside], wanted[inside])


def test_a_window_longer_than_the_trace_is_the_whole_trace() -> None:
    traces = noisy(2, 40)
    wanted = np.quantile(traces.astype(np.float64), 0.3, axis=1)
    np.testing.assert_allclose(running_percentile(traces, 0.3, 41), np.repeat(wanted[:, None], 40, 1), rtol=1e-6)
    assert np.ptp(running_percentile(traces, 0.3, 40)[0]) > 0  # as long as the trace: clipped at the ends


@pytest.mark.parametrize("step", [2, 7, 299, 300, 10**6])
def test_steps_are_joined_by_lines(step: int) -> None:
    traces = noisy(2, 300)
    np.testing.assert_allclose(
        running_percentile(traces, 0.2, 31, step), windows_quantile(traces, 0.2, 31, step), rtol=1e-6, atol=1e-7
    )


def test_what_is_not_finite_is_left_out() -> None:
    traces = noisy(3, 200)
    traces[0, ::3], traces[0, 50:80] = np.nan, np.inf
    traces[1] = np.nan
    found = running_percentile(traces, 0.4, 11)
    np.testing.assert_allclose(found, windows_quantile(traces, 0.4, 11), rtol=1e-6, atol=1e-7)
    assert np.isnan(found[0, 60:70]).all()
    assert np.isnan(found[1]).all()


def test_every_trace_may_have_its_own_quantile() -> None:
    traces, quantiles = noisy(3, 100), np.array([0.0, 0.5, 0.9])
    found = running_percentile(traces, quantiles, 21)
    for i, quantile in enumerate(quantiles):
        np.testing.assert_array_equal(found[i], running_percentile(traces[i : i + 1], quantile, 21)[0])


def test_constant_short_and_empty() -> None:
    np.testing.assert_array_equal(running_percentile(np.full((2, 9), 4), 0.3, 5), np.full((2, 9), 4, np.float32))
    np.testing.assert_array_equal(running_percentile([[7]], 0.5, 3, 2), [[7]])
    assert running_percentile(np.zeros((0, 9)), 0.5, 3).shape == (0, 9)
    assert running_percentile(np.zeros((3, 0)), 0.5, 3).shape == (3, 0)


def test_it_fills_an_array_that_is_given() -> None:
    traces, out = noisy(2, 50), np.empty((2, 50), np.float32)
    assert running_percentile(traces, 0.5, 9, out=out) is out
    np.testing.assert_array_equal(out, running_percentile(traces, 0.5, 9))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((1.5, 3), "quantiles from 1.5"), ((np.nan, 3), "quantiles"), ((0.5, 0), "window of 0"), ((0.5, 3, 0), "every 0")],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        running_percentile(np.zeros((1, 5)), *arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="shape"):
        running_percentile(np.zeros(5), 0.5, 3)
