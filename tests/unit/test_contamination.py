"""The relation between contamination and threshold, and the estimate of contamination."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from gpucells.errors import SettingsError
from gpucells.ops.contamination import bias_bound, epsilon_from_k, estimate_epsilon, k_from_epsilon


@pytest.mark.parametrize(
    ("k", "epsilon"), [(0.4, 0.366), (0.5, 0.284), (0.6361, 0.2), (0.7, 0.17), (1, 0.077), (2, 0.004)]
)
def test_epsilon_of_the_published_thresholds(k: float, epsilon: float) -> None:
    assert epsilon_from_k(k) == pytest.approx(epsilon, abs=6e-4)


def test_exact_relation_is_the_root() -> None:
    epsilon = np.array([1e-6, 1e-4, 0.001, 0.05, 0.17, 0.5, 0.9, 0.99, 1 - 1e-5])
    roots = [brentq(lambda k, e=e: norm.pdf(k) / k + norm.cdf(k) - 1 / (1 - e), 1e-7, 10, xtol=1e-14) for e in epsilon]
    np.testing.assert_allclose(k_from_epsilon(epsilon), roots, rtol=1e-8)


def test_there_and_back_over_the_whole_range() -> None:
    epsilon = np.concatenate([np.geomspace(1e-6, 0.1, 200), np.linspace(0.1, 0.99999, 500)])
    np.testing.assert_allclose(epsilon_from_k(k_from_epsilon(epsilon)), epsilon, rtol=1e-12)


def test_single_precision_in_the_range_of_estimates() -> None:
    epsilon = np.linspace(0.001, 0.99, 500)
    k = k_from_epsilon(epsilon.astype(np.float32))
    assert k.dtype == np.float32
    np.testing.assert_allclose(k, k_from_epsilon(epsilon), rtol=2e-5)


def test_fit_is_near_where_it_was_made() -> None:
    epsilon = np.linspace(0.01, 0.6, 100)
    np.testing.assert_allclose(k_from_epsilon(epsilon, "fit"), k_from_epsilon(epsilon), atol=0.1)


def test_extremes_are_finite() -> None:
    k = k_from_epsilon(np.array([0.0, 1.0]))
    assert np.all(np.isfinite(k))
    assert k[0] > 4
    assert 0 < k[1] < 1e-5


def test_unknown_relation() -> None:
    with pytest.raises(SettingsError, match="relation"):
        k_from_epsilon(0.1, "table")  # type: ignore[arg-type]


def test_threshold_is_minimax_on_its_own_density() -> None:
    """The least favourable density integrates to one: a Gaussian core and an exponential tail from k on."""
    k = 0.7
    core = quad(norm.pdf, -np.inf, k)[0]
    tail = quad(lambda x: norm.pdf(k) * np.exp(-k * (x - k)), k, np.inf)[0]
    assert (1 - epsilon_from_k(k)) * (core + tail) == pytest.approx(1)


def test_bias_bound() -> None:
    np.testing.assert_allclose(bias_bound(np.array([0.5, 0.7, 1.0])), [0.572, 0.377, 0.198], atol=5e-4)
    assert bias_bound(5.0) == pytest.approx(0, abs=1e-6)


def test_estimate_of_clean_and_contaminated_residuals() -> None:
    k = 0.7
    prior = epsilon_from_k(k)
    assert estimate_epsilon((1 + prior) / 2, k) == pytest.approx(prior)
    assert estimate_epsilon(0.0, k) == pytest.approx(0.001)
    assert estimate_epsilon(1.0, k) == pytest.approx(0.99)
    plain = estimate_epsilon(np.linspace(0, 1, 101), k, in_steps=False)
    rounded = estimate_epsilon(np.linspace(0, 1, 101), k)
    assert np.all(np.diff(plain) >= 0)
    assert np.all(rounded >= plain)
    assert not np.any((rounded > 0.3) & (rounded < 0.5))
