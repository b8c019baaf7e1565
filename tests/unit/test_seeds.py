"""Seed image and picking of seeds."""

from __future__ import annotations

import numpy as np
import pytest
from reference.seed_image import seed_image as slow_seed_image

from gpucells.ops.seeds import _brightest_first, pick_seeds, seed_image, update_seed_image


@pytest.mark.parametrize("shape", [(9, 14, 30), (3, 2, 5), (1, 1, 4), (6, 6, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_seed_image_is_what_its_definition_says(shape: tuple[int, int, int], masked: bool) -> None:
    rng = np.random.default_rng(5)
    movie = rng.normal(size=shape).astype(np.float32)
    inside = rng.random(shape[:2]) < 0.7 if masked else np.ones(shape[:2], bool)
    np.testing.assert_allclose(seed_image(movie, inside), slow_seed_image(movie, inside), atol=1e-6)


def test_a_pixel_that_is_bright_alone_scores_nothing() -> None:
    movie = np.zeros((9, 9, 20), np.float32)
    movie[4, 4, 7] = 100
    image = seed_image(movie, np.ones((9, 9), bool))
    assert image[4, 4] == 0


def test_an_emptied_pixel_is_no_seed_though_its_neighbours_shine_in_the_first_frame() -> None:
    movie = np.full((9, 9, 3), 5, np.float32)
    movie[4, 4] = 0
    movie[:, :, 1:] = 0
    image = seed_image(movie, np.ones((9, 9), bool))
    assert image[4, 4] == 0
    assert image[0, 0] == 5
    assert not seed_image(-1 - movie, np.ones((9, 9), bool)).any()


@pytest.mark.parametrize("box", [(2, 6, 3, 9), (-3, 4, -1, 5), (5, 99, 6, 99), (0, 0, 0, 0)])
def test_a_box_brings_only_its_own_pixels_up_to_date(box: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(6)
    movie = rng.normal(size=(8, 11, 12)).astype(np.float32)
    inside = np.ones((8, 11), bool)
    image = np.full((8, 11), -7, np.float32)
    update_seed_image(movie, inside, image, np.array([box]))
    rows, columns = slice(max(box[0], 0), box[1]), slice(max(box[2], 0), box[3])
    wanted = np.full((8, 11), -7, np.float32)
    wanted[rows, columns] = seed_image(movie, inside)[rows, columns]
    np.testing.assert_array_equal(image, wanted)


def spots(rng: np.random.Generator, shape: tuple[int, int] = (60, 60)) -> np.ndarray:
    image = rng.normal(size=shape)
    for _ in range(4):
        image = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1) + np.roll(image, (1, 1), (0, 1))) / 2
    return (np.round(image, 1) if rng.random() < 0.5 else image).astype(np.float32)  # rounded ones have ties


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("distance", [3, 9])
def test_seeds_are_apart_above_the_threshold_and_the_best_of_their_neighbourhood(seed: int, distance: int) -> None:
    image = spots(np.random.default_rng(seed))
    found = pick_seeds(image, 1.0, 5, distance)
    assert len(found) > 1
    values = image[tuple(found.T)]
    assert (values > 1).all()
    assert (np.diff(values) <= 0).all()
    gap = np.abs(found[:, None] - found[None]).max(axis=2)
    assert (gap[~np.eye(len(found), dtype=bool)] > distance).all()
    for row, column in pick_seeds(image, 1.0, 1, distance):  # without the rule of size, nothing near is brighter
        near = image[max(0, row - distance) : row + distance + 1, max(0, column - distance) : column + distance + 1]
        assert near.max() == image[row, column]


def test_equally_bright_pixels_give_one_seed() -> None:
    image = np.zeros((30, 30), np.float32)
    image[10:16, 10:16] = 5
    np.testing.assert_array_equal(pick_seeds(image, 1, 9, 9), [[10, 10]])


def test_small_spots_are_no_seeds_and_do_not_silence_large_ones() -> None:
    image = np.zeros((20, 40), np.float32)
    image[5:8, 5:8] = 3  # 9 pixels
    image[5, 15:18] = 9  # 3 pixels
    image[12:14, 30:34] = 4  # 8 pixels
    np.testing.assert_array_equal(pick_seeds(image, 1, 9, 15), [[5, 5]])
    np.testing.assert_array_equal(pick_seeds(image, 1, 8, 15)[:, 1], [30, 5])
    assert pick_seeds(image, 9, 1, 15).shape == (0, 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_pick_depends_on_nothing_farther_than_distance_and_spot(seed: int) -> None:
    image, distance, size = spots(np.random.default_rng(seed)), 5, 4
    reach = distance + size
    whole = {tuple(at) for at in pick_seeds(image, 0.8, size, distance)}
    for top, left in [(0, 0), (7, 20), (25, 13)]:
        rows, columns = slice(top, top + 35), slice(left, left + 35)
        tile = {(r + top, c + left) for r, c in pick_seeds(image[rows, columns], 0.8, size, distance)}

        def deep(at: tuple[int, int], corner: tuple[int, int] = (top, left)) -> bool:
            """Far enough from the borders of the tile that are none of the image."""
            return all(
                (c == 0 or a >= c + reach) and (a < c + 35 - reach or c + 35 == 60 > a)
                for a, c in zip(at, corner, strict=True)
            )

        assert any(deep(at) for at in whole)
        assert {at for at in whole if deep(at)} == {at for at in tile if deep(at)}


def test_brightest_first_is_a_stable_sort() -> None:
    rng = np.random.default_rng(9)
    image = np.round(rng.normal(size=3000), 1).astype(np.float32)  # many ties, both signs, both zeros
    image[:9] = [np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, 0.0]
    pixels = np.flatnonzero(rng.random(3000) < 0.8)
    np.testing.assert_array_equal(_brightest_first(image, pixels), pixels[np.argsort(-image[pixels], kind="stable")])
    assert len(_brightest_first(image, pixels[:0])) == 0
