"""The floor of noise: what is noise is below, what is not is above."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gpucells.ops.noise_floor import noise_floor


def spectrum(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=1, keepdims=True)
    return np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2


@pytest.mark.parametrize("shape", [(2000, 200), (200, 2000), (300, 300), (4000, 40)])
def test_white_noise_has_nothing_above(shape: tuple[int, int]) -> None:
    for seed in range(5):
        floor = noise_floor(spectrum(3 * np.random.default_rng(seed).normal(size=shape)), *shape)
        assert floor.n_above == 0
        assert floor.variance == pytest.approx(9, rel=0.05)


def test_correlated_noise_is_told_from_signals() -> None:
    for blur in ((1.0, 0), (0, 0.5)):
        noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(3000, 300)), blur)
        floor = noise_floor(spectrum(noise), 3000, 300)
        assert floor.ratio > 1.5 * 300 / 3000
        assert floor.n_above <= 6


@pytest.mark.parametrize("n_signals", [1, 20, 120])
def test_signals_are_counted(n_signals: int) -> None:
    rng = np.random.default_rng(n_signals)
    left = np.linalg.qr(rng.normal(size=(2000, n_signals)))[0]
    right = np.linalg.qr(rng.normal(size=(300, n_signals)))[0]
    values = rng.uniform(2, 6, n_signals) * (np.sqrt(2000) + np.sqrt(300))
    x = left * values @ right.T + rng.normal(size=(2000, 300))
    assert abs(noise_floor(spectrum(x), 2000, 300).n_above - n_signals) <= 1


def test_nothing_to_tell() -> None:
    assert noise_floor(np.zeros(0), 10, 0).n_above == 0
    assert noise_floor(np.zeros(9), 10, 9).n_above == 0
