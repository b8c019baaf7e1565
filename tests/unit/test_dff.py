"""dF/F against a drifting baseline: what it must not depend on, what it takes off, what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import gpucells
from gpucells.errors import InputError, SettingsError
from gpucells.model.cells import Cells
from gpucells.postprocess.dff import baseline_quantile, mode, relative_change

T, WINDOW = 3000, 500


def recording(seed: int = 0, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calcium, baseline and noise of three cells: baseline 10, events of 20, noise 1."""
    rng = np.random.default_rng(seed)
    events = rng.random((3, T)) < 0.005
    kernel = 20 * np.exp(-np.arange(60) / 10)
    calcium = np.array([np.convolve(row, kernel)[:T] for row in events])
    baseline = 10 + drift * np.exp(-2 * np.arange(T) / T) + np.zeros((3, 1))
    return calcium, baseline, rng.normal(0, 1, (3, T))


def cells_of(traces: np.ndarray, f0: np.ndarray, frame_rate_hz: float | None) -> Cells:
    n = len(traces)
    return Cells(
        footprints=sparse.csr_array(np.eye(n, 4, dtype=np.float32)), traces=traces.astype(np.float32),
        image_shape=(2, 2), f0=f0.astype(np.float32), accepted=np.ones(n, bool), rejection=("",) * n,
        frame_rate_hz=frame_rate_hz,
    )  # fmt: skip


@given(st.integers(0, 10**6), st.floats(0.01, 1000), st.sampled_from(["auto", 0.1, 0.5]))
def test_the_gain_of_the_movie_does_not_show(seed: int, gain: float, quantile: float) -> None:
    calcium, baseline, noise = recording(seed, 3)
    traces, below = (calcium + baseline + noise)[:, :400], np.array([30.0, 20.0, 50.0])
    one = relative_change(traces, below, 100, quantile)
    other = relative_change(gain * traces, gain * below, 100, quantile)
    np.testing.assert_allclose(other, one, atol=2e-2 if quantile == "auto" else 1e-4)


@pytest.mark.parametrize("quantile", ["auto", 0.4])
def test_a_slow_drift_goes_and_transients_stay(quantile: float) -> None:
    calcium, baseline, noise = recording(1, drift=30)
    found = relative_change(calcium + baseline + noise, np.full(3, 40.0), WINDOW, quantile)
    wanted = calcium / (40 + baseline)
    slow = (found - wanted).reshape(3, 10, 300).mean(axis=2)
    assert np.abs(slow).max() < 0.02  # of a baseline that falls by a third
    assert np.abs(found - wanted).max() < 0.15  # the noise: 1 / 50 to 1 / 80, and what the baseline is off
    big = calcium > 15
    slope = (found[big] * wanted[big]).sum() / (wanted[big] ** 2).sum()
    assert slope == pytest.approx(1, abs=0.03)


def test_it_is_the_equation() -> None:
    """A constant baseline, and a window longer than the trace: everything is known."""
    traces = np.array([[1.0, 2, 3, 4, 5], [0, 0, 10, 0, 0]])
    found = relative_change(traces, np.array([7.0, 5]), 6, 0.5)
    np.testing.assert_allclose(found, [(traces[0] - 3) / 10, traces[1] / 5], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_background_that_changes_is_followed() -> None:
    calcium, baseline, noise = recording(2)
    below = np.repeat(np.linspace(20, 90, T)[None], 3, axis=0)
    found = relative_change(calcium + baseline + noise, below, WINDOW, 0.4)
    constant = relative_change(calcium + baseline + noise, np.full(3, 20.0), WINDOW, 0.4)
    inside = slice(WINDOW, -WINDOW)
    share = (20 + baseline) / (below + baseline)
    np.testing.assert_allclose(found[:, inside], (constant * share)[:, inside], rtol=0.05, atol=1e-3)


def test_no_baseline_and_lost_frames_are_nan() -> None:
    calcium, baseline, noise = recording(3)
    traces = calcium + baseline + noise
    traces[:, 100:110] = np.nan
    found = relative_change(traces, np.array([20.0, np.nan, -40.0]), WINDOW)
    assert np.isnan(found[0, 100:110]).all()
    assert np.isfinite(np.delete(found[0], np.s_[100:110])).all()
    assert np.isnan(found[1:]).all()


def test_constant_short_and_empty() -> None:
    np.testing.assert_array_equal(relative_change(np.full((2, 9), 4.0), np.ones(2), 3), np.zeros((2, 9)))
    assert relative_change(np.ones((1, 1)), np.ones(1), 3).shape == (1, 1)
    assert relative_change(np.zeros((0, 9)), np.zeros(0), 3).shape == (0, 9)
    assert relative_change(np.zeros((2, 0)), np.zeros(2), 3).shape == (2, 0)


def test_many_cells_are_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    traces, below = rng.normal(10, 1, (70, 50)), rng.uniform(5, 9, 70)  # more than are done at once
    together = relative_change(traces, below, 20)
    np.testing.assert_array_equal(together[66], relative_change(traces[66:67], below[66:67], 20)[0])


def test_the_mode_is_where_silent_frames_are() -> None:
    calcium, _, noise = recording(4)
    assert mode((calcium + noise).ravel()) == pytest.approx(0, abs=0.35)
    assert mode(np.full(9, 3.0)) == 3
    assert mode(np.array([5.0])) == 5
    level = baseline_quantile(calcium + noise + 30 * np.arange(T) / T, WINDOW)
    true = np.mean(calcium + noise < 0, axis=1)
    np.testing.assert_allclose(level, true, atol=0.12)
    np.testing.assert_array_equal(baseline_quantile(np.full((1, 5), np.nan), 3), [0.5])


def test_it_is_offered_for_cells() -> None:
    calcium, baseline, noise = recording(5)
    traces, f0 = calcium + baseline + noise, np.array([20.0, 30, 40])
    found = gpucells.detrend_dff(cells_of(traces, f0, 20.0), window_s=25)
    np.testing.assert_array_equal(found, relative_change(traces.astype(np.float32), f0, WINDOW))
    np.testing.assert_array_equal(found, gpucells.detrend_dff(cells_of(traces, f0, None), window_frames=WINDOW))
    with pytest.raises(SettingsError, match="no frame rate"):
        gpucells.detrend_dff(cells_of(traces, f0, None))
    with pytest.raises(SettingsError, match="window_s"):
        gpucells.detrend_dff(cells_of(traces, f0, 20.0), window_s=-1)


def test_what_makes_no_sense_is_refused() -> None:
    traces = np.ones((2, 5))
    for quantile in (-0.1, 1.5, np.nan, "mean"):
        with pytest.raises(SettingsError, match="quantile"):
            relative_change(traces, np.ones(2), 3, quantile)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="window"):
        relative_change(traces, np.ones(2), 0)
    with pytest.raises(InputError, match="shape"):
        relative_change(traces, np.ones(3), 3)
