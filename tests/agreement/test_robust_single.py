"""The one-factor solver against bisection on its monotone equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.one_factor import fit, fit_adaptively
from reference.robust_regression import scale_by_bisection

from gpucells.ops.robust_single import BLOCK, fit_problems

RNG = np.random.default_rng(31)


@pytest.fixture(autouse=True)
def _same_draws_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(31))


def problem(n_samples: int = 40, n_problems: int = 300) -> tuple[Any, Any, Any]:
    shape = np.exp(-((np.arange(n_samples) - n_samples / 2) ** 2) / (n_samples / 4) ** 2).astype(np.float32)
    truth = np.where(RNG.random(n_problems) < 0.5, RNG.exponential(2, n_problems), 0)
    data = shape[:, None] * truth + RNG.normal(0, 1, (n_samples, n_problems))
    data += (RNG.random(data.shape) < 0.15) * RNG.exponential(5, data.shape)
    return data.astype(np.float32), shape, truth


@pytest.mark.parametrize("kappa", [0.1, 0.7, 3.0, 1e6])
def test_agrees_with_bisection(kappa: float) -> None:
    data, shape, _ = problem()
    found = fit(data, shape, kappa, steps=30, tolerance=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scale_by_bisection(data, shape, kappa, 0), atol=2e-5)


def test_ten_steps_are_enough() -> None:
    data, shape, _ = problem()
    np.testing.assert_allclose(fit(data, shape, 0.7), scale_by_bisection(data, shape, 0.7), atol=1e-3)


def test_a_trace_of_pixels_is_the_same_problem() -> None:
    """One shape of frames in many pixels, more of them than a block holds."""
    data, shape, _ = problem(n_samples=300, n_problems=2 * BLOCK + 3)
    found = fit(data, shape, 0.7, steps=30, tolerance=0)
    np.testing.assert_allclose(found, scale_by_bisection(data, shape, 0.7), atol=2e-5)


def test_one_kappa_a_problem() -> None:
    data, shape, _ = problem()
    kappa = RNG.uniform(0.3, 2, data.shape[1]).astype(np.float32)
    found = fit(data, shape, kappa, steps=30, tolerance=0)
    np.testing.assert_allclose(found, scale_by_bisection(data, shape, kappa), atol=2e-5)


def test_scaling_data_and_kappa_scales_the_answer() -> None:
    data, shape, _ = problem()
    # An answer near 0 is a difference of large numbers: its rounding is the data's, not its own. In 300 draws it was
    # below .033 of one rounding of the largest sample.
    rounding = np.finfo(np.float32).eps * np.abs(50 * data).max()
    np.testing.assert_allclose(fit(50 * data, shape, 35.0), 50 * fit(data, shape, 0.7), rtol=1e-4, atol=0.1 * rounding)


def test_robust_is_less_biased_than_least_squares_and_adaptive_less_still() -> None:
    data, shape, truth = problem(n_problems=2000)

    def error(x: Any) -> float:
        return float(np.abs(x - truth).mean())

    squares, fixed = error(fit(data, shape, 1e6)), error(fit(data, shape, 0.7))
    assert fixed < 0.8 * squares
    assert error(fit_adaptively(data, shape, noise=1.0)) < squares


def test_one_huge_sample_moves_the_answer_by_a_bounded_amount() -> None:
    data = np.array([[10.0], [10], [10], [10], [1000]], np.float32)
    found = fit(data, np.ones(5, np.float32), 0.5, steps=50, tolerance=0)
    assert found[0] == pytest.approx(10 + 0.5 / 4, rel=1e-5)


def test_a_start_where_every_sample_is_an_outlier_is_left() -> None:
    """There the loss is straight and Newton's curvature zero: one step passes the optimum, the next is on it."""
    data, shape = np.full((3, 2), 2, np.float32), np.ones(3, np.float32)
    np.testing.assert_allclose(fit(data, shape, 0.5, steps=2, start=np.zeros(2)), 2)


def test_the_last_step_is_told_before_it_is_cut_off_at_zero() -> None:
    data, shape = np.array([[-3.0, 4], [-3, 4]], np.float32), np.ones(2, np.float32)
    x, free = np.zeros(2, np.float32), np.empty(2, np.float32)
    fit_problems(data, np.arange(2), shape, np.full(2, 1e6, np.float32), 3, 0.0, x, free)
    np.testing.assert_allclose(x, [0, 4])
    np.testing.assert_allclose(free, [-3, 4])


def test_rows_of_a_larger_array_are_picked_by_number() -> None:
    data, shape, _ = problem()
    larger = RNG.normal(0, 100, (2 * len(data), data.shape[1])).astype(np.float32)
    samples = RNG.permutation(len(larger))[: len(data)]
    larger[samples] = data
    x = fit(data, shape, 1e6)
    fit_problems(larger, samples, shape, np.full_like(x, 0.7), 30, 0.0, x, np.empty_like(x))
    np.testing.assert_allclose(x, scale_by_bisection(data, shape, 0.7), atol=2e-5)


def test_nothing_to_fit() -> None:
    data, shape, _ = problem()
    np.testing.assert_array_equal(fit(data, 0 * shape, 0.7), 0)
    assert fit(data[:, :0], shape, 0.7).shape == (0,)
