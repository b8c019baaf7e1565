"""Weights of the ring model: the CPU body against least squares block by block in float64, the CUDA body against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference import ring
from scipy import ndimage

from gpucells.ops import ring_weights_cuda
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


def both(cuda: Any, blocks: Any, inside: Any, radius: float, **options: Any) -> tuple[Any, Any]:
    return tuple(ring_weights(b, inside, ring_offsets(radius), **options) for b in (blocks, cuda.asarray(blocks)))  # type: ignore[return-value]


def assert_same(there: Any, here: Any) -> None:
    """Both solve in float64 and round at the end."""
    for name in ("indptr", "indices"):
        np.testing.assert_array_equal(getattr(there.weights, name), getattr(here.weights, name))
    largest = np.abs(here.weights.data).max(initial=1)
    np.testing.assert_allclose(there.weights.data, here.weights.data, rtol=0, atol=1e-6 * largest)
    np.testing.assert_allclose(there.explained, here.explained, atol=1e-6)
    np.testing.assert_allclose(there.means, here.means, rtol=1e-6)


@pytest.mark.parametrize(("shape", "radius"), [((9, 11, 70), 2), ((5, 18, 33), 3.5), ((3, 2, 1), 1), ((2, 3, 9), 9)])
@pytest.mark.parametrize("ridge", [1e-3, 0])
def test_the_bodies_agree(cuda: Any, shape: tuple[int, int, int], radius: float, ridge: float) -> None:
    blocks, inside = movie(*shape), some_inside(*shape[:2])
    here, there = both(cuda, blocks, inside, radius, ridge=ridge)
    assert isinstance(there.weights.data, np.ndarray)
    assert_same(there, here)


def test_the_bodies_agree_without_transients(cuda: Any) -> None:
    blocks, inside = movie(11, 9, 60), some_inside(11, 9)
    blocks += 40 * (np.random.default_rng(3).random(blocks.shape) < 0.01)
    blocks[~inside] = np.nan
    noise = np.random.default_rng(4).uniform(0.5, 2, (11, 9)).astype("f4")
    plain, (here, there) = (
        ring_weights(blocks, inside, ring_offsets(2)),
        both(cuda, blocks, inside, 2, limit=5, noise=noise),
    )
    assert np.abs(here.weights.data - plain.weights.data).max() > 1e-3
    assert_same(there, here)


def test_what_never_changes_and_what_does_not_count(cuda: Any) -> None:
    blocks, inside = movie(8, 9, 40), some_inside(8, 9)
    blocks[2:5, 3:6] = 7
    blocks[6, 6:8] = blocks[6, 6]
    blocks[~inside] = np.inf
    for counted in (inside, np.zeros_like(inside)):
        here, there = both(cuda, blocks, counted, 2, ridge=1e-3)
        assert_same(there, here)
        assert np.isfinite(ring_background(there, cuda.asarray(blocks)).get()).all()
    _, there = both(cuda, blocks, inside, 2, ridge=0)
    assert np.isfinite(there.weights.data).all()


@pytest.mark.parametrize("shape", [(5, 6, 0), (5, 0, 4), (0, 5, 4), (1, 1, 7)])
def test_nothing_to_fit(cuda: Any, shape: tuple[int, int, int]) -> None:
    blocks = np.ones(shape, "f4")
    here, there = both(cuda, blocks, np.ones(shape[:2], bool), 1, limit=3, noise=np.ones(shape[:2], "f4"))
    assert_same(there, here)
    np.testing.assert_array_equal(ring_background(there, cuda.asarray(blocks)).get(), blocks)


def test_rings_that_do_not_fit_into_shared_memory(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_weights_cuda, "SHARED_BYTES", 1 << 10)
    monkeypatch.setattr(ring_weights_cuda, "SCRATCH_BLOCKS", 5)
    monkeypatch.setattr(ring_weights_cuda, "NEAR_BYTES", 20_000)  # and frames that do not fit at once
    blocks, inside = movie(7, 8, 30), some_inside(7, 8)
    here, there = both(cuda, blocks, inside, 2)
    assert_same(there, here)


def test_the_bodies_predict_alike(cuda: Any) -> None:
    blocks, inside = movie(6, 9, 300), some_inside(6, 9)
    found = ring_weights(blocks, inside, ring_offsets(2))
    wanted = ring.predicted(found.weights.toarray().astype("f8"), found.means, blocks).reshape(blocks.shape)
    for frames in (slice(None), slice(7, 290), slice(3, 3)):
        here, there = ring_background(found, blocks, frames), ring_background(found, cuda.asarray(blocks), frames)
        tolerance.assert_as_accurate(there.get(), here, wanted[..., frames])


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    blocks, inside = movie(5, 6, 20), some_inside(5, 6)
    here, there = both(sanitized_cuda, blocks, inside, 1.5, limit=3, noise=np.ones((5, 6), "f4"))
    assert_same(there, here)


def test_sanitizers_find_nothing_in_scratch(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_weights_cuda, "SHARED_BYTES", 0)
    blocks, inside = movie(4, 5, 20), some_inside(4, 5)
    here, there = both(sanitized_cuda, blocks, inside, 1)
    assert_same(there, here)
