"""The first look at a movie."""

from __future__ import annotations

import numpy as np
import pytest

from gpucells.ops.difference_noise import difference_noise
from gpucells.tiles import look as module
from gpucells.tiles.look import look_at


@pytest.fixture
def noisy() -> np.ndarray:
    frames = np.random.default_rng(0).normal(100, 3, (400, 7, 9)).astype(np.float32)
    frames[:, 2, 3] = 5
    return frames


def test_all_of_a_short_movie_is_seen(noisy, as_movie) -> None:
    seen = look_at(as_movie(noisy), 30)
    np.testing.assert_array_equal(seen.frames, noisy)
    assert seen.starts == [0]
    np.testing.assert_array_equal(np.argwhere(~seen.varies), [[2, 3]])
    np.testing.assert_allclose(seen.noise, difference_noise(np.moveaxis(noisy, 0, -1)), rtol=1e-5)
    assert seen.noise[2, 2] == pytest.approx(3, rel=0.25)


def test_blocks_of_a_long_one_do_not_spoil_the_noise(noisy, as_movie, monkeypatch) -> None:
    monkeypatch.setattr(module, "FRAMES", 300)
    monkeypatch.setattr("gpucells.tiles.frames.SHORTEST_BLOCK", 100)
    noisy += 50 * (np.arange(400) // 150)[:, None, None].astype(np.float32)
    seen = look_at(as_movie(noisy), 30)
    assert seen.starts == [0, 100, 200]
    np.testing.assert_array_equal(seen.frames, np.concatenate([noisy[:100], noisy[150:250], noisy[300:]]))
    assert np.median(seen.noise) == pytest.approx(3, rel=0.1)


def test_what_is_not_finite_is_zero_and_the_callers_array_his(noisy, as_movie) -> None:
    noisy[5, 1, 1] = np.nan
    seen = look_at(as_movie(noisy), 30)
    assert seen.frames[5, 1, 1] == 0
    assert np.isnan(noisy[5, 1, 1])
    assert np.isfinite(seen.noise).all()
