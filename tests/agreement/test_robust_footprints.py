"""The CUDA body of the footprints' robust regression beside the CPU's, both against the float64 answer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from reference.one_sided_huber import objective, solve
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

from gpucells.ops import robust_footprints_cuda
from gpucells.ops.robust_footprints import Known, robust_footprints

SHAPE = (4, 9)
N_PIXELS = SHAPE[0] * SHAPE[1]
EXACT: dict[str, Any] = {"n_steps": 12, "tolerance": 1e-4}
ROUNDING = 1e-6  # relative, of an objective reached in single precision
# Cells of a pixel: as many as registers hold, one more, several blocks of them, more than a warp has lanes.
N_CELLS = [1, 2, 4, 5, 9, 35]


class Problem:
    """A contaminated movie in units of the noise, with background; cells whose masks end anywhere."""

    def __init__(self, n_cells: int, n_frames: int = 150, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        cells = footprints(SHAPE, rng.uniform(0, 1, (n_cells, 2)) * SHAPE)
        self.traces = transients(rng, n_cells, n_frames, 20, rate=0.05).astype(np.float32)
        self.traces[self.traces < 2] = 0
        self.movie = pixel_movie(rng, cells, self.traces, contamination=0.05)
        self.kappa = rng.uniform(0.4, 2, N_PIXELS).astype(np.float32)
        self.offset = rng.normal(0, 5, N_PIXELS).astype(np.float32)
        self.penalty = np.linspace(0, 20, n_cells, dtype=np.float32)
        self.truth = cells.toarray()
        self.mask = rng.random((n_cells, N_PIXELS)) < 0.8
        self.mask[:, [0, -1]] = [[False, True]]  # a pixel of no cell, and one of all
        if n_cells > 9:
            self.mask[:, 2:-1] = False  # the emulator takes long for so many
        light = rng.random((2, N_PIXELS)).astype(np.float32) * (rng.random((2, N_PIXELS)) < 0.6)
        self.known = Known(sparse.csc_array(light), rng.normal(0, 3, (2, n_frames)).astype(np.float32))
        self.lit = (self.movie + self.offset[:, None] + light.T @ self.known.traces).astype(np.float32)

    def start(self, scale: float) -> sparse.csr_array:
        """Return the planted footprints times a number, with an entry wherever the mask is, zeros included."""
        rows, columns = np.nonzero(self.mask)
        values = (scale * self.truth[rows, columns]).astype(np.float32)
        return sparse.csr_array((values, (rows, columns)), shape=self.mask.shape)

    def found(self, xp: Any, scale: float, **settings: Any) -> Any:
        """Return the footprints, dense, by the body for the arrays of ``xp``."""
        solved = robust_footprints(
            xp.asarray(self.lit), self.traces, self.start(scale), self.kappa, known=self.known, offset=self.offset,
            **settings,
        )  # fmt: skip
        assert type(solved) is sparse.csr_array
        assert type(solved.data) is np.ndarray
        assert solved.dtype == np.float32
        assert (solved.data > 0).all()
        assert not solved.toarray()[~self.mask].any()
        return solved.toarray()

    def error(self, found: Any, wanted: Any) -> float:
        """Largest difference of a footprint's pixel, in units of its standard error."""
        return float(np.abs((found - wanted) * np.linalg.norm(self.traces, axis=1)[:, None]).max(initial=0))

    def loss(self, found: Any) -> Any:
        return objective(self.movie, self.traces, found.T, self.kappa[:, None], self.penalty)


@cache
def planted(n_cells: int, n_frames: int = 150, seed: int = 1) -> Problem:
    return Problem(n_cells, n_frames, seed)


@cache
def by_float64(problem: Problem) -> Any:
    """The slow answer, and the CPU's."""
    penalty = problem.penalty
    wanted = solve(problem.movie, problem.traces, problem.kappa[:, None], penalty, allowed=problem.mask.T).T
    return wanted, problem.found(np, 1.3, penalty=penalty, **EXACT)


@pytest.mark.parametrize("n_cells", N_CELLS)
def test_solutions_are_those_of_float64(cuda: Any, n_cells: int) -> None:
    problem = planted(n_cells, 150 if n_cells < 10 else 400)
    wanted, on_cpu = by_float64(problem)
    on_gpu = problem.found(cuda, 1.3, penalty=problem.penalty, **EXACT)
    assert problem.error(on_gpu, wanted) <= 3 * problem.error(on_cpu, wanted) + 1e-5
    assert (problem.loss(on_gpu) <= problem.loss(on_cpu) * (1 + ROUNDING)).all()


