"""Traces at the full rate: interpolation, and both ways of solving the background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients

import gpucells
from gpucells.methods.extract.background import HatGrid
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.traces import TraceSolver
from gpucells.tiles import final_traces as final_traces_module
from gpucells.tiles import frames as frames_module
from gpucells.tiles.final_traces import final_traces, stretch


def test_averages_of_a_line_are_stretched_to_the_line() -> None:
    line = np.stack([np.arange(24.0), 5 - 3 * np.arange(24.0)]).astype(np.float32)
    averaged = line.reshape(2, 6, 4).mean(axis=2)
    stretched = stretch(averaged, 4, 24)
    np.testing.assert_allclose(stretched[:, 2:22], line[:, 2:22], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(stretched[:, 0], averaged[:, 0])  # before the first centre, its value
    np.testing.assert_array_equal(stretched[:, -1], averaged[:, -1])


@pytest.mark.parametrize(
    ("n_averaged", "factor", "n_frames"), [(5, 3, 17), (1, 4, 7), (0, 1, 0), (6, 1, 6), (2, 5, 10)]
)
def test_a_constant_stays_one_of_any_length(n_averaged: int, factor: int, n_frames: int) -> None:
    stretched = stretch(np.full((3, n_averaged), 2.5, np.float32), factor, n_frames)
    assert stretched.shape == (3, n_frames)
    assert stretched.dtype == np.float32
    assert (stretched == 2.5).all()
    assert stretch(np.zeros((0, n_averaged), np.float32), factor, n_frames).shape == (0, n_frames)


def test_nothing_is_done_where_nothing_was_averaged() -> None:
    traces = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    assert stretch(traces, 1, 9) is traces


class Recorder:
    """Adds the sum of each frame to what it is given, so that frames that are shifted or missed show; NaN is 0."""

    reach = 0

    def __init__(self, slow: bool) -> None:
        self.slow, self.together, self.bounds = slow, 0, []

    def solve_together(self, frames: Any, start: Any) -> Any:
        self.together += len(frames)
        solved = start + np.nansum(frames, axis=(1, 2))
        return solved[:2], solved[2:]

    def denoise(self, field: Any, averaged: int) -> Any:
        return field + 1000 * averaged, self.slow

    def lower_bounds(self, traces: Any) -> Any:
        self.bounds.append(traces.shape)
        return np.zeros(len(traces), np.float32)

    def solve_cells(self, frames: Any, field: Any, lower: Any, start: Any) -> Any:
        assert frames.shape[0] == field.shape[1] == start.shape[1]
        return start + field.sum(axis=0) + np.nansum(frames, axis=(1, 2))


N, SHAPE = 300, (3, 4)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("reach", [0, 5])
def test_every_frame_is_solved_with_its_own_background(monkeypatch: pytest.MonkeyPatch, slow: bool, reach: int) -> None:
    monkeypatch.setattr(frames_module.frames_per_block, "__defaults__", (1, 128 * 4 * 12, None))
    monkeypatch.setattr(final_traces_module, "get_num_threads", lambda: 1)
    frames = np.random.default_rng(0).integers(0, 9, (N, *SHAPE)).astype(np.float32)
    sums = frames.sum(axis=(1, 2))
    frames_nan = frames.copy()
    frames_nan[7, 1, 1] = np.nan
    sums[7] -= frames[7, 1, 1]
    solver, told = Recorder(slow), []
    solver.reach = reach
    traces = np.full((2, N // 3), 1, np.float32)
    field = np.full((1, N // 3), 10, np.float32)
    found, smooth = final_traces(
        gpucells.open_movie(frames_nan), solver, traces, field, 3, "nonneg", lambda *done: told.append(done)
    )
    if slow:
        np.testing.assert_allclose(smooth, np.full((1, N), 3010))
        np.testing.assert_allclose(found, np.tile(1 + 3010 + sums, (2, 1)))
        assert told == [(128, N), (256, N), (300, N)]
        assert solver.together == 0
        assert solver.bounds[0][0] == 2
    else:
        np.testing.assert_allclose(smooth, (1010 + sums)[None])
        np.testing.assert_allclose(found, np.tile(1 + sums + (1010 + sums) + sums, (2, 1)))
        assert told == [(128, 600), (256, 600), (300, 600), (428, 600), (556, 600), (600, 600)]
        assert solver.bounds == [(2, N)]
    assert np.isnan(frames_nan[7, 1, 1])  # the caller's array is his


def test_blocks_keep_to_the_memory_at_hand() -> None:
    movie = gpucells.open_movie(np.ones((N, *SHAPE), np.float32))
    told: list[Any] = []
    traces = np.ones((2, N), np.float32)
    final_traces(movie, Recorder(True), traces, traces[:1], 1, "nonneg", lambda *d: told.append(d), 50 * 4 * 12)
    assert told == [(done, N) for done in range(50, 301, 50)]


def test_without_final_traces_the_movie_is_not_read() -> None:
    class Closed:
        n_frames = 12

    traces, field = np.ones((2, 4), np.float32), np.ones((1, 4), np.float32)
    found, smooth = final_traces(Closed(), None, traces, field, 3, "none", print)
    assert (found.shape, smooth.shape) == ((2, 12), (1, 12))


def test_planted_traces_come_back() -> None:
    """The real solver on a real movie with light that comes and goes: the traces' correlation and height."""
    rng = np.random.default_rng(1)
    shape, n_frames, factor = (32, 40), 240, 2
    cells = footprints(shape, [(8, 9), (10, 28), (22, 16), (24, 31)])
    truth = transients(rng, 4, n_frames, 15)
    light = np.cumsum(rng.normal(0, 0.3, n_frames))[:, None, None]
    movie = (cells.T @ truth).T.reshape(n_frames, *shape) + 50 + light + rng.normal(size=(n_frames, *shape))
    settings = ExtractSettings(background_spacing=4.0)
    nodes = HatGrid.over(shape, 16.0).on(slice(0, 32), slice(0, 40))
    flat = np.ones(shape[0] * shape[1], np.float32)
    solver = TraceSolver(cells, nodes, 50 * flat, flat, flat, settings)
    start = np.zeros((4, n_frames // factor), np.float32)
    averaged = light.reshape(-1, factor).mean(axis=1).astype(np.float32)
    background = np.tile(averaged, (nodes.n_nodes, 1))  # the hats add up to 1 everywhere
    found, _ = final_traces(
        gpucells.open_movie(movie.astype(np.float32)), solver, start, background, factor, "baseline_adjusted",
        lambda *done: None,
    )  # fmt: skip
    for ours, theirs in zip(found, truth, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.97
        assert np.polyfit(theirs, ours, 1)[0] == pytest.approx(1, abs=0.05)
