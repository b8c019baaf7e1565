"""Weights of the ring model against least squares block by block in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import ring
from scipy import ndimage

from gpucells.ops.ring_weights import ring_background, ring_offsets, ring_weights

CLOSE = 1e-4  # of the largest weight: far below what noise does to weights


def movie(height: int, width: int, n_frames: int, noise: float = 0.02) -> Any:
    """A smooth background on a large offset and little noise: neighbours are nearly equal, as in real movies."""
    rng = np.random.default_rng(height + width)
    images = ndimage.gaussian_filter(rng.normal(size=(12, height, width)), (0, 8, 8))
    images /= images.std(axis=(1, 2), keepdims=True) + 1e-9
    traces = ndimage.gaussian_filter1d(rng.normal(size=(12, n_frames)), 5, axis=1)
    background = np.einsum("khw,kt->hwt", images, traces)
    return (100 + 30 * (background + noise * rng.normal(size=background.shape))).astype("f4")


def some_inside(height: int, width: int) -> Any:
    inside = np.random.default_rng(1).random((height, width)) > 0.1
    inside[-2:, :3] = False
    return inside


def assert_weights(found: Any, wanted: tuple[Any, Any, Any], inside: Any) -> None:
    weights, explained, means = wanted
    largest = np.abs(weights).max(initial=1e-9)
    np.testing.assert_allclose(found.weights.toarray(), weights, rtol=0, atol=CLOSE * largest)
    np.testing.assert_allclose(found.explained, explained, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(found.means[inside.ravel()], means[inside.ravel()], rtol=1e-6)


@pytest.mark.parametrize("ridge", [1e-3, 1e-5, 0])
@pytest.mark.parametrize(
    ("shape", "radius"),
    [((20, 23, 700), 5), ((9, 40, 2000), 2.5), ((25, 19, 300), 15), ((4, 16, 513), 1), ((1, 30, 90), 3)],
)
def test_weights_are_those_of_least_squares(shape: tuple[int, int, int], radius: float, ridge: float) -> None:
    blocks, inside = movie(*shape), some_inside(*shape[:2])
    found = ring_weights(blocks, inside, ring_offsets(radius), ridge)
    assert_weights(found, ring.ring_weights(blocks, inside, radius, ridge), inside)


def test_so_little_noise_that_float32_products_would_not_do() -> None:
    blocks, inside = movie(18, 17, 400, noise=1e-4), np.ones((18, 17), bool)
    found = ring_weights(blocks, inside, ring_offsets(6), 0)
    assert_weights(found, ring.ring_weights(blocks, inside, 6, 0), inside)


@pytest.mark.parametrize("shape", [(21, 18, 600), (5, 7, 40)])
def test_the_second_fit_is_of_the_movie_without_transients(shape: tuple[int, int, int]) -> None:
    blocks, inside = movie(*shape), some_inside(*shape[:2])
    rng = np.random.default_rng(3)
    blocks += 40 * (rng.random(shape) < 0.01)
    kept, noise = blocks.copy(), rng.uniform(0.5, 2, shape[:2]).astype("f4")
    found = ring_weights(blocks, inside, ring_offsets(4), limit=5, noise=noise)
    np.testing.assert_array_equal(blocks, kept)
    first = ring.ring_weights(blocks, inside, 4, 1e-3)
    above = np.where(inside, 5 * noise, np.inf)
    clean = ring.without_transients(ring.predicted(first[0], first[2], blocks), blocks, above)
    assert (clean != blocks).any()
    assert_weights(found, ring.ring_weights(clean, inside, 4, 1e-3), inside)


def test_the_background_is_means_and_weighted_deviations() -> None:
    blocks, inside = movie(14, 20, 333), np.ones((14, 20), bool)
    found = ring_weights(blocks, inside, ring_offsets(3))
    wanted = ring.predicted(*(ring.ring_weights(blocks, inside, 3, 1e-3)[i] for i in (0, 2)), blocks)
    wanted = wanted.reshape(blocks.shape)
    for frames in (slice(None), slice(100, 217), slice(0, 0), slice(-5, None)):
        np.testing.assert_allclose(ring_background(found, blocks, frames), wanted[..., frames], atol=1e-2)
