"""Coefficients of the response from the autocovariance."""

from __future__ import annotations

import numpy as np
import pytest
from reference.calcium_traces import calcium_traces

from gpucells.errors import InputError
from gpucells.ops import time_constants as module
from gpucells.ops.time_constants import from_roots, time_constants


def by_hand(y: np.ndarray, order: int, noise: float, lags: int) -> np.ndarray:
    """One trace, term by term."""
    x = y - y.mean()
    r = [sum(x[t] * x[t + k] for t in range(len(x) - k)) / len(x) for k in range(lags + order + 1)]
    rows = [
        [r[abs(i - j)] - (noise**2 if i == j else 0) for j in range(1, order + 1)] for i in range(1, lags + order + 1)
    ]
    return np.linalg.lstsq(np.array(rows), np.array(r[1:]), rcond=None)[0]


@pytest.mark.parametrize("lags", [0, 5])
def test_one_decay_is_the_least_squares_of_the_equations(lags: int) -> None:
    traces, *_ = calcium_traces(3, 500)
    wanted = [by_hand(y.astype(float), 1, 0.3, lags)[0] * 0.96 for y in traces]
    np.testing.assert_allclose(time_constants(traces, 1, 0.3, lags)[:, 0], wanted, rtol=1e-6)


def test_two_decays_are_the_least_squares_of_the_equations() -> None:
    traces, *_ = calcium_traces(3, 3000, order=2, noise=0.05)
    for y, found in zip(traces, time_constants(traces, 2, [0.05] * 3, fudge=1.0), strict=True):
        wanted = by_hand(y.astype(float), 2, 0.05, 5)
        assert np.all(np.isreal(np.roots([1, *-wanted])))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(("order", "error"), [(1, 0.02), (2, 0.1)])
def test_long_traces_tell_the_truth(order: int, error: float) -> None:
    traces, coefficients, *_ = calcium_traces(10, 20_000, order)
    assert np.abs(time_constants(traces, order, fudge=1.0) - coefficients).mean() < error


def test_the_factor_is_on_the_roots() -> None:
    traces, *_ = calcium_traces(4, 5000, order=2, noise=0.05)
    roots = [np.sort(np.roots([1, *-g])) for g in time_constants(traces, 2, 0.05, fudge=1.0)]
    smaller = [np.sort(np.roots([1, *-g])) for g in time_constants(traces, 2, 0.05, fudge=0.5)]
    np.testing.assert_allclose(smaller, 0.5 * np.array(roots), rtol=1e-8)


@pytest.mark.parametrize(
    ("coefficients", "roots"),
    [
        ([1.2], [0.95]), ([-0.3], [0.15]), ([np.nan], [0.95]), ([0.0], [0.15]), ([0.7], [0.7]),
        ([1.0, -0.5], [0.5, 0.5]),  # complex: .5 +- .5i
        ([1.5, -0.5], [0.95, 0.5]),  # 1 and .5
        ([0.4, 0.05], [0.5, 0.15]),  # .5 and -.1
        ([np.nan, 1.0], [0.95, 0.95]), ([-1.0, -2.0], [0.15, 0.15]),
    ],
)  # fmt: skip
def test_what_is_no_decay_is_put_right(coefficients: list[float], roots: list[float]) -> None:
    np.testing.assert_allclose(module._stable(module._roots(np.array([coefficients]))), [roots], atol=1e-12)
    assert from_roots([roots]).shape == (1, len(roots))


@pytest.mark.parametrize("order", [1, 2])
def test_traces_without_covariance_get_a_decay(order: int) -> None:
    traces = np.array([np.zeros(50), np.ones(50), np.full(50, np.nan), np.arange(50.0)])
    found = time_constants(traces, order, noise=0.0)
    assert np.all(np.isfinite(found))
    assert all(np.all((np.roots([1, *-g]).real > 0) & (np.abs(np.roots([1, *-g])) < 1)) for g in found)
    assert time_constants(np.zeros((0, 50)), order).shape == (0, order)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    traces, *_ = calcium_traces(7, 100)
    whole = time_constants(traces, 2, 0.3)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 100 * 3)
    np.testing.assert_array_equal(time_constants(traces, 2, 0.3), whole)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((2, 6), {}), ((50,), {}), ((2, 50), {"order": 3}), ((2, 50), {"order": 0}), ((2, 50), {"noise": [1, 2, 3]})],
)
def test_bad_input_is_refused(shape: tuple[int, ...], options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        time_constants(np.ones(shape), **{"order": 1, "noise": 0.1, **options})  # type: ignore[arg-type]
