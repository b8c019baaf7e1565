"""PCA-ICA from a movie to cells: small simulated recordings, its settings, and movies that are odd."""

from __future__ import annotations

import shutil
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import gpucells
from gpucells.candidates.independent import binned, binned_images, mixture, separate, starting_rows
from gpucells.candidates.segment import segment
from gpucells.errors import DeviceMemoryError, ResultFileError, SettingsError
from gpucells.methods.pcaica.final import find_events, in_units
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.model.cells import Cells
from gpucells.ops.pca import pca
from gpucells.postprocess.match import match_cells, score_cells

CHOSEN: dict[str, Any] = {"method": "pcaica", "cell_diameter_px": 8.0}


@pytest.fixture(scope="module", params=["two_photon", "one_photon"])
def simulated(request: pytest.FixtureRequest) -> Any:
    made = gpucells.simulate_movie(request.param, shape=(400, 64, 64), n_cells=10, cell_diameter_px=8.0, seed=3)
    return request.param, made


def extract(movie: Any, preset: str = "two_photon", start: Any = None, **settings: Any) -> Cells:
    return gpucells.extract_cells(movie, preset=preset, settings=settings, init=start, **CHOSEN)


def scores(cells: Cells, simulated: Any) -> Any:
    mine, truth = cells.accepted_only(), simulated.truth
    return score_cells(mine.footprints, mine.traces, truth.footprints, truth.traces, mine.image_shape)


@pytest.mark.parametrize("settings", [
    {}, {"traces": "filters"}, {"traces": "filters", "n_pcs": 30, "binning": 0.0},
    {"mu": 0.5, "mu_convention": "unitvar"}, {"contrast": "tanh"}, {"contrast": "cube"},
    {"binning": 0.0}, {"n_pcs": 30, "n_ics": 20}, {"whole_field": True}, {"n_ics": 8},
], ids=str)  # fmt: skip
def test_cells_are_found(simulated: Any, settings: dict[str, Any]) -> None:
    preset, made = simulated
    cells = extract(made.movie, preset, **settings)
    score = scores(cells, made)
    n_ics = settings.get("n_ics", 99)
    assert score.precision >= 0.85
    assert score.recall >= (0.7 if n_ics == 8 or preset == "one_photon" else 0.9)
    least = 0.85 if preset == "one_photon" else 0.9
    assert score.trace_r_median > (least - 0.1 if settings.get("traces") == "filters" else least)
    assert (cells.spikes[cells.accepted] > 0).any(axis=1).mean() >= 0.9  # one may be too dim  # type: ignore[index]


def test_the_same_run_gives_the_same_bits(simulated: Any) -> None:
    preset, made = simulated
    first, again = (extract(made.movie, preset) for _ in range(2))
    np.testing.assert_array_equal(first.traces, again.traces)
    assert (first.footprints != again.footprints).nnz == 0


def test_the_runs_seed_is_where_components_start_from(simulated: Any) -> None:
    preset, made = simulated
    if preset == "one_photon":
        return
    runs = [
        gpucells.extract_cells(made.movie, seed=seed, settings=settings, **CHOSEN)
        for seed, settings in ((0, {}), (7, {}), (0, {"seed": 7}))
    ]
    assert [run.settings["pcaica"]["seed"] for run in runs] == [0, 7, 7]  # type: ignore[index]
    np.testing.assert_array_equal(runs[1].traces, runs[2].traces)
    assert runs[0].traces.shape != runs[1].traces.shape or (runs[0].traces != runs[1].traces).any()
    assert len(match_cells(runs[0].accepted_only(), runs[1].accepted_only()).pairs) >= runs[0].accepted.sum() - 1


def test_a_start_leads_to_its_cells(simulated: Any) -> None:
    preset, made = simulated
    cells = extract(made.movie, preset)
    again = extract(made.movie, preset, cells)
    assert len(match_cells(cells.accepted_only(), again.accepted_only()).pairs) >= cells.accepted.sum() - 1


def test_noise_has_no_cells() -> None:
    noise = np.random.default_rng(0).normal(100, 5, (60, 24, 24)).astype(np.float32)
    for settings in ({}, {"n_pcs": 10, "n_ics": 8}, {"traces": "filters"}):
        cells = extract(noise, **settings)
        assert cells.accepted.sum() == 0


