"""The fits of seeds on a GPU beside the CPU's, both against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.planted import gaussian, transients
from reference.seed_fits import fit_seed, subtract_seed

from gpucells.device.arrays import to_host
from gpucells.ops.seed_fits import SeedFits, fit_seeds, subtract_seeds

KAPPA = 0.7


def movie_of(
    centres: Any, shape: tuple[int, int] = (22, 31), n_frames: int = 150, width: float = 2.0, seed: int = 0
) -> Any:
    rng = np.random.default_rng(seed)
    images = np.array([gaussian(shape, centre, width) for centre in centres])
    traces = transients(rng, len(centres), n_frames, 12, rate=0.03)
    movie = np.einsum("cyx,ct->yxt", images, traces) + rng.normal(size=(*shape, n_frames))
    return movie.astype(np.float32)


def fitted(movie: Any, inside: Any, seeds: Any, half: int, cuda: Any) -> tuple[SeedFits, SeedFits]:
    """Fit on the device and on the host, and check what does not depend on the case."""
    on_gpu, on_cpu = (fit_seeds(xp.asarray(movie), inside, seeds, half, KAPPA) for xp in (cuda, np))
    for name in ("images", "traces", "areas"):
        seen, wanted = getattr(on_gpu, name), getattr(on_cpu, name)
        assert isinstance(seen, np.ndarray)
        assert (seen.dtype, seen.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(on_gpu.areas, on_cpu.areas)
    return on_gpu, on_cpu


def check_fits(movie: Any, inside: Any, seeds: Any, half: int, cuda: Any) -> SeedFits:
    on_gpu, on_cpu = fitted(movie, inside, seeds, half, cuda)
    slow = [fit_seed(movie, inside, seed, half, KAPPA) for seed in seeds]
    tolerance.assert_as_accurate(on_gpu.images, on_cpu.images, [image for image, _, _ in slow], "images")
    tolerance.assert_as_accurate(on_gpu.traces, on_cpu.traces, [trace for _, trace, _ in slow], "traces")
    np.testing.assert_array_equal(on_gpu.areas, [area for _, _, area in slow])
    return on_cpu


SEEDS = np.array([[6, 6], [1, 20], [18, 29], [17, 12]])  # inside, at an edge, near a corner, of nothing but noise
# A window of many groups of pixels that settle together, and of one; frames that fill no chunk, and no two.
CASES = {
    "": (movie_of(SEEDS[:3]), SEEDS, 5),
    "large window": (movie_of(SEEDS[[0]], width=3.5, n_frames=65), SEEDS[[0]], 9),
    "two cells": (movie_of([(10, 10), (10, 15)], n_frames=33), np.array([[10, 10]]), 5),
    "more frames than threads": (movie_of([(2, 2)], (5, 5), 301), np.array([[2, 2]]), 2),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("masked", [False, True])
def test_fits_and_what_they_leave(cuda: Any, case: str, masked: bool) -> None:
    movie, seeds, half = CASES[case]
    inside = np.random.default_rng(1).random(movie.shape[:2]) < (0.8 if masked else 1)
    inside[tuple(seeds.T)] = True
    fits = check_fits(movie, inside, seeds, half, cuda)
    assert (fits.areas > 0).any()

    refused = np.arange(len(seeds)) % 3 == 1
    left, wanted = [cuda.asarray(movie), movie.copy()], movie.astype(float)
    for part in left:
        subtract_seeds(part, inside, fits, refused)
    for i, seed in enumerate(seeds):
        subtract_seed(wanted, inside, seed, fits.images[i], refused[i], 2)
    tolerance.assert_as_accurate(to_host(left[0]), left[1], wanted, "left")
    np.testing.assert_array_equal(to_host(left[0]) == movie, left[1] == movie)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4])
def test_films_of_a_few_frames(cuda: Any, n_frames: int) -> None:
    movie = 3 + np.random.default_rng(2).normal(size=(9, 9, n_frames)).astype(np.float32)
    inside = np.ones((9, 9), bool)
    on_gpu, on_cpu = fitted(movie, inside, np.array([[4, 4]]), 3, cuda)
    assert on_cpu.areas[0] > 0
    np.testing.assert_allclose(on_gpu.images, on_cpu.images, atol=1e-5)
    np.testing.assert_allclose(on_gpu.traces, on_cpu.traces, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cut", [False, True])
def test_a_support_around_many_bends_is_followed_to_its_end(cuda: Any, cut: bool) -> None:
    """A spiral of bright pixels from the seed outwards; without one of its corners only what is before that stays."""
    side, at, by = 15, np.array([7, 7]), np.array([0, 1])
    spiral = [at]
    for turn in range(12):
        spiral += [at + by * step for step in range(1, 2 * (turn // 2) + 3)]
        at, by = spiral[-1], np.array([by[1], -by[0]])
        if cut and turn == 6:
            n_before = len(spiral) - 1
    path = np.array(spiral + [at + by * step for step in range(1, 15)])
    image = np.zeros((side + 1, side + 1))
    image[tuple(np.clip(path, 0, side).T)] = 1
    if cut:
        image[tuple(path[n_before])] = 0
    movie = (image[:side, :side, None] * np.array([0, 5, 9, 5, 0, 0, 0, 0])).astype(np.float32)
    on_gpu, on_cpu = fitted(movie, np.ones((side, side), bool), np.array([[7, 7]]), 7, cuda)
    assert on_cpu.areas[0] == (n_before if cut else movie[..., 2].astype(bool).sum())
    np.testing.assert_allclose(on_gpu.images, on_cpu.images, atol=1e-6)


def test_a_failed_fit_is_empty_and_subtracts_nothing(cuda: Any) -> None:
    movie, inside, seeds = np.full((9, 12, 40), -1, np.float32), np.ones((9, 12), bool), np.array([[4, 4], [1, 11]])
    on_gpu, on_cpu = fitted(movie, inside, seeds, 3, cuda)
    assert not on_gpu.areas.any()
    assert not on_gpu.images.any()
    assert not on_gpu.traces.any()
    left = cuda.asarray(movie)
    subtract_seeds(left, inside, on_gpu, np.array([False, True]))
    subtract_seeds(movie, inside, on_cpu, np.array([False, True]))
    assert not movie[:4, 9:].any()
    np.testing.assert_array_equal(to_host(left), movie)


def test_no_seeds_launch_nothing(cuda: Any) -> None:
    movie, inside, none = np.ones((9, 12, 40), np.float32), np.ones((9, 12), bool), np.zeros((0, 2), np.int64)
    on_gpu, _ = fitted(movie, inside, none, 3, cuda)
    left = cuda.asarray(movie)
    subtract_seeds(left, inside, on_gpu, np.zeros(0, bool))
    np.testing.assert_array_equal(to_host(left), movie)


def test_sanitizers_find_nothing(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpucells.ops.seed_passes.ROUNDS", 1)  # each launch is a process; all rounds are alike
    movie, inside = movie_of([(3, 3)], (7, 9), 35, 1.0), np.ones((7, 9), bool)
    left = sanitized_cuda.asarray(movie)
    fits = fit_seeds(left, inside, np.array([[3, 3]]), 2, KAPPA)
    subtract_seeds(left, inside, fits, np.array([False]))
    assert to_host(left)[3, 3].std() < 0.5 * movie[3, 3].std()
