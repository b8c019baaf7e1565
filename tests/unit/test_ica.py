"""Fixed-point ICA: what is asked of it that cannot be, and when it stops."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from reference.ica import white

from gpucells.errors import InputError, SettingsError
from gpucells.ops import ica
from gpucells.ops.ica import fixed_point_ica, of_normal, orthonormalised
from gpucells.ops.picard import picard_ica


def noisy() -> np.ndarray:
    """Three sources and many directions of noise, which turn for ever."""
    return white(np.random.default_rng(1), 3, 20, 2000)


def test_noise_does_not_block_the_end() -> None:
    z = noisy()
    together = fixed_point_ica(z, tol=1e-6, max_iterations=2000)
    each = fixed_point_ica(z, tol=1e-6, max_iterations=2000, stop="each")
    assert together.converged
    assert together.n_iterations < 0.5 * each.n_iterations
    best = np.argsort(-together.contrast)[:3]
    cosine = np.abs(together.matrix[best] @ each.matrix.T).max(axis=1)
    assert cosine.min() > 1 - 2e-3


def test_third_moments_are_positive_and_rows_orthonormal() -> None:
    z = noisy()
    for contrast in ("skew", "tanh", "cube"):
        found = fixed_point_ica(z, 9, contrast=contrast, max_iterations=30)  # type: ignore[arg-type]
        assert ((found.matrix @ z) ** 3).mean(axis=1).min() >= 0
        np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(9), atol=1e-10)


def test_the_seed_decides_the_start_alone() -> None:
    z = noisy()
    first, again, other = (fixed_point_ica(z, 4, seed=seed, max_iterations=3).matrix for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_start_that_is_the_answer_stays() -> None:
    z = noisy()
    found = fixed_point_ica(z, 3, tol=1e-9, max_iterations=500)
    again = fixed_point_ica(z, 3, tol=1e-6, start=5 * found.matrix)
    assert again.n_iterations <= 2
    np.testing.assert_allclose((again.matrix * found.matrix).sum(axis=1), 1, atol=1e-6)


def test_orthonormalising_keeps_what_is_and_fills_up_what_is_not() -> None:
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 4)))[0].T
    np.testing.assert_allclose(orthonormalised(3 * q), q, atol=1e-12)
    for broken in (np.concatenate([q[:2], q[:1]]), np.concatenate([q[:2], 0 * q[:1]])):
        full = orthonormalised(broken)
        np.testing.assert_allclose(full @ full.T, np.eye(3), atol=1e-10)


def test_means_of_the_normal_distribution() -> None:
    u = np.random.default_rng(0).normal(size=10**6)
    np.testing.assert_allclose(of_normal("skew"), (0, np.sqrt(6)), atol=1e-9)
    np.testing.assert_allclose(of_normal("cube"), (3, np.sqrt(24)), atol=1e-9)
    for alpha in (1.0, 1.5):
        assert of_normal("tanh", alpha)[0] == pytest.approx(np.log(np.cosh(alpha * u)).mean() / alpha, abs=2e-3)


def test_what_noise_reaches_is_below_what_is_taken_for_noise() -> None:
    z = white(np.random.default_rng(2), 0, 40, 3000)
    for contrast in ("skew", "tanh"):
        found = fixed_point_ica(z, contrast=contrast, max_iterations=300)  # type: ignore[arg-type]
        assert found.converged
        share = np.abs(found.contrast) / (of_normal(contrast)[1] * np.sqrt(40 / 3000))  # type: ignore[arg-type]
        assert 0.5 < share.max() < ica.OVERFIT


def test_moments_are_used_where_they_cost_less() -> None:
    assert ica._tensor_pays(80, 20_000, 60)
    assert not ica._tensor_pays(80, 2_000, 60)
    assert not ica._tensor_pays(600, 10**6, 500)  # they would not fit


def test_what_cannot_be() -> None:
    z = noisy()
    with pytest.raises(SettingsError, match="unknown contrast"):
        fixed_point_ica(z, contrast="exp")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="24 components of 23"):
        fixed_point_ica(z, 24)
    with pytest.raises(InputError, match="start"):
        fixed_point_ica(z, 4, start=np.eye(4))
    empty = fixed_point_ica(z, 0)
    assert empty.matrix.shape == (0, 23)
    assert np.isfinite(fixed_point_ica(np.zeros((3, 50))).matrix).all()


def test_picard_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picard", None)
    with pytest.raises(SettingsError) as caught:
        picard_ica(noisy())
    assert "gpucells[picard]" in caught.value.hint
