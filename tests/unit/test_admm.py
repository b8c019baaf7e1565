"""The original's iteration: optimum, constraints, penalty, mask, adaptive kappa."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import robust_regression

from gpucells.errors import InputError, SettingsError
from gpucells.methods.extract.adaptive_kappa import estimate_kappa
from gpucells.methods.extract.admm import robust_loss, solve_admm

RNG = np.random.default_rng(21)
N_ROWS, N_SAMPLES, N_COMPONENTS, KAPPA = 12, 60, 4, 0.2


def problem(seed: int = 0) -> tuple[Any, Any, Any]:
    """Overlapping components, noise, and positive contamination of a tenth of the samples."""
    rng = np.random.default_rng(seed)
    centres = np.array([10, 22, 34, 46])[:, None]
    components = np.exp(-((np.arange(N_SAMPLES) - centres) ** 2) / (2 * 6**2))
    components[components < 0.02] = 0
    truth = np.where(rng.random((N_ROWS, N_COMPONENTS)) < 0.5, rng.exponential(1, (N_ROWS, N_COMPONENTS)), 0)
    data = truth @ components + rng.normal(0, KAPPA / 0.7, (N_ROWS, N_SAMPLES))
    data += (rng.random(data.shape) < 0.1) * rng.exponential(3, data.shape)
    return data, components, np.zeros_like(truth)


def test_reaches_the_optimum() -> None:
    data, components, start = problem()
    found = solve_admm(data, components, start, KAPPA, n_iterations=2000, stop_early=False).coefficients
    np.testing.assert_allclose(found, robust_regression.minimise(data, components, KAPPA), atol=2e-5)


def test_stops_early_and_says_so() -> None:
    data, components, start = problem()
    found = solve_admm(data, components, start, KAPPA, n_iterations=2000)
    assert found.n_iterations == 1000  # the test begins at half of them
    np.testing.assert_allclose(found.coefficients, robust_regression.minimise(data, components, KAPPA), atol=2e-3)


def test_penalty_and_mask_are_part_of_the_optimum() -> None:
    data, components, start = problem(1)
    penalty = np.array([0.0, 2.0, 5.0, 1.0])
    mask = (RNG.random(start.shape) < 0.8).astype(float)
    found = solve_admm(
        data, components, start, KAPPA, penalty=penalty, mask=mask, n_iterations=2000, stop_early=False
    ).coefficients
    wanted = robust_regression.minimise(data, components, KAPPA, penalty, mask)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.all(found[mask == 0] == 0)


@pytest.mark.parametrize("adaptive", ["components", "rows"])
def test_penalty_acts_in_the_adaptive_solvers(adaptive: Any) -> None:
    data, components, start = problem(2)
    free = solve_admm(data, components, start, KAPPA, adaptive=adaptive).coefficients
    none = solve_admm(data, components, start, KAPPA, adaptive=adaptive, penalty=np.zeros(4)).coefficients
    paid = solve_admm(data, components, start, KAPPA, adaptive=adaptive, penalty=np.full(4, 5.0)).coefficients
    np.testing.assert_array_equal(none, free)
    assert paid.sum() < 0.9 * free.sum()


def test_large_kappa_is_least_squares() -> None:
    data, components, start = problem(3)
    found = solve_admm(data, components, start, 1e6, constraint="none").coefficients
    np.testing.assert_allclose(found, np.linalg.lstsq(components.T, data.T)[0].T, atol=1e-5)


@pytest.mark.parametrize("every_step", [False, True])
def test_baseline_lets_traces_go_as_low_as_their_quantile(every_step: bool) -> None:
    data, components, start = problem(4)
    data = data - 1.0  # a baseline below zero
    found = solve_admm(
        data, components, start, KAPPA, constraint="baseline", baseline_quantile=0.5, baseline_every_step=every_step
    ).coefficients
    lowest = found.min(axis=0)
    assert np.all(lowest < 0)
    assert np.all(np.sum(np.isclose(found, lowest), axis=0) >= 2)  # the bound holds some of them
    free = solve_admm(data, components, start, KAPPA, constraint="none").coefficients
    assert np.all(free.min(axis=0) < lowest)
    if not every_step:
        norm = np.linalg.norm(components, axis=1)
        gram = (components / norm[:, None]) @ (components / norm[:, None]).T
        values = np.linalg.eigvalsh(gram)
        ridge = np.sqrt(max(values[0], 3 * values[-1] / 4) * values[-1])
        inverse = np.linalg.inv(gram + ridge * np.eye(4))
        bound = np.minimum(0, np.quantile(data @ (components / norm[:, None]).T @ inverse, 0.5, axis=0, method="hazen"))
        np.testing.assert_allclose(lowest, bound / norm, atol=1e-8)


def test_adaptive_kappa_agrees_with_the_loops() -> None:
    data, components, _ = problem(5)
    residual = data - np.abs(RNG.normal(0.3, 0.2, (N_ROWS, N_COMPONENTS))) @ components
    found = estimate_kappa(residual, components, None, "components")
    np.testing.assert_allclose(found.kappa, robust_regression.adaptive_kappa(residual, components), rtol=1e-5)


def test_adaptive_kappa_around_rows_is_the_transposed_problem() -> None:
    data, components, _ = problem(6)
    coefficients = np.abs(RNG.normal(0.3, 0.2, (N_ROWS, N_COMPONENTS)))
    residual = data - coefficients @ components
    one = estimate_kappa(residual, components, coefficients, "rows")
    other = estimate_kappa(residual.T, coefficients.T, None, "components")
    np.testing.assert_allclose(one.kappa, other.kappa.T)
    assert one.epsilon.shape == (N_SAMPLES, N_COMPONENTS)


def test_adaptive_kappa_falls_where_there_is_contamination() -> None:
    data, components, _ = problem(7)
    residual = RNG.normal(0, 0.2, data.shape)
    residual[2:9, 4:18] += 1  # around component 0, in rows that are enough for the running median
    kappa = estimate_kappa(residual, components, None, "components").kappa
    assert kappa[5, 10] < 0.5 * kappa[5, 46]


def test_loss_falls_and_empty_components_stay_finite() -> None:
    data, components, start = problem(8)
    found = solve_admm(data, components, start, KAPPA, track_loss=True, stop_early=False)
    assert len(found.losses) == 100
    assert found.losses[-1] < found.losses[0]
    assert found.losses[-1] == pytest.approx(robust_loss(data - found.coefficients @ components, KAPPA), rel=1e-9)
    components[2] = 0
    for constraint in ("nonnegative", "baseline", "none"):
        kept: Any = constraint
        assert np.all(np.isfinite(solve_admm(data, components, start, KAPPA, constraint=kept).coefficients))


def test_what_cannot_be_is_refused() -> None:
    data, components, start = problem()
    with pytest.raises(InputError, match="do not fit"):
        solve_admm(data.T, components, start, KAPPA)
    with pytest.raises(SettingsError, match="constraint"):
        solve_admm(data, components, start, KAPPA, constraint="positive")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="kappa"):
        solve_admm(data, components, start, 0)
