"""Share of positive residuals: against its definition, and where there is nothing to count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from gpucells.ops.positive_share import positive_share


def by_definition(movie: np.ndarray, footprints: np.ndarray, traces: np.ndarray, level: float) -> np.ndarray:
    residual = movie.astype(np.float64) - footprints.T.astype(np.float64) @ traces
    share = np.full(traces.shape, 0.5)
    for cell, image in enumerate(footprints):
        mine = image > level * image.max()
        for frame in range(movie.shape[1]) if mine.any() else ():
            share[cell, frame] = np.mean(residual[mine, frame] > 0)
    return share


def problem(n_cells: int, n_pixels: int, n_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    footprints = rng.random((n_cells, n_pixels)) ** 3 * (rng.random((n_cells, n_pixels)) < 0.4)
    traces = rng.normal(size=(n_cells, n_frames))
    movie = footprints.T @ traces + rng.normal(0.2, 1, (n_pixels, n_frames))
    return tuple(array.astype(np.float32) for array in (movie, footprints, traces))  # type: ignore[return-value]


@pytest.mark.parametrize("n_frames", [1, 256, 300])
@pytest.mark.parametrize("level", [0.01, 0.5])
def test_definition(n_frames: int, level: float) -> None:
    movie, footprints, traces = problem(5, 80, n_frames)
    found = positive_share(movie, sparse.csr_array(footprints), traces, level=level)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(movie, footprints, traces, level), atol=1e-6)


def test_clean_data_lie_around_a_half_and_hidden_light_above() -> None:
    rng = np.random.default_rng(1)
    footprints = np.ones((1, 400), np.float32)
    movie = rng.normal(size=(400, 50)).astype(np.float32)
    movie[:200, 25:] += 3
    share = positive_share(movie, sparse.csr_array(footprints), np.zeros((1, 50), np.float32))[0]
    assert share[:25].mean() == pytest.approx(0.5, abs=0.02)
    assert share[25:].mean() == pytest.approx(0.75, abs=0.02)


def test_an_empty_footprint_says_nothing() -> None:
    movie, footprints, traces = problem(3, 20, 10)
    footprints[1] = 0
    assert (positive_share(movie, sparse.csr_array(footprints), traces)[1] == 0.5).all()


def test_no_cells() -> None:
    nothing = sparse.csr_array((0, 4), dtype=np.float32)
    assert positive_share(np.ones((4, 6), np.float32), nothing, np.zeros((0, 6), np.float32)).shape == (0, 6)
