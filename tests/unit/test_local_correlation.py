"""The local correlation image against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from reference.local_correlation import local_correlation as by_definition

from gpucells.ops.local_correlation import local_correlation


def some_movie(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    movie = rng.normal(size=(7, 9, 200))
    movie[2:5, 3:6] += 2 * rng.normal(size=200)  # nine pixels that move together
    return movie.astype(np.float32)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_is_what_its_definition_says(level: float) -> None:
    movie = some_movie() + np.float32(level)
    np.testing.assert_allclose(local_correlation(movie), by_definition(movie), atol=2e-5)


def test_constant_pixels_are_zero_and_count_for_nobody() -> None:
    movie = some_movie()
    movie[3, 4], movie[0, 0] = 0, 5
    image = local_correlation(movie)
    np.testing.assert_allclose(image, by_definition(movie), atol=2e-5)
    assert image[3, 4] == image[0, 0] == 0


def test_is_one_where_neighbours_agree_and_minus_one_where_they_oppose() -> None:
    trace = np.random.default_rng(1).normal(size=100).astype(np.float32)
    same = np.broadcast_to(trace, (4, 5, 100)).copy()
    np.testing.assert_allclose(local_correlation(same), 1, atol=1e-5)
    np.testing.assert_allclose(local_correlation(np.stack([trace, -trace])[:, None].copy()), -1, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 10), (1, 5, 10), (3, 3, 1), (2, 2, 2)])
def test_small_movies(shape: tuple[int, int, int]) -> None:
    movie = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    image = local_correlation(movie)
    assert image.shape == shape[:2]
    assert np.isfinite(image).all()
    if shape[2] == 1 or shape[:2] == (1, 1):
        assert not image.any()


def test_scale_does_not_matter_and_the_movie_stays_what_it_was() -> None:
    movie = some_movie()
    before = movie.copy()
    image = local_correlation(movie)
    np.testing.assert_array_equal(movie, before)
    np.testing.assert_allclose(local_correlation(movie * np.float32(1e4)), image, atol=1e-5)
    np.testing.assert_allclose(local_correlation(movie * np.float32(1e-4)), image, atol=1e-5)
