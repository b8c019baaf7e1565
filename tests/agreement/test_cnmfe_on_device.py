"""CNMF-E with the movie on a GPU beside the CPU: the same cells, whatever memory there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from reference.same_cells import MODELLED, require_the_same_cells

import gpucells
from gpucells.model.cells import Cells
from gpucells.postprocess.match import match_cells

SHAPE = (70, 32, 56)
CHOSEN = {"method": "cnmfe", "preset": "one_photon", "cell_diameter_px": 6.0, "frame_rate_hz": 10.0}
SETTINGS = {"downsample_time_by": 1, "max_iter": 2}


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    """Six cells on light that is smooth in space and in time."""
    kinds = {"n_cells": 6, "cell_diameter_px": 6.0, "snr": 8.0, "background_change": 0.05, "frame_rate_hz": 10.0}
    return gpucells.simulate_movie("one_photon", shape=SHAPE, seed=8, **kinds).movie


@pytest.fixture(scope="module")
def on_cpu(movie: np.ndarray) -> Cells:
    return gpucells.extract_cells(movie, settings=SETTINGS, **CHOSEN)


def on_device(movie: np.ndarray, **run: Any) -> Cells:
    settings = SETTINGS | run.pop("settings", {})
    return gpucells.extract_cells(movie, settings=settings, device="cuda:0", **CHOSEN, **run)


def test_a_movie_that_fits(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    with stand_in(order=2, vram_bytes=256 << 20) as cupy:
        found = on_device(movie)
        assert cupy.machine.counts["launches"] > 100
    assert found.provenance.device.startswith("cuda:0")
    assert not found.provenance.warnings
    require_the_same_cells(on_cpu, found, at_least=4, names=MODELLED)


def test_a_movie_that_needs_tiles(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    limit = 3_000_000
    with stand_in(vram_bytes=256 << 20) as cupy:
        told: list[str] = []
        found = on_device(movie, device_memory_bytes=limit, progress=lambda event: told.append(event.stage))
        assert cupy.machine.gpus[0].peak_bytes <= limit
    assert "refine, tile 2 of 2" in told
    assert not found.provenance.warnings
    one, other = on_cpu.accepted_only(), found.accepted_only()
    assert len(match_cells(one, other).pairs) >= one.n_cells - 1


@pytest.fixture(scope="module")
def small() -> Any:
    rng = np.random.default_rng(1)
    cells = footprints((24, 28), [(7, 7), (8, 20), (17, 13)])
    movie = pixel_movie(rng, cells, transients(rng, 3, 80, 20)) + np.float32(60)
    return movie.T.reshape(80, 24, 28), cells


@pytest.mark.parametrize("settings", [
    {"n_background": 0}, {"n_background": 0, "ring": False}, {"n_background": 2, "ring_outlier": None},
    {"min_corr": 0.5, "min_pnr": 5.0, "searches": 1}, {"spatial_solver": "nnls_l0"}, {"ring_spacing": 0.34},
])  # fmt: skip
def test_every_choice_runs_there_and_finds_the_cpus_cells(stand_in: Any, small: Any, settings: dict[str, Any]) -> None:
    movie, _ = small
    chosen: dict[str, Any] = CHOSEN | {"settings": {"max_iter": 1, "downsample_time_by": 1} | settings}
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    # There is no background, so that two components of it take the light of cells.
    require_the_same_cells(wanted, found, at_least=1 if settings.get("n_background") else 2, names=MODELLED)


def test_given_footprints_are_held_there(stand_in: Any, small: Any) -> None:
    movie, cells = small
    chosen: dict[str, Any] = {"method": "cnmfe", "settings": {"max_iter": 1}}
    wanted = gpucells.apply_footprints(movie, cells, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.apply_footprints(movie, cells, device="cuda:0", **chosen)
    assert found.n_cells == 3
    np.testing.assert_array_equal(found.footprints.toarray(), wanted.footprints.toarray())
    np.testing.assert_allclose(found.traces, wanted.traces, atol=0.01)


def test_noise_has_no_cells_there_either(stand_in: Any) -> None:
    noise = np.random.default_rng(0).normal(100, 5, (40, 20, 20)).astype(np.float32)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(noise, method="cnmfe", cell_diameter_px=6, device="cuda:0")
    assert found.accepted.sum() == 0
    assert np.isfinite(found.background_images).all()


def test_lost_frames_and_pixels_on_a_device(stand_in: Any, small: Any) -> None:
    movie = small[0].copy()
    movie[[3, 40]] = np.nan
    movie[:, 0, :4] = np.nan
    chosen: dict[str, Any] = CHOSEN | {"settings": {"max_iter": 1}}
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    assert found.accepted.sum() == wanted.accepted.sum() > 1
    np.testing.assert_array_equal(np.isnan(found.traces), np.isnan(wanted.traces))
    np.testing.assert_allclose(found.accepted_only().traces, wanted.accepted_only().traces, atol=0.05)


@pytest.mark.gpu
def test_a_card_finds_the_cpus_cells() -> None:
    from gpu_evidence import watched

    cupy = pytest.importorskip("cupy")
    movie = gpucells.simulate_movie("one_photon", shape=(1000, 128, 128), seed=3).movie
    chosen: dict[str, Any] = {"method": "cnmfe", "preset": "one_photon", "cell_diameter_px": 14.0}
    with watched(cupy):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    one, other = wanted.accepted_only(), found.accepted_only()
    pairs = match_cells(one, other).pairs
    assert 2 * len(pairs) / (one.n_cells + other.n_cells) >= 0.95
    correlation = [np.corrcoef(one.traces[i], other.traces[j])[0, 1] for i, j in pairs]
    assert np.median(correlation) >= 0.99
