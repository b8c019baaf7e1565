"""CNMF with the movie on a GPU beside the CPU: the same cells, whatever memory there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from reference.same_cells import MODELLED, require_the_same_cells

import gpucells
from gpucells.errors import DeviceMemoryError
from gpucells.model.cells import Cells
from gpucells.postprocess.match import match_cells
from gpucells.tiles import plan

SHAPE = (90, 30, 56)
CHOSEN = {"method": "cnmf", "cell_diameter_px": 6.0, "frame_rate_hz": 10.0}
SETTINGS = {"downsample_time_by": 1, "max_iter": 3}


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    kinds = {"n_cells": 6, "cell_diameter_px": 6.0, "snr": 12.0, "background_change": 0.1}
    return gpucells.simulate_movie("two_photon", shape=SHAPE, seed=8, **kinds).movie


@pytest.fixture(scope="module")
def on_cpu(movie: np.ndarray) -> Cells:
    return gpucells.extract_cells(movie, settings=SETTINGS, **CHOSEN)


def on_device(movie: np.ndarray, device: str = "cuda:0", **run: Any) -> Cells:
    settings = SETTINGS | run.pop("settings", {})
    return gpucells.extract_cells(movie, settings=settings, device=device, **CHOSEN, **run)


def require_the_same_light(first: Cells, second: Cells, noise: float) -> None:
    """Backgrounds are equal as movies; their components may be any of those that span them."""
    one, other = (c.background_images.reshape(len(c.background_images), -1).T @ c.background_traces
                  for c in (first, second))  # fmt: skip
    difference = (one - other) / first.summary_images["noise"].reshape(-1, 1)
    assert np.sqrt((difference**2).mean()) < noise


def test_a_movie_that_fits(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    with stand_in(order=2, vram_bytes=256 << 20) as cupy:
        found = on_device(movie)
        assert cupy.machine.counts["launches"] > 100
    assert found.provenance.device.startswith("cuda:0")
    assert not found.provenance.warnings
    require_the_same_cells(on_cpu, found, names=MODELLED)
    require_the_same_light(on_cpu, found, 0.05)


def test_a_movie_that_needs_tiles(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    limit = 3_000_000
    with stand_in(vram_bytes=256 << 20) as cupy:
        told: list[str] = []
        found = on_device(movie, device_memory_bytes=limit, progress=lambda event: told.append(event.stage))
        assert cupy.machine.gpus[0].peak_bytes <= limit
    assert "refine, tile 2 of 2" in told
    assert not found.provenance.warnings
    require_the_same_cells(on_cpu, found, names=MODELLED)
    require_the_same_light(on_cpu, found, 0.5)


def test_a_tile_that_is_too_large_is_solved_in_halves(
    stand_in: Any, movie: np.ndarray, on_cpu: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "DEVICE_BYTES_PER_PIXEL", 0)  # too little: the whole image seems to fit
    with stand_in(vram_bytes=1_750_000):
        found = on_device(movie)
    (warning,) = found.provenance.warnings
    assert "ran out of memory at a tile of 30 x 56 pixels" in warning
    require_the_same_cells(on_cpu, found, names=MODELLED)


def test_a_device_that_is_too_small_says_so(stand_in: Any, movie: np.ndarray) -> None:
    with stand_in(vram_bytes=256 << 20), pytest.raises(DeviceMemoryError, match="smallest tile"):
        on_device(movie, device_memory_bytes=500_000)


@pytest.fixture(scope="module")
def small() -> Any:
    rng = np.random.default_rng(1)
    cells = footprints((20, 24), [(6, 6), (7, 16), (14, 11)])
    movie = pixel_movie(rng, cells, transients(rng, 3, 80, 14)) + np.float32(60)
    return movie.T.reshape(80, 20, 24), cells


@pytest.mark.parametrize("settings", [
    {"init": "sparse_nmf", "n_cells": 4}, {"init": "graph_nmf", "n_cells": 4}, {"init": "compressed_nmf", "n_cells": 4},
    {"spatial_solver": "nnls_l0", "ar_order": 2}, {"n_background": 0, "ar_order": 0}, {"downsample_time_by": 2},
])  # fmt: skip
def test_every_choice_runs_there_and_finds_the_cpus_cells(stand_in: Any, small: Any, settings: dict[str, Any]) -> None:
    movie, _ = small
    chosen = {
        "method": "cnmf",
        "cell_diameter_px": 6.0,
        "settings": {"max_iter": 1, "downsample_time_by": 1} | settings,
    }
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    require_the_same_cells(wanted, found, at_least=1 if "downsample_time_by" in settings else 2, names=MODELLED)
    require_the_same_light(wanted, found, 0.05)


def test_given_footprints_are_held_there(stand_in: Any, small: Any) -> None:
    movie, cells = small
    wanted = gpucells.apply_footprints(movie, cells, method="cnmf", settings={"max_iter": 1}, device="cpu")
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.apply_footprints(movie, cells, method="cnmf", settings={"max_iter": 1}, device="cuda:0")
    assert found.n_cells == 3
    np.testing.assert_array_equal(found.footprints.toarray(), wanted.footprints.toarray())
    np.testing.assert_allclose(found.traces, wanted.traces, atol=0.01)
    require_the_same_light(wanted, found, 0.02)


def test_noise_has_no_cells_there_either(stand_in: Any) -> None:
    noise = np.random.default_rng(0).normal(100, 5, (40, 20, 20)).astype(np.float32)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(noise, method="cnmf", cell_diameter_px=6, device="cuda:0")
    assert found.accepted.sum() == 0
    assert np.isfinite(found.background_images).all()


def test_lost_frames_and_pixels_on_a_device(stand_in: Any, small: Any) -> None:
    movie = small[0].copy()
    movie[[3, 40]] = np.nan
    movie[:, 0, :4] = np.nan
    chosen = {"method": "cnmf", "cell_diameter_px": 6.0, "settings": {"max_iter": 1}}
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    assert found.accepted.sum() == wanted.accepted.sum() > 1
    np.testing.assert_array_equal(np.isnan(found.traces), np.isnan(wanted.traces))
    accepted = found.accepted_only()
    np.testing.assert_allclose(accepted.traces, wanted.accepted_only().traces, atol=0.05)


@pytest.mark.gpu
def test_a_card_finds_the_cpus_cells() -> None:
    from gpu_evidence import watched

    cupy = pytest.importorskip("cupy")
    movie = gpucells.simulate_movie("two_photon", shape=(1000, 128, 128), seed=3).movie
    chosen = {"method": "cnmf", "cell_diameter_px": 14.0, "frame_rate_hz": 10.0}
    with watched(cupy):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    pairs = match_cells(wanted.accepted_only(), found.accepted_only()).pairs
    assert 2 * len(pairs) / (wanted.accepted.sum() + found.accepted.sum()) >= 0.98
    one, other = wanted.accepted_only(), found.accepted_only()
    correlation = [np.corrcoef(one.traces[i], other.traces[j])[0, 1] for i, j in pairs]
    assert np.median(correlation) >= 0.99
