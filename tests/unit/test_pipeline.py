"""From a movie to cells: every way in gives the same cells, odd movies give an answer, and nothing is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import gpucells
from gpucells.errors import InputError
from gpucells.model.cells import Cells
from gpucells.pipeline import plan_run
from gpucells.postprocess.match import compare, match_cells
from gpucells.progress import Event
from gpucells.report import draw_report
from gpucells.settings import RunSettings
from gpucells.tiles import schedule
from gpucells.tiles.grid import BYTES_PER_SAMPLE


@pytest.fixture(scope="module")
def simulated() -> Any:
    """Nine cells in 64 x 64."""
    return gpucells.simulate_movie("two_photon", shape=(300, 64, 64), seed=0)


@pytest.fixture(scope="module")
def found(simulated: Any) -> Cells:
    return gpucells.extract_cells(simulated.movie)


def require_same(first: Cells, second: Cells) -> None:
    """Bit for bit."""
    assert (first.footprints != second.footprints).nnz == 0
    np.testing.assert_array_equal(first.traces, second.traces)
    np.testing.assert_array_equal(first.accepted, second.accepted)
    assert first.rejection == second.rejection
    for name, column in first.quality.items():
        np.testing.assert_array_equal(column, second.quality[name])
    for name, image in first.summary_images.items():
        np.testing.assert_array_equal(image, second.summary_images[name])


def test_all_cells_are_found_and_nothing_else(simulated: Any, found: Cells) -> None:
    scores = compare(found, simulated.truth)
    assert (scores.precision, scores.recall) == (1, 1)
    assert scores.trace_r_median > 0.97  # .986
    assert scores.footprint_cosine > 0.98  # .996


def test_the_result_says_what_was_done(simulated: Any, found: Cells) -> None:
    assert (found.n_frames, found.image_shape, found.method) == (300, (64, 64), "extract")
    assert found.footprints.max(axis=1).toarray().ravel() == pytest.approx(1)
    assert found.footprints.data.min() >= 0
    assert np.isfinite(found.traces).all()
    assert set(found.summary_images) >= {"mean", "max", "correlation", "noise", "inside"}
    np.testing.assert_array_equal(found.summary_images["max"], simulated.movie.max(axis=0))
    assert {"snr"} <= found.quality.keys()
    assert all(bool(reason) != accepted for reason, accepted in zip(found.rejection, found.accepted, strict=True))
    stages = [stage.stage for stage in found.provenance.stages]
    assert stages[:2] == ["look at the movie", "read movie"]
    assert stages[-2:] == ["traces", "assemble"]
    assert found.settings["extract"]["max_iter"] == 5
    assert found.provenance.source == "array"


def test_noise_and_f0_are_in_the_movies_units(simulated: Any, found: Cells) -> None:
    """Photon noise: a frame's variance is about its brightness (gain 1) and the sensor's own 16, from 20 counts up."""
    expected = np.sqrt(found.summary_images["mean"] - 20 + 16)
    ratio = found.summary_images["noise"] / expected
    assert 0.85 < np.median(ratio) < 1.15
    accepted = found.accepted_only()
    mean = np.asarray(accepted.footprints @ found.summary_images["mean"].ravel()) / accepted.footprints.sum(axis=1)
    np.testing.assert_allclose(accepted.f0, mean, rtol=0.15)


def test_it_does_not_matter_how_the_movie_is_given(simulated: Any, found: Cells, tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", simulated.movie)
    path = tmp_path / "movie.npy"
    require_same(found, gpucells.extract_cells(path))
    require_same(found, gpucells.extract_cells(str(path)))
    with gpucells.open_movie(path) as movie:
        require_same(found, gpucells.extract_cells(movie))
        movie.read(slice(0, 1))  # whoever opened it closes it
    assert [file.name for file in tmp_path.iterdir()] == ["movie.npy"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, ">u2"])
def test_the_type_of_the_samples_does_not_matter(simulated: Any, found: Cells, dtype: Any) -> None:
    movie = simulated.movie.astype(dtype)
    movie.flags.writeable = False
    require_same(found, gpucells.extract_cells(movie))


def test_the_number_of_threads_does_not_matter(simulated: Any, found: Cells) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba has one thread")
    before = numba.get_num_threads()
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            require_same(found, gpucells.extract_cells(simulated.movie))
    finally:
        numba.set_num_threads(before)


def test_the_unit_of_the_movie_does_not_matter(simulated: Any, found: Cells) -> None:
    other = gpucells.extract_cells(simulated.movie.astype(np.float32) * 256 - 1000).accepted_only()
    mine = found.accepted_only()
    assert len(match_cells(mine, other).pairs) == mine.n_cells == other.n_cells
    assert other.traces.max() == pytest.approx(256 * mine.traces.max(), rel=0.02)


def cut_memory(movie: np.ndarray, side: int) -> int:
    """Bytes with which no tile has more than ``side`` x ``side`` pixels."""
    plan = plan_run(gpucells.open_movie(movie), "extract", RunSettings.from_values({}))
    return int(4 * (side**2 * (len(movie) // plan.factor) * BYTES_PER_SAMPLE))


def test_what_a_tile_forgets_is_another_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    movie = gpucells.simulate_movie("two_photon", shape=(300, 128, 128), seed=1).movie
    short = gpucells.extract_cells(movie, memory_bytes=cut_memory(movie, 105))
    kept = []
    monkeypatch.setattr(schedule, "_of_neighbourhood", lambda part, *_: kept.append(part) or part)
    whole = gpucells.extract_cells(movie, memory_bytes=cut_memory(movie, 105))
    assert len(kept) > 1
    np.testing.assert_array_equal(short.footprints.toarray(), whole.footprints.toarray())
    np.testing.assert_array_equal(short.traces, whole.traces)
    assert short.rejection == whole.rejection


def test_cut_into_tiles_it_finds_the_same_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """128 x 128 whole, and in four tiles whose halos are 33 px wide."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    movie = gpucells.simulate_movie("two_photon", shape=(400, 128, 128), seed=0).movie
    told: list[Event] = []
    whole = gpucells.extract_cells(movie).accepted_only()
    tiled = gpucells.extract_cells(movie, memory_bytes=cut_memory(movie, 100), progress=told.append).accepted_only()
    assert {event.stage for event in told} >= {f"refine, tile {tile} of 4" for tile in (1, 2, 3, 4)}
    pairs = match_cells(whole, tiled).pairs
    assert len(pairs) == whole.n_cells == tiled.n_cells == 38
    first, second = (cells.footprints.toarray()[pairs[:, i]] for i, cells in enumerate((whole, tiled)))
    cosine = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosine.min() > 0.985  # .9948; median .99993
    assert np.median(cosine) > 0.999
    agreement = [np.corrcoef(whole.traces[i], tiled.traces[j])[0, 1] for i, j in pairs]
    assert min(agreement) > 0.985  # .9955; median .99995
    assert np.median(agreement) > 0.999
    for name in ("mean", "max", "inside"):
        np.testing.assert_array_equal(whole.summary_images[name], tiled.summary_images[name])
    for name, tolerance in (("noise", 0.02), ("correlation", 1e-4)):
        np.testing.assert_allclose(tiled.summary_images[name], whole.summary_images[name], rtol=0.02, atol=tolerance)
    assert not list(tmp_path.iterdir())


