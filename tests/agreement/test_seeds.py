"""The seed image on a GPU beside the CPU's, both against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.seed_image import seed_image as slow_seed_image

from gpucells.ops.seeds import seed_image, update_seed_image

# More pixels than a block has warps and fewer, more frames than a warp has lanes and fewer, one of each.
SIZES = [(9, 14, 70), (3, 2, 32), (1, 1, 4), (6, 6, 1)]
BOXES = np.array([[2, 6, 3, 9], [4, 7, 5, 99], [-3, 2, -1, 5], [0, 0, 0, 0], [5, 3, 2, 4], [20, 30, 1, 2]])


def movie_of(shape: tuple[int, int, int], masked: bool) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    movie = np.round(rng.normal(size=shape), 1).astype(np.float32)  # rounded: several frames are the brightest
    movie[0, 0] = -1
    return movie, rng.random(shape[:2]) < 0.7 if masked else np.ones(shape[:2], bool)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_whole_images(cuda: Any, shape: tuple[int, int, int], masked: bool) -> None:
    movie, inside = movie_of(shape, masked)
    on_gpu, on_cpu = seed_image(cuda.asarray(movie), inside), seed_image(movie, inside)
    assert isinstance(on_gpu, np.ndarray)
    assert on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(on_gpu, on_cpu, slow_seed_image(movie, inside))
    np.testing.assert_array_equal(seed_image(cuda.asarray(movie), cuda.asarray(inside)), on_gpu)


@pytest.mark.parametrize("masked", [False, True])
def test_boxes_bring_only_their_own_pixels_up_to_date(cuda: Any, masked: bool) -> None:
    movie, inside = movie_of((8, 11, 40), masked)
    wanted, found = np.full((8, 11), -7, np.float32), np.full((8, 11), -7, np.float32)
    for box in BOXES:
        update_seed_image(movie, inside, wanted, box[None])
    update_seed_image(cuda.asarray(movie), inside, found, BOXES)
    np.testing.assert_array_equal(found == -7, wanted == -7)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    on_cpu = np.full((8, 11), -7, np.float32)
    update_seed_image(movie, inside, on_cpu, BOXES)
    np.testing.assert_array_equal(on_cpu, wanted)


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.int64), np.array([[3, 3, 0, 5]])])
def test_no_pixels_launch_nothing(cuda: Any, boxes: Any) -> None:
    movie, inside = movie_of((8, 11, 40), False)
    image = np.full((8, 11), -7, np.float32)
    update_seed_image(cuda.asarray(movie), inside, image, boxes)
    assert (image == -7).all()


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie, inside = movie_of((3, 4, 40), True)
    np.testing.assert_allclose(seed_image(sanitized_cuda.asarray(movie), inside), seed_image(movie, inside), atol=1e-6)
