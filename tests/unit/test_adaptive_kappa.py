"""Adaptive kappa of the fast solver: the contaminated fixture, blocks in time, the options it does not touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse
from scipy.io import loadmat

from gpucells.io.open_movie import open_movie
from gpucells.methods.extract.adaptive_kappa import REACH, next_k
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.traces import TraceSolver
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.contamination import epsilon_from_k
from gpucells.tiles import final_traces as module
from gpucells.tiles.final_traces import final_traces


def solver(cells: Any, noise: float = 1.0, **settings: Any) -> TraceSolver:
    n_pixels = cells.shape[1]
    zero, one = np.zeros(n_pixels, np.float32), np.ones(n_pixels, np.float32)
    return TraceSolver(cells, Bilinear.none(1, n_pixels), zero, noise * one, one, ExtractSettings(**settings))


def mean_correlation(found: Any, truth: Any) -> float:
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found, truth, strict=True)]))


def test_it_beats_a_fixed_kappa_where_cells_are_hidden(shared_data: Path) -> None:
    """Two contaminants that are in no footprint; the original's figures are .9355 and .9527."""
    given = loadmat(shared_data / "extract_reference" / "fix_in.mat")
    frames = np.ascontiguousarray(given["M"].T).reshape(-1, 20, 20)
    cells = sparse.csr_array(given["S"].T.astype(np.float32))
    nothing = np.zeros((0, len(frames)), np.float32)
    start = np.zeros((6, len(frames)), np.float32)
    scores = {}
    for adaptive in (False, True):
        chosen = solver(cells, float(given["noise"].item()), kappa_std_ratio=0.7, adaptive_kappa=adaptive)
        scores[adaptive] = mean_correlation(
            chosen.solve_cells(frames, nothing, np.zeros(6, np.float32), start), given["T_true"]
        )
    assert scores[False] == pytest.approx(0.9355, abs=0.002)
    assert scores[True] > 0.9527


def planted(n_frames: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    shape = (20, 24)
    cells = footprints(shape, [(8, 8), (10, 15)])
    traces = transients(rng, 2, n_frames, 8).astype(np.float32)
    movie = pixel_movie(rng, cells, traces, contamination=0.05)
    return np.ascontiguousarray(movie.T).reshape(n_frames, *shape), cells, traces


def test_blocks_in_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, cells, traces = planted(300)
    chosen = solver(cells, adaptive_kappa=True, background="none")
    assert chosen.reach == REACH

    def run(length: int) -> Any:
        monkeypatch.setattr(module, "frames_per_block", lambda movie, multiple, most_bytes: length)
        field = np.zeros((0, 300), np.float32)
        return final_traces(open_movie(frames), chosen, traces, field, 1, "baseline_adjusted", lambda *_: None)[0]

    np.testing.assert_allclose(run(64), run(300), atol=0.02)


@pytest.mark.parametrize("option", ["least_squares", "nonnegative_least_squares"])
def test_least_squares_stays_least_squares(option: str) -> None:
    frames, cells, traces = planted(60)
    nothing, free = np.zeros((0, 60), np.float32), np.full(2, -np.inf, np.float32)
    found = [
        solver(cells, adaptive_kappa=adaptive, trace_output_option=option).solve_cells(frames, nothing, free, traces)
        for adaptive in (False, True)
    ]
    np.testing.assert_array_equal(*found)
    expected = np.linalg.lstsq(cells.toarray().T, frames.reshape(60, -1).T, rcond=None)[0]
    np.testing.assert_allclose(found[0], expected, atol=0.01)


def test_more_positive_residuals_lower_the_threshold() -> None:
    k = np.full((1, 40), 0.7, np.float32)
    clean = 0.5 * (1 + float(epsilon_from_k(0.7)))
    shares = np.linspace(0.3, 0.95, 40, dtype=np.float32)[None]
    found = next_k(shares, k)[0]
    assert (np.diff(found) <= 1e-6).all()
    assert found[0] > 2
    assert found[-1] < 0.1
    steady = next_k(np.full((1, 40), clean, np.float32), k)
    np.testing.assert_allclose(steady, 0.7, rtol=1e-3)


def test_one_wild_frame_moves_nothing() -> None:
    share = np.full((1, 21), 0.55, np.float32)
    share[0, 10] = 1
    k = np.full_like(share, 0.7)
    found = next_k(share, k)
    assert np.ptp(found) == 0