def test_more_components_than_frames_are_said() -> None:
    noise = np.random.default_rng(1).normal(100, 5, (40, 24, 26)).astype(np.float32)
    cells = extract(noise, n_pcs=60, downsample_time_by=1)
    assert "n_pcs = 60, but there are no more than" in " ".join(cells.provenance.warnings)


def test_a_whole_field_that_does_not_fit_is_an_error() -> None:
    movie = np.random.default_rng(0).normal(100, 5, (400, 128, 128)).astype(np.float32)
    with pytest.raises(DeviceMemoryError, match="whole field") as caught:
        gpucells.extract_cells(movie, settings={"whole_field": True}, memory_bytes=10_000_000, **CHOSEN)
    assert "whole_field=false" in caught.value.hint


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(SettingsError, match="n_ics = 9"):
        PcaicaSettings.from_values({"n_pcs": 8, "n_ics": 9})
    with pytest.raises(SettingsError, match="picard"):
        PcaicaSettings.from_values({"algorithm": "picard"})


def test_squares_of_white_noise_are_white() -> None:
    rng = np.random.default_rng(0)
    inside = np.ones((11, 14), bool)
    inside[:, 12:] = inside[3, 4] = False
    movie = rng.normal(size=(11 * 14, 5000)).astype(np.float32) * inside.reshape(-1, 1)
    bins, counted = binned(movie, inside, 3)
    assert counted.tolist() == [True, True, True, True, False] * 4
    np.testing.assert_allclose(bins[counted].std(axis=1), 1, atol=0.05)
    assert not bins[~counted].any()
    one = movie.reshape(11, 14, -1)[3:6, 3:6].sum(axis=(0, 1)) / np.sqrt(8)
    np.testing.assert_allclose(bins[6], one, atol=1e-5)
    images = sparse.csr_array(movie[:, :3].T)
    np.testing.assert_allclose(binned_images(images, inside, 3).toarray()[:, counted], bins[counted, :3].T, atol=1e-5)


@pytest.mark.parametrize("convention", ["ciatah", "unitvar"])
@pytest.mark.parametrize("mu", [0.0, 0.1, 0.5, 1.0])
def test_the_mixture_is_white_and_weighs_as_its_convention_says(convention: str, mu: float) -> None:
    rng = np.random.default_rng(0)
    found = pca(rng.normal(size=(300, 40)).astype(np.float32), 5)
    settings = PcaicaSettings.from_values({"mu": mu, "mu_convention": convention})
    mixed, n_effective = mixture(found, settings)
    np.testing.assert_allclose(mixed @ mixed.T / 340, np.eye(5), atol=1e-4)
    space, time = ((mixed[:, some] ** 2).sum() for some in (slice(300), slice(300, None)))
    a, b = (1 - mu, mu) if convention == "ciatah" else ((1 - mu) * np.sqrt(300), mu * np.sqrt(40))
    assert space * b**2 == pytest.approx(time * a**2, rel=1e-4)
    assert n_effective <= 340 + 1e-6


def test_starting_rows_are_the_images_given() -> None:
    movie = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    found = pca(movie, 6)
    start = sparse.csr_array(found.images.T[[4, 1]] * np.float32(7))
    rows = starting_rows(found, start, 5, 0)
    np.testing.assert_allclose(np.abs(rows[:2]), np.eye(6)[[4, 1]], atol=1e-4)
    np.testing.assert_allclose(rows[:2] @ rows[2:].T, 0, atol=1e-6)
    assert starting_rows(found, start, 1, 0).shape == (1, 6)


