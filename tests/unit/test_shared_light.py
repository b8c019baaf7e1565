"""Whose light it is that footprint and background can trade: planted shares are found."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import transients
from scipy.ndimage import gaussian_filter1d

from gpucells.factorisation.shared_light import background_shares, one_sided_slopes


def planted(rate: float = 0.02, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    own = transients(rng, 12, 1500, 8, rate) + rng.normal(size=(12, 1500))
    field = gaussian_filter1d(rng.normal(size=(5, 1500)), 12, axis=1)
    field /= np.linalg.norm(field, axis=1, keepdims=True)
    shares = rng.normal(0, 60, (12, 5))
    return own, field, shares, own + shares @ field


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.06])
def test_planted_shares_are_found(rate: float) -> None:
    own, field, shares, mixed = planted(rate)
    found = background_shares(mixed.astype(np.float32), field.astype(np.float32))
    left = mixed - found @ field
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(left, own, strict=True)])
    before = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(mixed, own, strict=True)])
    assert before.min() < 0.95
    assert np.median(r) > 0.997
    slope = one_sided_slopes(mixed - mixed.mean(), field * np.sqrt(1500))
    assert np.abs(found - shares).mean() < 0.8 * np.abs(slope * np.sqrt(1500) - shares).mean()


def test_units_do_not_matter() -> None:
    _, field, _, mixed = planted()
    one = background_shares(mixed.astype(np.float32), field.astype(np.float32))
    other = background_shares((mixed * 64).astype(np.float32), (field / 8).astype(np.float32))
    np.testing.assert_allclose(other, one * 512, rtol=1e-3, atol=2)


def test_nothing_to_tell_is_nothing() -> None:
    _, field, _, mixed = planted()
    traces = mixed.astype(np.float32)
    assert background_shares(traces, np.ones((2, 1500), np.float32)).tolist() == [[0, 0]] * 12
    assert background_shares(traces, field[:0].astype(np.float32)).shape == (12, 0)
    assert background_shares(traces[:0], field.astype(np.float32)).shape == (0, 5)
    assert not background_shares(traces[:, :1], field[:, :1].astype(np.float32)).any()
    flat = np.zeros((1, 1500), np.float32)
    np.testing.assert_allclose(background_shares(flat, field.astype(np.float32)), 0, atol=1e-6)
