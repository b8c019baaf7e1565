"""The original's iteration in the pipeline's places, and the L1 penalty: both against the Newton solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

from gpucells.methods.extract.compatible import admm_footprints, admm_traces
from gpucells.methods.extract.penalty import l1_weights
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.traces import TraceSolver
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.robust_footprints import Known, robust_footprints
from gpucells.ops.robust_traces import robust_traces

SHAPE, N_FRAMES = (24, 40), 150
CENTRES = [(8, 8), (9, 12), (14, 30)]  # two that overlap, and one alone
N_PIXELS = SHAPE[0] * SHAPE[1]


@pytest.fixture(scope="module")
def planted() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(2)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), N_FRAMES, 8).astype(np.float32)
    return pixel_movie(rng, cells, traces, contamination=0.03), cells, traces


@pytest.mark.parametrize("lower", [0.0, -np.inf])
def test_both_solvers_find_the_same_traces(planted: Any, lower: float) -> None:
    movie, cells, _ = planted
    kappa = np.ones(N_PIXELS, np.float32)
    newton, _ = robust_traces(movie, cells, kappa, lower=lower, n_steps=12, tolerance=1e-4)
    admm = admm_traces(movie, cells, 1.0, lower=lower, n_iterations=400)
    np.testing.assert_allclose(admm, newton, atol=0.02)


def test_both_solvers_mean_the_same_penalty_offset_and_bounds(planted: Any) -> None:
    movie, cells, _ = planted
    offset = np.full(N_PIXELS, 0.3, np.float32)
    same: dict[str, Any] = {
        "offset": offset,
        "penalty": np.array([2, 0, 4], np.float32),
        "lower": np.array([-0.5, 0, -np.inf], np.float32),
    }
    newton, _ = robust_traces(movie, cells, np.full(N_PIXELS, 1.5, np.float32), n_steps=12, tolerance=1e-4, **same)
    admm = admm_traces(movie, cells, 1.5, n_iterations=400, **same)
    np.testing.assert_allclose(admm, newton, atol=0.02)
    assert admm[0].min() == pytest.approx(-0.5, abs=1e-5)


def test_blocks_of_frames_change_nothing(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    movie, cells, _ = planted
    whole = admm_traces(movie, cells, 1.0)
    monkeypatch.setattr("gpucells.methods.extract.compatible.BLOCK_SAMPLES", 17 * 60)
    np.testing.assert_allclose(admm_traces(movie, cells, 1.0), whole, atol=1e-4)


def test_both_solvers_find_the_same_footprints(planted: Any) -> None:
    movie, cells, traces = planted
    known = Known(
        sparse.csc_array(np.full((1, N_PIXELS), 0.1, np.float32)),
        np.sin(np.arange(N_FRAMES) / 9).astype(np.float32)[None],
    )
    offset = np.full(N_PIXELS, 0.1, np.float32)
    same: dict[str, Any] = {"known": known, "offset": offset}
    newton = robust_footprints(
        movie, traces, cells, np.full(N_PIXELS, 1.5, np.float32), n_steps=12, tolerance=1e-4, **same
    )
    admm = admm_footprints(movie, traces, cells, 1.5, n_iterations=400, **same)
    np.testing.assert_allclose(admm.toarray(), newton.toarray(), atol=0.01)
    assert not admm.toarray()[cells.toarray() == 0].any()


def solver(cells: Any, traces: Any, **settings: Any) -> TraceSolver:
    zero, one = np.zeros(N_PIXELS, np.float32), np.ones(N_PIXELS, np.float32)
    return TraceSolver(cells, Bilinear.none(*SHAPE), zero, one, one, ExtractSettings(**settings), traces)


def solve(movie: Any, solver_: TraceSolver) -> Any:
    frames = np.ascontiguousarray(movie.T).reshape(-1, *SHAPE)
    lower = np.zeros(solver_.cells.shape[0], np.float32)
    start = np.zeros((len(lower), len(frames)), np.float32)
    return solver_.solve_cells(frames, np.zeros((0, len(frames)), np.float32), lower, start)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", ["newton", "admm"])
def test_the_penalty_makes_overlapping_traces_sparser(planted: Any, adaptive: bool, name: str) -> None:
    movie, cells, traces = planted
    alike = traces.copy()
    alike[1] += traces[0]  # so that the two that overlap resemble each other
    settings = {"adaptive_kappa": adaptive, "solver": name}
    free = solve(movie, solver(cells, alike, **settings))
    held = solve(movie, solver(cells, alike, l1_penalty_factor=0.3, **settings))
    assert (held[:2] > 0).sum() < 0.9 * (free[:2] > 0).sum()
    assert held[:2].sum() < free[:2].sum()
    np.testing.assert_allclose(held[2], free[2], atol=0.02)  # it resembles no one


def test_penalty_by_definition() -> None:
    rng = np.random.default_rng(0)
    cells = footprints(SHAPE, [(8, 8), (9, 10), (12, 30), (12, 33)])
    traces = rng.normal(size=(4, 60)).astype(np.float32)
    traces[1] += traces[0]
    images, dense = np.corrcoef(cells.toarray()), cells.toarray()
    expected = np.zeros(4)
    for cell in range(4):
        others = [np.corrcoef(traces)[cell, j] for j in range(4) if j != cell and images[cell, j] > 0.2]
        expected[cell] = 1.5 * 0.4 * max([0.0, *others]) * dense[cell].sum()
    found = l1_weights(cells, traces, 0.4, 1.5)
    assert expected[0] > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_no_penalty_where_none_is_asked_for(planted: Any) -> None:
    _, cells, traces = planted
    assert not l1_weights(cells, traces, 0.0, 1.5).any()
    assert not l1_weights(cells[:1], traces[:1], 1.0, 1.5).any()
    assert l1_weights(cells[:0], traces[:0], 1.0, 1.5).shape == (0,)
