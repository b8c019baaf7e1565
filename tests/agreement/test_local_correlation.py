"""The local correlation image: both bodies against the definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.local_correlation import local_correlation as by_definition

from gpucells.ops.local_correlation import local_correlation

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


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie = movie_of((9, 6, 40))
    np.testing.assert_allclose(local_correlation(sanitized_cuda.asarray(movie)), by_definition(movie), atol=1e-5)
