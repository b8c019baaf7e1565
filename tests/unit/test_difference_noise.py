"""Noise from second differences."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import transients

from gpucells.ops.difference_noise import difference_noise

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 300.0])
def test_white_noise_is_measured(sigma: float) -> None:
    traces = RNG.normal(50, sigma, (20, 4000)).astype(np.float32)
    np.testing.assert_allclose(difference_noise(traces), sigma, rtol=0.08)


def test_slow_light_and_transients_do_not_count() -> None:
    time = np.arange(4000)
    traces = RNG.normal(size=(10, 4000)) + 40 * np.sin(time / 60) + 0.01 * time
    np.testing.assert_allclose(difference_noise(traces), 1, atol=0.08)
    active = RNG.normal(size=(10, 4000)) + transients(RNG, 10, 4000, 30, rate=0.01)
    np.testing.assert_allclose(difference_noise(active), 1, atol=0.15)


def test_shape_type_and_degenerate_traces() -> None:
    assert difference_noise(np.zeros((2, 5, 9), np.float32)).shape == (2, 5)
    assert difference_noise(np.zeros((2, 9), np.float32)).dtype == np.float32
    assert difference_noise(np.full((1, 50), 7.0))[0] == 0
    for n_frames in (1, 2):
        np.testing.assert_array_equal(difference_noise(RNG.normal(size=(3, n_frames))), np.zeros(3))
    assert difference_noise(np.zeros((0, 50))).shape == (0,)
    assert difference_noise(np.array([[0.0, 6.0, 0.0]]))[0] == pytest.approx(12 / (0.6745 * 6**0.5))


def test_some_of_the_differences_tell_nearly_as_much() -> None:
    traces = np.random.default_rng(3).normal(0, 2, (50, 4000))
    found = difference_noise(traces, 512)
    np.testing.assert_allclose(found, 2, rtol=0.2)
    assert found.std() / 2 < 0.07
    assert not np.array_equal(found, difference_noise(traces))
