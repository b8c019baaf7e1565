"""The one-factor solver against bisection on its monotone equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.robust_regression import scale_by_bisection

from gpucells.errors import InputError
from gpucells.ops.robust_single import AdaptiveKappa, fit_problems, robust_scale

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
@pytest.mark.parametrize("penalty", [0.0, 1.5])
def test_agrees_with_bisection(kappa: float, penalty: float) -> None:
    data, shape, _ = problem()
    found = robust_scale(data, shape, kappa, penalty=penalty if kappa < 100 else 0, steps=30, tolerance=0)
    assert found.dtype == np.float32
    wanted = scale_by_bisection(data, shape, kappa, penalty if kappa < 100 else 0)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_ten_steps_are_enough() -> None:
    data, shape, _ = problem()
    np.testing.assert_allclose(robust_scale(data, shape, 0.7), scale_by_bisection(data, shape, 0.7), atol=1e-3)


def test_one_kappa_a_problem() -> None:
    data, shape, _ = problem()
    kappa = RNG.uniform(0.3, 2, data.shape[1]).astype(np.float32)
    found = robust_scale(data, shape, kappa, steps=30, tolerance=0)
    np.testing.assert_allclose(found, scale_by_bisection(data, shape, kappa), atol=2e-5)


def test_noise_a_sample_is_the_whitened_problem() -> None:
    data, shape, _ = problem()
    noise = RNG.uniform(0.5, 2, len(shape)).astype(np.float32)
    found = robust_scale(data * noise[:, None], shape * noise, 0.7, noise=noise, steps=30, tolerance=0)
    np.testing.assert_allclose(found, scale_by_bisection(data, shape, 0.7), atol=1e-4)


def test_scaling_data_and_kappa_scales_the_answer() -> None:
    data, shape, _ = problem()
    # An answer near 0 is a difference of large numbers: its rounding is the data's, not its own. In 300 draws it was
    # below .033 of one rounding of the largest sample.
    rounding = np.finfo(np.float32).eps * np.abs(50 * data).max()
    scaled, plain = robust_scale(50 * data, shape, 35.0), robust_scale(data, shape, 0.7)
    np.testing.assert_allclose(scaled, 50 * plain, rtol=1e-4, atol=0.1 * rounding)


def test_robust_is_less_biased_than_least_squares_and_adaptive_less_still() -> None:
    data, shape, truth = problem(n_problems=2000)

    def error(x: Any) -> float:
        return float(np.abs(x - truth).mean())

    squares, fixed = error(robust_scale(data, shape, 1e6)), error(robust_scale(data, shape, 0.7))
    adaptive = error(robust_scale(data, shape, 0.7, adaptive=AdaptiveKappa(noise=1.0)))
    assert fixed < 0.8 * squares
    assert adaptive < squares


def test_one_huge_sample_moves_the_answer_by_a_bounded_amount() -> None:
    data = np.array([[10.0], [10], [10], [10], [1000]], np.float32)
    found = robust_scale(data, np.ones(5, np.float32), 0.5, steps=50, tolerance=0)
    assert found[0] == pytest.approx(10 + 0.5 / 4, rel=1e-5)


def test_a_start_where_every_sample_is_an_outlier_is_left() -> None:
    """There the loss is straight, and Newton's curvature zero."""
    data, samples, values = np.full((3, 2), 2, np.float32), np.arange(3), np.ones(3, np.float32)
    x = np.zeros(2, np.float32)
    fit_problems(data, samples, values, np.full(2, 0.5, np.float32), 0.0, 3, 0.0, x)
    np.testing.assert_allclose(x, 1.5)  # three steps of kappa, none too far
    fit_problems(data, samples, values, np.full(2, 0.5, np.float32), 0.0, 10, 0.0, x)
    np.testing.assert_allclose(x, 2)


def test_rows_of_a_larger_array_are_picked_by_number() -> None:
    data, shape, _ = problem()
    larger = RNG.normal(0, 100, (2 * len(data), data.shape[1])).astype(np.float32)
    samples = RNG.permutation(len(larger))[: len(data)]
    larger[samples] = data
    x = robust_scale(data, shape, 1e6)
    fit_problems(larger, samples, shape, np.full_like(x, 0.7), 0.0, 30, 0.0, x)
    np.testing.assert_allclose(x, scale_by_bisection(data, shape, 0.7), atol=2e-5)


def test_empty_inputs_and_wrong_shapes() -> None:
    data, shape, _ = problem()
    np.testing.assert_array_equal(robust_scale(data, 0 * shape, 0.7), 0)
    assert robust_scale(data[:, :0], shape, 0.7).shape == (0,)
    with pytest.raises(InputError, match="do not fit"):
        robust_scale(data.T, shape, 0.7)