@pytest.mark.parametrize(("n_cells", "seed"), [(1, 0), (3, 0), (9, 1)])  # each has a pixel whose step is taken back
@pytest.mark.parametrize("scale", [0, 2], ids=["cold", "double"])
@pytest.mark.parametrize("n_steps", [0, 2, 6])
def test_steps_are_those_of_the_cpu(cuda: Any, n_cells: int, seed: int, scale: float, n_steps: int) -> None:
    problem = planted(n_cells, seed=seed)
    on_gpu, on_cpu = (problem.found(xp, scale, n_steps=n_steps) for xp in (cuda, np))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=2e-6)


@pytest.mark.parametrize("n_cells", [1, 4, 9])
def test_pixels_with_more_frames_than_fit_are_read_in_pieces(
    cuda: Any, n_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = planted(n_cells)
    whole = problem.found(cuda, 0)
    monkeypatch.setattr(robust_footprints_cuda, "SHARED_BYTES", 4 * 32 * (1 + n_cells if n_cells < 5 else 3))
    np.testing.assert_allclose(problem.found(cuda, 0), whole, atol=2e-6)


def test_warps_that_share_scratch_take_turns(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = planted(9)
    alone = problem.found(cuda, 0)
    monkeypatch.setattr(robust_footprints_cuda, "MOST_PARTS", 3)
    np.testing.assert_array_equal(problem.found(cuda, 0), alone)


@pytest.mark.parametrize("n_frames", [0, 1, 31, 32, 33])
@pytest.mark.parametrize("n_cells", [1, 7])
def test_few_frames(cuda: Any, n_frames: int, n_cells: int) -> None:
    rng = np.random.default_rng(1)
    movie, traces = rng.normal(5, 1, (3, n_frames)), rng.exponential(5, (n_cells, n_frames))
    start = sparse.csr_array(rng.uniform(0.5, 1, (n_cells, 3)).astype(np.float32))
    on_gpu, on_cpu = (
        robust_footprints(
            xp.asarray(movie.astype(np.float32)), traces.astype(np.float32), start, np.full(3, 0.7, np.float32)
        ).toarray()
        for xp in (cuda, np)
    )
    losses = [objective(movie, traces, found.T, 0.7) for found in (on_gpu, on_cpu)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5, atol=1e-5)
    if n_cells == 1:
        np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-5)


def test_silent_cells_dark_pixels_and_nothing_to_solve(cuda: Any) -> None:
    problem = planted(4)
    silent = problem.traces * np.array([[1], [0], [0], [1]], np.float32)
    movie = cuda.asarray(problem.movie)
    for traces in (silent, 0 * silent):
        on_gpu, on_cpu = (
            robust_footprints(xp.asarray(problem.movie), traces, problem.start(1), problem.kappa).toarray()
            for xp in (cuda, np)
        )
        np.testing.assert_allclose(on_gpu, on_cpu, atol=2e-6)
    assert robust_footprints(-abs(movie) - 1, problem.traces, problem.start(1), problem.kappa).nnz == 0
    nowhere = sparse.csr_array((4, N_PIXELS), dtype=np.float32)
    assert robust_footprints(movie, problem.traces, nowhere, problem.kappa).nnz == 0
    assert robust_footprints(movie, problem.traces[:0], nowhere[:0], problem.kappa).shape == (0, N_PIXELS)


def test_small_arrays_may_be_on_either_side(cuda: Any) -> None:
    problem = planted(3)
    given = (problem.lit, problem.traces, problem.kappa, problem.offset, np.linspace(0, 9, 3, dtype=np.float32))
    movie, *on_device = (cuda.asarray(array) for array in given)
    found = []
    for traces, kappa, offset, penalty in (given[1:], on_device):
        found.append(
            robust_footprints(movie, traces, problem.start(1), kappa, offset=offset, penalty=penalty).toarray()
        )
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(movie.get(), problem.lit)


def test_sanitizers_find_nothing(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(6, 70)
    problem.mask[:, :-6] = False
    problem.mask[3:, -3:] = False  # pixels of three cells and of six, a block and a half of each
    settings: dict[str, Any] = {"n_steps": 3, "tolerance": 0.0}
    monkeypatch.setattr(robust_footprints_cuda, "SHARED_BYTES", 4 * 96 * 3)  # six cells whole, three in pieces of 32
    monkeypatch.setattr(robust_footprints_cuda, "WIDTHS", (4,))  # one build of the two that there would be
    monkeypatch.setattr(robust_footprints_cuda, "MOST_PARTS", 2)
    on_gpu, on_cpu = (problem.found(xp, 0.5, **settings) for xp in (sanitized_cuda, np))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=2e-6)
