"""What must hold of the robust regressions on any movie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from reference.one_sided_huber import objective
from scipy import sparse

from gpucells.ops.robust_footprints import robust_footprints
from gpucells.ops.robust_traces import robust_traces

EXACT: dict[str, Any] = {"n_steps": 30, "tolerance": 1e-5}


@dataclass
class Problem:
    movie: Any
    cells: sparse.csr_array
    traces: Any
    kappa: Any
    rng: np.random.Generator


@st.composite
def problems(draw: Any) -> Problem:
    """Draw movies of up to six random overlapping cells, contaminated, in units of the noise."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_cells, n_pixels = draw(st.integers(1, 6)), draw(st.integers(12, 40))
    n_frames = draw(st.sampled_from([1, 9, 40, 140]))
    cells = rng.uniform(0.2, 1, (n_cells, n_pixels)) * (rng.random((n_cells, n_pixels)) < 0.4)
    cells[np.arange(n_cells), np.arange(n_cells)] = 1  # a pixel that is more its own than another's
    traces = rng.exponential(8, (n_cells, n_frames)) * (rng.random((n_cells, n_frames)) < 0.4)
    movie = cells.T @ traces + rng.normal(0, 1, (n_pixels, n_frames))
    movie += (rng.random(movie.shape) < 0.1) * rng.exponential(10, movie.shape)
    kappa = rng.uniform(0.4, 2, n_pixels) if draw(st.booleans()) else np.full(n_pixels, 0.7)
    return Problem(
        movie.astype(np.float32), sparse.csr_array(cells.astype(np.float32)), traces.astype(np.float32),
        kappa.astype(np.float32), rng,
    )  # fmt: skip


def total(problem: Problem, traces: Any) -> float:
    dense = problem.cells.toarray()
    return float(objective(problem.movie.T, dense, np.asarray(traces).T, problem.kappa).sum())


def close(problem: Problem, found: Any, wanted: Any, scale: float = 1.0) -> None:
    norm = np.sqrt(problem.cells.multiply(problem.cells).sum(axis=1))[:, None]
    np.testing.assert_allclose(found / scale * norm, wanted / scale * norm, atol=2e-2)


@given(problems())
def test_permuting_pixels_and_cells_permutes_the_traces(problem: Problem) -> None:
    pixels, cells = (problem.rng.permutation(n) for n in problem.cells.shape[::-1])
    wanted, _ = robust_traces(problem.movie, problem.cells, problem.kappa, **EXACT)
    shuffled = sparse.csr_array(problem.cells[cells][:, pixels])
    found, _ = robust_traces(problem.movie[pixels], shuffled, problem.kappa[pixels], **EXACT)
    close(problem, found[np.argsort(cells)], wanted)


@given(problems(), st.sampled_from([0.02, 3.0, 1000.0]))
def test_scaling_movie_and_kappa_scales_the_traces(problem: Problem, factor: float) -> None:
    scale = np.float32(factor)
    wanted, _ = robust_traces(problem.movie, problem.cells, problem.kappa, **EXACT)
    options = EXACT | {"tolerance": EXACT["tolerance"] * factor}
    found, _ = robust_traces(problem.movie * scale, problem.cells, problem.kappa * scale, **options)
    close(problem, found, wanted * scale, factor)


@given(problems(), st.booleans())
def test_the_objective_never_rises_with_steps(problem: Problem, warm: bool) -> None:
    start = problem.rng.exponential(10, problem.traces.shape).astype(np.float32) if warm else None
    steps = range(0 if warm else 1, 9)
    found = [
        robust_traces(problem.movie, problem.cells, problem.kappa, start=start, n_steps=n, tolerance=0)[0]
        for n in steps
    ]
    losses = np.array([total(problem, traces) for traces in found])
    assert (np.diff(losses) <= 2e-5 * losses[:-1] + 1e-3).all()
    assert warm is False or losses[0] == total(problem, start)


@given(problems())
def test_the_objective_of_footprints_never_rises_with_steps(problem: Problem) -> None:
    losses = []
    for n_steps in range(8):
        found = robust_footprints(
            problem.movie, problem.traces, problem.cells, problem.kappa, n_steps=n_steps, tolerance=0
        )
        images = found.toarray().T
        losses.append(objective(problem.movie, problem.traces, images, problem.kappa[:, None]))
    rises = np.diff(np.array(losses), axis=0)
    assert (rises <= 2e-5 * np.array(losses[:-1]) + 1e-3).all()


@given(problems())
def test_an_empty_cell_changes_nothing(problem: Problem) -> None:
    wanted, loss = robust_traces(problem.movie, problem.cells, problem.kappa)
    empty = sparse.csr_array((1, problem.cells.shape[1]), dtype=np.float32)
    more = sparse.csr_array(sparse.vstack([empty, problem.cells])).astype(np.float32)
    found, with_it = robust_traces(problem.movie, more, problem.kappa)
    np.testing.assert_array_equal(found[1:], wanted)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_array_equal(with_it, loss)


@given(problems())
def test_a_silent_cell_changes_no_footprint(problem: Problem) -> None:
    wanted = robust_footprints(problem.movie, problem.traces, problem.cells, problem.kappa, **EXACT).toarray()
    silent = np.concatenate([problem.traces, np.zeros_like(problem.traces[:1])])
    more = sparse.csr_array(sparse.vstack([problem.cells, problem.cells[[0]]])).astype(np.float32)
    found = robust_footprints(problem.movie, silent, more, problem.kappa, **EXACT).toarray()
    norm = np.linalg.norm(problem.traces, axis=1)[:, None]
    np.testing.assert_allclose(found[:-1] * norm, wanted * norm, atol=2e-2)


@given(problems(), st.integers(0, 140))
def test_halves_of_the_frames_give_the_same(problem: Problem, cut: int) -> None:
    cut = min(cut, problem.movie.shape[1])
    wanted, loss = robust_traces(problem.movie, problem.cells, problem.kappa, **EXACT)
    halves = [
        robust_traces(np.ascontiguousarray(part), problem.cells, problem.kappa, **EXACT)
        for part in (problem.movie[:, :cut], problem.movie[:, cut:])
    ]
    close(problem, np.concatenate([traces for traces, _ in halves], axis=1), wanted)
    np.testing.assert_allclose(np.concatenate([part for _, part in halves]), loss, rtol=1e-4)


@given(problems())
def test_halves_of_the_pixels_give_the_same_footprints(problem: Problem) -> None:
    wanted = robust_footprints(problem.movie, problem.traces, problem.cells, problem.kappa).toarray()
    cut = problem.cells.shape[1] // 2
    halves = [
        robust_footprints(
            problem.movie[some], problem.traces, sparse.csr_array(problem.cells[:, some]), problem.kappa[some]
        )
        for some in (slice(0, cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(np.concatenate([half.toarray() for half in halves], axis=1), wanted)