STAGES = ["read movie", "find cells, tile 1", "refine, tile 2", "traces"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_leaves_nothing_behind(
    simulated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    scratch, data = tmp_path / "scratch", tmp_path / "data"
    scratch.mkdir()
    data.mkdir()
    np.save(data / "movie.npy", simulated.movie)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seen: list[bool] = []

    def interrupt(event: Event) -> None:
        seen.append(any(scratch.iterdir()))
        if event.stage.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpucells.extract_cells(
            data / "movie.npy", progress=interrupt, cell_diameter_px=8, memory_bytes=cut_memory(simulated.movie, 55),
            settings={"downsample_time_by": 2},
        )  # fmt: skip
    assert seen[0], "the run was to need scratch files"
    assert not list(scratch.iterdir())
    assert [file.name for file in data.iterdir()] == ["movie.npy"]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(200, 64, 64), (100, 8, 8), (60, 1, 1), (60, 1, 40), (60, 3, 3), (30, 20, 20)])
def test_noise_has_no_cells_and_can_be_saved_and_drawn(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    cells = gpucells.extract_cells(noise(*shape))
    assert int(cells.accepted.sum()) == 0
    assert cells.traces.shape[1] == shape[0]
    assert cells.provenance.warnings
    gpucells.save_cells(cells, tmp_path / "cells.h5")
    require_same(cells, gpucells.load_cells(tmp_path / "cells.h5"))
    if shape[0] == 200:
        draw_report(cells, tmp_path / "r.png", tmp_path / "r.html")
        assert (tmp_path / "r.html").stat().st_size > 10_000


def test_a_movie_as_small_as_a_cell(simulated: Any) -> None:
    cells = gpucells.extract_cells(simulated.movie[:, 10:18, 10:18])
    assert cells.image_shape == (8, 8)
    assert np.isfinite(cells.traces).all()


def test_dead_pixels_and_borders_have_no_cells(simulated: Any) -> None:
    movie = simulated.movie.astype(np.float32)
    movie[100:105, :6] = 0  # registration left these rows empty for five frames
    movie[:, 30:34, 30:34] = np.nan
    movie[:, 50] = 7
    movie[3, 60, 60] = np.inf
    before = movie.copy()
    cells = gpucells.extract_cells(movie)
    inside = np.ones((64, 64), bool)
    inside[:6] = inside[30:34, 30:34] = inside[50] = inside[60, 60] = False
    np.testing.assert_array_equal(cells.summary_images["inside"], inside)
    np.testing.assert_array_equal(movie, before)
    scores = compare(cells, simulated.truth)
    assert scores.precision == 1
    assert scores.recall >= 0.6
    dead = ~inside
    dead[60, 60] = False
    assert cells.accepted_only().images()[:, dead].max() < 0.05
    assert np.isfinite(cells.traces).all()


def with_lost_frames(movie: Any, lost: Any, value: float = np.nan) -> Any:
    movie = movie.astype(np.float32)
    movie[lost] = value
    movie[5, 60, 60] = np.nan  # a pixel that one good frame lacks stays outside
    return movie


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_lost_frames_are_ignored_and_their_traces_nan(
    simulated: Any, found: Cells, value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = np.array([0, 1, 17, 40, 41, 42, 43, 200, 299])
    movie = with_lost_frames(simulated.movie, lost, value)
    before = movie.copy()
    cells = gpucells.extract_cells(movie, settings={"downsample_time_by": 2})
    np.testing.assert_array_equal(movie, before)
    gone = np.isin(np.arange(300), lost)
    assert np.isnan(cells.traces[:, gone]).all()
    assert np.isfinite(cells.traces[:, ~gone]).all()
    assert [w for w in cells.provenance.warnings if "lost" in w or "NaN" in w] == [
        "9 of 300 frames are wholly NaN or infinite: left out; traces are NaN there"
    ]
    assert caplog.text.count("wholly NaN") == 1
    np.testing.assert_allclose(cells.summary_images["mean"][:50], simulated.movie[~gone].mean(axis=0)[:50], rtol=1e-5)
    np.testing.assert_array_equal(cells.summary_images["max"][:50], simulated.movie[~gone].max(axis=0)[:50])
    assert cells.summary_images["inside"].sum() == 64 * 64 - 1
    pairs = match_cells(cells.accepted_only(), found.accepted_only()).pairs
    assert len(pairs) == found.accepted.sum() == cells.accepted.sum()
    for ours, theirs in pairs:
        both = cells.accepted_only().traces[ours][~gone], found.accepted_only().traces[theirs][~gone]
        assert np.corrcoef(*both)[0, 1] > 0.95  # other frames are averaged together
    gpucells.save_cells(cells, tmp_path / "cells.h5")
    np.testing.assert_array_equal(gpucells.load_cells(tmp_path / "cells.h5").traces, cells.traces)
    draw_report(cells, tmp_path / "r.png", tmp_path / "r.html")
    assert compare(cells, simulated.truth).f1 == 1


def test_most_frames_lost_is_an_error(simulated: Any) -> None:
    with pytest.raises(InputError, match="160 of 300 frames are wholly NaN"):
        gpucells.extract_cells(with_lost_frames(simulated.movie, slice(100, 260)))


@pytest.mark.parametrize("option", ["nonneg", "no_constraint", "least_squares", "nonnegative_least_squares", "none"])
def test_every_trace_option_gives_traces(simulated: Any, found: Cells, option: str) -> None:
    cells = gpucells.extract_cells(simulated.movie, settings={"trace_output_option": option}).accepted_only()
    reference = found.accepted_only()
    np.testing.assert_array_equal(cells.footprints.toarray(), reference.footprints.toarray())
    assert np.isfinite(cells.traces).all()
    assert np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(cells.traces, reference.traces, strict=True)]) > 0.9
    if "nonneg" in option:
        assert cells.traces.min() >= 0


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_the_averaging_may_be_chosen(simulated: Any, factor: int) -> None:
    cells = gpucells.extract_cells(simulated.movie, settings={"downsample_time_by": factor})
    assert cells.n_frames == 300  # also where 300 is no multiple
    scores = compare(cells, simulated.truth)
    assert scores.precision == 1
    assert scores.recall >= (0.8 if factor == 7 else 1)  # 7 frames are longer than a transient
