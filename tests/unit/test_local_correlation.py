"""The local correlation image against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from reference.local_correlation import local_correlation as by_definition

from gpucells.ops.local_correlation import local_correlation, update_local_correlation


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


@pytest.mark.parametrize("level", [0.0, 100.0])
@pytest.mark.parametrize("threshold", [0.0, 1.0, 2.5])
def test_what_is_not_above_a_threshold_counts_as_0(threshold: float, level: float) -> None:
    movie = some_movie()
    mean = np.full((7, 9), level, np.float32)
    wanted = by_definition(np.where(movie > threshold, movie, 0))
    found = local_correlation(movie + np.float32(level), mean, threshold)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert abs(wanted - by_definition(movie)).max() > 0.01


def test_nothing_above_the_threshold_is_no_correlation() -> None:
    assert not local_correlation(some_movie(), None, 1e6).any()


BOXES = np.array([[2, 4, 3, 5], [3, 6, 2, 99], [-3, 2, -1, 2], [0, 0, 0, 0], [5, 3, 2, 4], [20, 30, 1, 2]])


@pytest.mark.parametrize("threshold", [None, 1.0])
def test_boxes_bring_only_their_own_pixels_up_to_date(threshold: float | None) -> None:
    movie = some_movie()
    image = np.full((7, 9), -7, np.float32)
    update_local_correlation(movie, image, BOXES, None, threshold)
    inside = np.zeros((7, 9), bool)
    for row0, row1, column0, column1 in BOXES:
        inside[max(row0, 0) : max(row1, 0), max(column0, 0) : max(column1, 0)] = True
    whole = local_correlation(movie, None, threshold)
    np.testing.assert_allclose(image[inside], whole[inside], atol=1e-6)
    assert (image[~inside] == -7).all()
    assert inside.any()
    assert not inside.all()
