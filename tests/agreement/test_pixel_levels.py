"""Level and noise of pixels, and the movie in units of them: both bodies against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.pixel_levels import sampled_level, sampled_noise

from gpucells.device.arrays import to_host
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.state import prepare
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.difference_noise import ENOUGH
from gpucells.ops.pixel_levels import standardise_pixels, whiten_pixels

# Pixels that fill no block of the kernel; frames about where sampling starts, and where the two strides differ.
SIZES = [(1, 1), (3, 2), (2, 3), (5, 40), (9, 1023), (5, 1024), (4, 1025), (6, 1026), (5, 2600), (0, 9)]


def movie_of(n_pixels: int, n_frames: int) -> Any:
    """Skewed and negative samples, ties, a dead pixel and some that are broken at one end or the other."""
    rng = np.random.default_rng(n_pixels * 10_000 + n_frames)
    movie = rng.exponential(3, (n_pixels, n_frames)).astype(np.float32)
    movie += rng.normal(0, 20, (n_pixels, 1)).astype(np.float32)
    if n_pixels > 3:
        movie[1], movie[2] = -7, np.round(movie[2])
        movie[3, -1] = np.nan
    if n_pixels > 4:
        movie[4, n_frames // 2] = -np.inf
    return movie


@pytest.mark.parametrize(("n_pixels", "n_frames"), SIZES)
@pytest.mark.parametrize("quantile", [0.0, 0.35, 1.0])
def test_levels_are_what_sorting_gives(cuda: Any, n_pixels: int, n_frames: int, quantile: float) -> None:
    movie = movie_of(n_pixels, n_frames)
    finite = np.isfinite(movie).all(axis=1)
    emptied = np.where(finite[:, None], movie, 0)
    true_level, true_noise = sampled_level(emptied, quantile, ENOUGH), sampled_noise(emptied, ENOUGH)
    on_cpu, on_gpu = movie.copy(), cuda.asarray(movie)
    found = [standardise_pixels(array, quantile) for array in (on_cpu, on_gpu)]
    for level, noise, flags in found:
        assert [type(part) for part in (level, noise, flags)] == 3 * [np.ndarray]
        assert [part.dtype for part in (level, noise, flags)] == [np.float32, np.float32, bool]
        np.testing.assert_array_equal(flags, finite)
        np.testing.assert_array_equal(level, true_level)
    tolerance.assert_as_accurate(found[1][1], found[0][1], true_noise)
    wanted = (emptied.astype(np.float64) - true_level[:, None]) / np.where(true_noise > 0, true_noise, 1)[:, None]
    tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, wanted)


def test_only_the_pixels_that_are_named_are_whitened(cuda: Any) -> None:
    movie, some = np.nan_to_num(movie_of(9, 70), posinf=0, neginf=0), np.array([7, 0, 3])
    level, noise = np.arange(9).astype("f4"), np.arange(1, 10).astype("f4")
    live = np.arange(9) != 3
    wanted = movie.copy()
    wanted[some] = (movie[some] - level[some, None]) / noise[some, None]
    wanted[3] = 0
    on_cpu, on_gpu = movie.copy(), cuda.asarray(movie)
    for array in (on_cpu, on_gpu):
        whiten_pixels(array, level, noise, live, some)
        whiten_pixels(array, level, noise, live, some[:0])
        np.testing.assert_allclose(to_host(array), wanted, rtol=1e-6)


@pytest.mark.parametrize(("n_pixels", "n_frames"), [(9, 70), (4, 32), (1, 1), (0, 9)])
def test_whitening_is_in_units_of_the_noise(cuda: Any, n_pixels: int, n_frames: int) -> None:
    movie, rng = movie_of(n_pixels, n_frames), np.random.default_rng(1)
    level, noise = rng.normal(0, 20, n_pixels).astype("f4"), rng.uniform(0.5, 3, n_pixels).astype("f4")
    live = np.isfinite(movie).all(axis=1) & (rng.random(n_pixels) < 0.8)
    with np.errstate(invalid="ignore"):
        wanted = (movie.astype(np.float64) - level[:, None]) / noise[:, None]
    wanted[~live] = 0
    on_cpu, on_gpu = movie.copy(), cuda.asarray(movie)
    for array in (on_cpu, on_gpu):
        whiten_pixels(array, level, noise, live)
    tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, wanted)


def test_a_tile_is_prepared_and_read_again_where_its_movie_is(cuda: Any) -> None:
    movie, inside = movie_of(42, 90).reshape(6, 7, 90), np.ones((6, 7), bool)
    inside[5, 6] = False
    settings = ExtractSettings(background="none")
    on_cpu, on_gpu = (
        prepare(xp.asarray(movie.copy()), inside, Bilinear.none(6, 7), 3.0, settings) for xp in (np, cuda)
    )
    assert isinstance(on_gpu.movie, cuda.ndarray)
    np.testing.assert_array_equal(on_gpu.inside, on_cpu.inside)
    assert (~on_cpu.inside.ravel()).sum() == 4  # constant, two broken, outside
    np.testing.assert_array_equal(on_gpu.baseline, on_cpu.baseline)
    np.testing.assert_allclose(on_gpu.noise, on_cpu.noise, rtol=1e-6)
    before = to_host(on_gpu.movie).copy()
    np.testing.assert_allclose(before, on_cpu.movie, rtol=1e-5, atol=1e-5)
    on_gpu.movie[...] = -1

    def read(out: Any) -> None:
        out[...] = cuda.asarray(movie)

    on_gpu.read_again(read)
    np.testing.assert_allclose(
        to_host(on_gpu.movie), before, rtol=1e-6
    )  # a quiet pixel is scaled once instead of twice


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie = movie_of(6, 70)
    on_gpu = sanitized_cuda.asarray(movie)
    level, noise, finite = standardise_pixels(on_gpu, 0.5)
    np.testing.assert_array_equal(finite, np.isfinite(movie).all(axis=1))
    whiten_pixels(on_gpu, 0 * level, np.maximum(noise, 1), finite & (noise > 0))
    assert np.median(to_host(on_gpu), axis=1) == pytest.approx(0, abs=0.1)
