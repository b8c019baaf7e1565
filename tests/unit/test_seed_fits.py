"""The rank-one fit of a seed: planted cells come back, and what is subtracted leaves noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import gaussian, transients

from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.seed_fits import BLANK, SeedFits, fit_seeds, subtract_seeds

SHAPE, HALF, KAPPA = (40, 48), 7, 0.7


def movie_of(cells: list[tuple[tuple[float, float], float]], seed: int = 0, n_frames: int = 400) -> Any:
    """Plant Gaussian cells (centre, height) in unit noise: movie, images, traces."""
    rng = np.random.default_rng(seed)
    images = np.array([gaussian(SHAPE, centre) for centre, _ in cells])
    traces = np.concatenate([transients(rng, 1, n_frames, height) for _, height in cells])
    movie = np.einsum("cyx,ct->yxt", images, traces) + rng.normal(size=(*SHAPE, n_frames))
    return movie.astype(np.float32), images, traces


def placed(fits: SeedFits, index: int) -> np.ndarray:
    """Put a window back into the frame."""
    frame = np.zeros((SHAPE[0] + 2 * HALF, SHAPE[1] + 2 * HALF))
    row, column = fits.seeds[index]
    frame[row : row + 2 * HALF + 1, column : column + 2 * HALF + 1] = fits.images[index]
    return frame[HALF:-HALF, HALF:-HALF]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


ALL = np.ones(SHAPE, bool)
PLACES = {
    "alone": [((20, 20), 12.0)],
    "corner": [((1, 1), 12.0)],
    "edge": [((39, 20), 12.0)],
    "brighter neighbour": [((20, 20), 12.0), ((20, 26), 18.0)],
    "two neighbours": [((20, 20), 15.0), ((20, 26), 15.0), ((26, 20), 15.0)],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_cell_comes_back(place: str) -> None:
    movie, images, traces = movie_of(PLACES[place])
    seed = np.array(PLACES[place][0][0])
    fits = fit_seeds(movie, ALL, seed[None], HALF, KAPPA)
    assert fits.images.dtype == fits.traces.dtype == np.float32
    assert fits.images.max() == pytest.approx(1)
    assert fits.areas[0] == (fits.images[0] > 0).sum()
    assert cosine(placed(fits, 0), images[0]) > 0.95
    assert np.corrcoef(fits.traces[0], traces[0])[0, 1] > 0.98
    assert (fits.traces >= 0).all()


def test_a_seed_beside_the_centre_finds_the_same_cell() -> None:
    movie, images, _ = movie_of(PLACES["alone"])
    fits = fit_seeds(movie, ALL, np.array([[21, 18]]), HALF, KAPPA)
    assert cosine(placed(fits, 0), images[0]) > 0.95


def test_a_batch_is_its_seeds_one_by_one() -> None:
    cells = [((8, 8), 12.0), ((8, 36), 9.0), ((30, 10), 15.0), ((32, 39), 12.0)]
    movie, _, _ = movie_of(cells)
    seeds = np.array([[int(y), int(x)] for (y, x), _ in cells])
    batch = fit_seeds(movie, ALL, seeds, HALF, KAPPA)
    left = movie.copy()
    subtract_seeds(left, ALL, batch, np.array([False, True, False, False]))
    alone = movie.copy()
    for i in (2, 0, 3, 1):
        one = fit_seeds(movie, ALL, seeds[[i]], HALF, KAPPA)
        np.testing.assert_array_equal(one.images[0], batch.images[i])
        np.testing.assert_array_equal(one.traces[0], batch.traces[i])
        subtract_seeds(alone, ALL, one, np.array([i == 1]))
    np.testing.assert_array_equal(left, alone)


def test_subtracting_leaves_noise_and_touches_nothing_else() -> None:
    movie, images, traces = movie_of(PLACES["alone"])
    left = movie.copy()
    fits = fit_seeds(left, ALL, np.array([[20, 20]]), HALF, KAPPA)
    subtract_seeds(left, ALL, fits, np.array([False]))
    core = images[0] > 0.3
    active = traces[0] > 6
    before, after = movie[core][:, active].mean(), left[core][:, active].mean()
    assert before > 4
    assert abs(after) < 0.15
    np.testing.assert_allclose(difference_noise(left[core]), 1, atol=0.2)
    window = np.zeros(SHAPE, bool)
    window[20 - HALF : 21 + HALF, 20 - HALF : 21 + HALF] = True
    np.testing.assert_array_equal(left[~window], movie[~window])


def test_a_refused_seed_is_emptied() -> None:
    movie, _, _ = movie_of([((1, 20), 12.0)])
    fits = fit_seeds(movie, ALL, np.array([[1, 20]]), HALF, KAPPA)
    subtract_seeds(movie, ALL, fits, np.array([True]))
    assert not movie[: 2 + BLANK, 20 - BLANK : 21 + BLANK].any()
    assert movie[2 + BLANK, 20].any()


def test_pixels_that_do_not_count_have_no_say_and_stay_as_they_are() -> None:
    movie, images, traces = movie_of([((20, 20), 12.0)])
    inside = ALL.copy()
    inside[:, 22:] = False
    wild = movie.copy()
    wild[:, 22:] = np.random.default_rng(1).normal(0, 50, wild[:, 22:].shape)
    fits = fit_seeds(wild, inside, np.array([[20, 21]]), HALF, KAPPA)  # its 3 x 3 px reach over the mask's edge
    found = placed(fits, 0)
    assert not found[:, 22:].any()
    assert cosine(found[:, :22], images[0][:, :22]) > 0.95
    assert np.corrcoef(fits.traces[0], traces[0])[0, 1] > 0.97
    after = wild.copy()
    subtract_seeds(after, inside, fits, np.array([False]))
    np.testing.assert_array_equal(after[:, 22:], wild[:, 22:])


def test_a_failed_fit_is_empty_and_subtracts_nothing() -> None:
    movie = np.full((*SHAPE, 50), -1, np.float32)
    fits = fit_seeds(movie, ALL, np.array([[20, 20]]), HALF, KAPPA)
    assert fits.areas[0] == 0
    assert not fits.images.any()
    assert not fits.traces.any()
    subtract_seeds(movie, ALL, fits, np.array([False]))
    assert (movie == -1).all()


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_films_of_a_few_frames(n_frames: int) -> None:
    movie = np.random.default_rng(2).normal(size=(*SHAPE, n_frames)).astype(np.float32)
    fits = fit_seeds(movie, ALL, np.array([[20, 20]]), HALF, KAPPA)
    assert np.isfinite(fits.images).all()
    assert np.isfinite(fits.traces).all()


def test_no_seeds() -> None:
    movie = np.zeros((*SHAPE, 10), np.float32)
    fits = fit_seeds(movie, ALL, np.zeros((0, 2), np.int64), HALF, KAPPA)
    assert fits.images.shape == (0, 2 * HALF + 1, 2 * HALF + 1)
    subtract_seeds(movie, ALL, fits, np.zeros(0, bool))
