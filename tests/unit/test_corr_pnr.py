"""The images that CNMF-E finds cells in, thresholds from a whole movie, and seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.local_correlation import local_correlation as by_definition
from scipy import ndimage

from gpucells.candidates.corr_pnr import (
    CorrPnr,
    filter_to_cells,
    find_seeds,
    find_thresholds,
    measure_images,
    near_px,
    update_images,
)
from gpucells.preprocess.noise_units import to_noise_units
from gpucells.preprocess.zero_mean_gaussian import zero_mean_gaussian

RADIUS = 4.0


def raw_movie(n_cells: int = 16, seed: int = 0, fluctuation: float = 0.0, n_frames: int = 300) -> tuple[Any, Any]:
    """``(height, width, n_frames)`` of cells on a grid, and their places."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:72, :72]
    places = np.array([(9 + 18 * (k // 4), 9 + 18 * (k % 4)) for k in range(n_cells)]).reshape(-1, 2)
    movie = rng.normal(100, 1, (72, 72, n_frames))
    for row, column in places:
        cell = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * (RADIUS / 2) ** 2))
        spikes = rng.random(n_frames) < 0.03
        movie += cell[:, :, None] * 5 * np.convolve(spikes, np.exp(-np.arange(30) / 6))[:n_frames]
    if fluctuation:
        smooth = ndimage.gaussian_filter(rng.normal(size=movie.shape), (3, 3, 4))
        movie += fluctuation * smooth / smooth.std()
    return movie.astype(np.float32), places


def filtered(raw: Any) -> tuple[Any, Any, Any]:
    inside = np.ones(raw.shape[:2], bool)
    units = to_noise_units(raw.copy(), inside, 0.5)
    noise, live = filter_to_cells(units.movie, units.noise, units.inside, RADIUS)
    return units.movie.reshape(raw.shape), noise, live


def test_the_movie_is_filtered_in_its_own_units_and_ends_in_those_of_its_noise() -> None:
    raw, _ = raw_movie(n_frames=200)
    movie, noise, live = filtered(raw)
    kernel = zero_mean_gaussian(RADIUS / 2)
    wanted = np.stack([ndimage.correlate(frame, kernel) for frame in raw.transpose(2, 0, 1).astype(np.float64)], 2)
    wanted -= np.sort(wanted, axis=2)[:, :, 100:101]
    np.testing.assert_allclose(movie * noise[:, :, None], wanted, atol=1e-3)
    assert live.all()
    assert np.median(abs(movie[36, 36])) == pytest.approx(0.67, abs=0.15)  # noise of deviation 1


def test_images_are_what_they_are_defined_as() -> None:
    movie, _, _ = filtered(raw_movie(n_frames=120)[0])
    images = measure_images(movie)
    np.testing.assert_allclose(images.corr, by_definition(np.where(movie > 2, movie, 0)), atol=1e-4)
    np.testing.assert_array_equal(images.pnr, movie.max(axis=2))


def test_an_update_is_a_measurement_of_what_has_changed() -> None:
    movie, _, _ = filtered(raw_movie()[0])
    images = measure_images(movie)
    before = CorrPnr(images.corr.copy(), images.pnr.copy())
    boxes = np.array([[4, 15, 0, 13], [66, 90, 60, 90]])
    for row0, row1, column0, column1 in boxes:
        movie[row0:row1, column0:column1] = np.random.default_rng(2).normal(size=movie.shape[2])
    update_images(movie, images, boxes)
    after = measure_images(movie)
    np.testing.assert_allclose(images.corr, after.corr, atol=1e-6)
    np.testing.assert_array_equal(images.pnr, after.pnr)
    assert abs(before.corr - after.corr).max() > 0.1
    assert (before.pnr != after.pnr).any()


def test_thresholds_find_the_cells_and_hardly_anything_else() -> None:
    raw, places = raw_movie(fluctuation=0.5)
    movie, noise, live = filtered(raw)
    before = movie.copy()
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    np.testing.assert_array_equal(movie, before)
    seeds = find_seeds(images, thresholds, RADIUS, near_px(RADIUS))
    distance = np.hypot(*(places[:, None] - seeds[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) <= RADIUS / 2).all()
    assert (distance.min(axis=0) > RADIUS).sum() <= 4
    assert len(seeds) == thresholds.n_passed
    assert not thresholds.warnings


@pytest.mark.parametrize("fluctuation", [0.0, 0.5, 3.0])
def test_a_movie_without_cells_has_next_to_no_seeds(fluctuation: float) -> None:
    movie, noise, live = filtered(raw_movie(0, seed=3, fluctuation=fluctuation)[0])
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    assert len(find_seeds(images, thresholds, RADIUS, 2)) <= 1
    assert "stands out" in thresholds.warnings[0]


def test_the_surround_of_a_bright_cell_does_not_raise_the_thresholds() -> None:
    raw, _ = raw_movie()
    movie, noise, live = filtered(raw + 20 * (raw - 100) * (raw > 104))  # transients up to several hundred noises
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    assert measure_images(-movie).pnr.max() > 3 * thresholds.min_pnr
    assert thresholds.n_hidden > 5
    assert thresholds.n_passed >= 16


def test_given_thresholds_are_kept() -> None:
    movie, noise, live = filtered(raw_movie()[0])
    images = measure_images(movie)
    both = find_thresholds(movie, noise, images, live, RADIUS, 0.7, 6.0)
    assert (both.min_corr, both.min_pnr, both.reason, both.warnings) == (0.7, 6.0, "given", ())
    assert find_thresholds(movie, noise, images, live, RADIUS, min_corr=0.7).min_corr == 0.7
    assert find_thresholds(movie, noise, images, live, RADIUS, min_pnr=6.0).min_pnr == 6.0


def test_seeds_are_far_apart_and_where_they_may_be() -> None:
    movie, noise, live = filtered(raw_movie()[0])
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    seeds = find_seeds(images, thresholds, RADIUS, 20)
    apart = abs(seeds[:, None] - seeds[None]).max(axis=2)
    assert (apart[~np.eye(len(seeds), dtype=bool)] > 20).all()
    bright = images.brightness()[seeds[:, 0], seeds[:, 1]]
    assert (np.diff(bright) <= 0).all()
    free = np.ones((72, 72), bool)
    free[seeds[0, 0], seeds[0, 1]] = False
    assert seeds[0].tolist() not in find_seeds(images, thresholds, RADIUS, 20, free).tolist()


@pytest.mark.parametrize("shape", [(1, 1, 40), (6, 5, 1), (5, 4, 3)])
@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_movies_with_nothing_in_them(shape: tuple[int, int, int], value: float) -> None:
    movie, noise, live = filtered(np.full(shape, value, np.float32))
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    assert np.isfinite([thresholds.min_corr, thresholds.min_pnr]).all()
    assert find_seeds(images, thresholds, RADIUS, 3).shape == (0, 2)


def test_background_leaves_nothing_beside_pixels_that_do_not_count() -> None:
    rng = np.random.default_rng(8)
    inside = np.ones((30, 34), bool)
    inside[:5], inside[:, 30:] = False, False
    inside[15:17, 12:15] = False
    movie = np.where(inside[:, :, None], 20 * rng.normal(size=100), rng.normal(size=(30, 34, 100))).astype(np.float32)
    whole = movie + 0.01 * rng.normal(size=movie.shape).astype(np.float32)
    noise, live = filter_to_cells(whole.reshape(-1, 100), np.ones(30 * 34, np.float32), inside, RADIUS)
    np.testing.assert_array_equal(live, inside)
    assert noise[inside].max() < 0.01  # of the white noise; background of 20 is gone
    assert not whole[~inside].any()