def test_one_image_may_hold_two_cells_and_noise_none() -> None:
    y, x = np.mgrid[:40, :40]
    rng = np.random.default_rng(0)
    blob = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in ((10, 10), (28, 28))]
    images = np.stack([20 * blob[0] + 15 * blob[1], 20 * blob[0] + 2 * blob[1], 0 * y]) + rng.normal(size=(3, 40, 40))
    images = images.reshape(3, -1).astype(np.float32)
    found, component = segment(images, np.ones((40, 40), bool), np.full(1600, 2, "f4"), 4.0, PcaicaSettings())
    assert component.tolist() == [0, 0, 1]
    assert found.max(axis=1).toarray().ravel().tolist() == [1, 1, 1]
    assert {divmod(int(row.argmax()), 40)[0] // 20 for row in found.toarray()} == {0, 1}
    nothing, _ = segment(images[:0], np.ones((40, 40), bool), np.full(1600, 2, "f4"), 4.0, PcaicaSettings())
    assert nothing.shape == (0, 1600)


def test_components_are_sorted_and_rebuild_the_movie() -> None:
    rng = np.random.default_rng(1)
    movie = (rng.gamma(0.2, 1, (400, 4)) @ rng.gamma(0.2, 5, (4, 90)) + rng.normal(size=(400, 90))).astype(np.float32)
    parts = separate(movie, np.ones((20, 20), bool), 2.0, PcaicaSettings())
    assert (np.diff(parts.skewness) <= 0).all()
    np.testing.assert_allclose(parts.traces @ parts.traces.T, np.eye(len(parts.traces)), atol=1e-4)
    centred = movie - movie.mean(axis=1, keepdims=True)
    assert np.linalg.norm(centred - parts.images.T @ parts.traces) < 0.6 * np.linalg.norm(centred)


def test_events_are_the_peaks() -> None:
    trace = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    trace[0, [50, 200, 499]] += 30
    trace[0, 201] += 28
    events = find_events(trace)
    assert np.flatnonzero(events[0]).tolist() == [50, 200, 499]
    assert (events[0, [50, 200, 499]] > 25).all()
    assert np.count_nonzero(events[1]) <= 1
    assert find_events(np.zeros((3, 1), np.float32)).sum() == 0


@pytest.mark.parametrize("units", ["std", "2norm", "var"])
def test_units_divide_all_that_is_a_trace(simulated: Any, units: str) -> None:
    preset, made = simulated
    plain, scaled = extract(made.movie, preset), extract(made.movie, preset, output_units=units)
    some = plain.accepted
    before = plain.traces[some].astype(np.float64)
    size = {"std": before.std(axis=1), "2norm": np.linalg.norm(before, axis=1), "var": before.var(axis=1)}[units]
    for name in ("traces", "denoised", "spikes"):
        wanted = getattr(plain, name)[some] / size[:, None]
        np.testing.assert_allclose(getattr(scaled, name)[some], wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(KeyError):
        in_units(type("Final", (), {"traces": before})(), "furlong")  # type: ignore[arg-type]


@pytest.mark.parametrize("traces", ["regression", "filters"])
def test_a_whole_field_larger_than_the_memory_is_mapped_from_a_file(
    traces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = gpucells.simulate_movie("one_photon", shape=(700, 128, 160), n_cells=8, cell_diameter_px=8.0, seed=3).movie
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runs, peaks, files = [], [], []
    for memory_bytes in (None, 240_000_000):

        def look(event: Any) -> None:
            files.extend(path.stat().st_size for path in tmp_path.glob("gpucells-*/*"))

        tracemalloc.start()
        runs.append(
            gpucells.extract_cells(
                movie, preset="one_photon", memory_bytes=memory_bytes, progress=look,
                settings={"whole_field": True, "traces": traces, "downsample_time_by": 1}, **CHOSEN,
            )
        )  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert bool(files) == (memory_bytes is not None)
    assert set(files) == {4 * movie.size}
    assert not list(tmp_path.iterdir())
    assert peaks[1] < peaks[0] - 3.5 * movie.size  # the movie itself is not in memory
    np.testing.assert_array_equal(runs[0].footprints.toarray(), runs[1].footprints.toarray())
    np.testing.assert_allclose(runs[0].traces, runs[1].traces, rtol=1e-4, atol=1e-2)  # of blocks of frames


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movie = np.random.default_rng(0).normal(100, 5, (400, 128, 128)).astype(np.float32)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    with pytest.raises(ResultFileError, match="scratch files of 26,214,400 bytes"):
        gpucells.extract_cells(
            movie, settings={"whole_field": True, "downsample_time_by": 1}, memory_bytes=100_000_000, **CHOSEN
        )
    assert not list(tmp_path.iterdir())
