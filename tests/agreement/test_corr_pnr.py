"""Correlation and peak-to-noise images, their thresholds and seeds: both sides give the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpucells.candidates.corr_pnr import filter_to_cells, find_seeds, find_thresholds, measure_images, update_images
from gpucells.device.arrays import to_host

RADIUS = 2.5


def movie_of() -> Any:
    """``(30, 26, 60)`` in units of the noise: twelve cells."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:30, :26]
    movie = rng.normal(size=(30, 26, 60))
    for k in range(12):
        row, column = 4 + 7 * (k // 3), 4 + 8 * (k % 3)
        cell = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.3**2))
        movie += 25 * cell[:, :, None] * np.exp(-((np.arange(60) - rng.integers(5, 55)) ** 2) / 8)
    return movie.astype(np.float32)


def run(movie: Any) -> tuple[Any, ...]:
    inside = np.ones((30, 26), bool)
    inside[0, :5] = False
    noise, live = filter_to_cells(movie.reshape(780, 60), np.ones(780, np.float32), inside, RADIUS)
    images = measure_images(movie)
    thresholds = find_thresholds(movie, noise, images, live, RADIUS)
    seeds = find_seeds(images, thresholds, RADIUS, 6)
    before = images.brightness()
    movie[8:14, 3:9] *= 0.25
    update_images(movie, images, np.array([[8, 14, 3, 9]]))
    return to_host(movie), noise, live, before, images, thresholds, seeds


def test_both_sides_find_the_same(cuda: Any) -> None:
    on_cpu, on_gpu = run(movie_of()), run(cuda.asarray(movie_of()))
    for one, other in zip(on_cpu[:4], on_gpu[:4], strict=True):
        assert isinstance(other, np.ndarray)
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(on_gpu[4].corr, on_cpu[4].corr, atol=1e-4)
    np.testing.assert_allclose(on_gpu[4].pnr, on_cpu[4].pnr, atol=1e-3)
    mine, its = on_cpu[5], on_gpu[5]
    assert (its.n_passed, its.n_hidden, len(its.null.at)) == (mine.n_passed, mine.n_hidden, len(mine.null.at))
    np.testing.assert_allclose([its.min_corr, its.min_pnr], [mine.min_corr, mine.min_pnr], rtol=1e-3)
    np.testing.assert_array_equal(on_gpu[6], on_cpu[6])
    assert len(on_cpu[6]) >= 8
    after = measure_images(on_gpu[0])
    np.testing.assert_allclose(on_gpu[4].corr, after.corr, atol=1e-4)
    np.testing.assert_allclose(on_gpu[4].pnr, after.pnr, atol=1e-5)
