"""The local correlation image: both bodies against the definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.local_correlation import local_correlation as by_definition

from gpucells.ops.local_correlation import local_correlation, update_local_correlation

# More than one block and strip of both axes, exactly one, less; frames that fill no warp; one pixel, one frame, none.
SIZES = [(11, 9, 70), (8, 4, 32), (17, 3, 5), (1, 6, 40), (6, 1, 40), (1, 1, 10), (3, 3, 1), (2, 3, 0), (0, 4, 5)]


def movie_of(shape: tuple[int, int, int]) -> Any:
    rng = np.random.default_rng(3)
    movie = rng.normal(size=shape)
    movie[2:5, 1:4] += 2 * rng.normal(size=shape[2])  # nine pixels that move together
    if shape[0] > 8:
        movie[3, 2], movie[0, 0], movie[-1, -1] = 0, 5, 5  # dead pixels
        movie[6, 0, 2] = np.nan  # and a broken one: like them it counts for nobody
    return movie.astype(np.float32)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_both_bodies_are_what_the_definition_says(cuda: Any, shape: tuple[int, int, int]) -> None:
    movie = movie_of(shape)
    on_cpu, on_gpu = local_correlation(movie), local_correlation(cuda.asarray(movie))
    assert isinstance(on_gpu, np.ndarray)
    assert on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(on_gpu, on_cpu, by_definition(movie))


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_a_movie_far_from_zero_is_correlated_about_its_mean(cuda: Any, error: float) -> None:
    movie = movie_of((8, 7, 60)) + np.float32(3000)
    mean = (movie.mean(axis=2) + error).astype(np.float32)  # need not be exact
    on_cpu, on_gpu = local_correlation(movie, mean), local_correlation(cuda.asarray(movie), mean)
    tolerance.assert_as_accurate(on_gpu, on_cpu, by_definition(movie))
    np.testing.assert_allclose(on_cpu, by_definition(movie), atol=2e-4)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_thresholds(cuda: Any, shape: tuple[int, int, int]) -> None:
    movie = movie_of(shape)
    on_cpu, on_gpu = local_correlation(movie, None, 1.0), local_correlation(cuda.asarray(movie), None, 1.0)
    wanted = by_definition(np.where(movie <= 1, 0, movie))
    tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)
    np.testing.assert_allclose(on_cpu, wanted, atol=1e-5)


@pytest.mark.parametrize("boxes", [[[2, 6, 3, 5], [4, 19, 5, 99], [-3, 2, -1, 1], [3, 2, 1, 4]], [[0, 1, 8, 9]], []])
def test_boxes_bring_only_their_own_pixels_up_to_date(cuda: Any, boxes: list[list[int]]) -> None:
    movie, some = movie_of((19, 13, 40)), np.array(boxes, int).reshape(-1, 4)
    on_cpu, on_gpu = (np.full((19, 13), -7, np.float32) for _ in range(2))
    update_local_correlation(movie, on_cpu, some, None, 0.5)
    update_local_correlation(cuda.asarray(movie), on_gpu, some, None, 0.5)
    np.testing.assert_array_equal(on_gpu == -7, on_cpu == -7)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5)
    assert (on_cpu != -7).any() == bool(boxes)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie = movie_of((9, 6, 40))
    np.testing.assert_allclose(local_correlation(sanitized_cuda.asarray(movie)), by_definition(movie), atol=1e-5)
    image = np.zeros((9, 6), np.float32)
    update_local_correlation(sanitized_cuda.asarray(movie), image, np.array([[7, 9, 2, 6]]), None, 0.5)
    np.testing.assert_allclose(image[7:, 2:], local_correlation(movie, None, 0.5)[7:, 2:], atol=1e-5)
