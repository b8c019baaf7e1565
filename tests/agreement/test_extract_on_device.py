"""EXTRACT with the movie on a GPU beside the CPU: the same cells, whatever memory there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.same_cells import require_the_same_cells

import gpucells
from gpucells.errors import DeviceMemoryError
from gpucells.model.cells import Cells
from gpucells.postprocess.match import match_cells
from gpucells.tiles import plan
from gpucells.tiles.working_movie import WorkingMovie

SHAPE = (90, 40, 72)
CHOSEN = {"cell_diameter_px": 8.0, "frame_rate_hz": 10.0}
SETTINGS = {"downsample_time_by": 1, "max_iter": 3}


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    kinds = {"n_cells": 7, "cell_diameter_px": 8.0, "snr": 12.0}
    return gpucells.simulate_movie("two_photon", shape=SHAPE, seed=4, **kinds).movie


@pytest.fixture(scope="module")
def on_cpu(movie: np.ndarray) -> Cells:
    return gpucells.extract_cells(movie, settings=SETTINGS, **CHOSEN)


def on_device(movie: np.ndarray, device: str = "cuda:0", **run: Any) -> Cells:
    return gpucells.extract_cells(movie, settings=SETTINGS, device=device, **CHOSEN, **run)


@pytest.mark.parametrize("order", [0, 2])
def test_a_movie_that_fits(
    stand_in: Any, movie: np.ndarray, on_cpu: Cells, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(WorkingMovie, "read")  # there is room for a second movie: the source is not read once more
    with stand_in(order=order, vram_bytes=256 << 20) as cupy:
        found = on_device(movie)
        assert cupy.machine.counts["launches"] > 100
    assert found.provenance.device.startswith("cuda:0")
    assert not found.provenance.warnings
    require_the_same_cells(on_cpu, found)


def test_a_movie_that_needs_tiles(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    limit = 5_000_000
    with stand_in(vram_bytes=256 << 20) as cupy:
        told: list[str] = []
        found = on_device(movie, device_memory_bytes=limit, progress=lambda event: told.append(event.stage))
        assert cupy.machine.gpus[0].peak_bytes <= limit
    assert "refine, tile 2 of 2" in told
    assert not found.provenance.warnings
    require_the_same_cells(on_cpu, found)


def test_a_tile_that_is_too_large_is_solved_in_halves(
    stand_in: Any, movie: np.ndarray, on_cpu: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "DEVICE_BYTES_PER_PIXEL", 0)  # too little: the whole image seems to fit
    with stand_in(vram_bytes=3_300_000):
        found = on_device(movie)
    (warning,) = found.provenance.warnings
    assert "ran out of memory at a tile of 40 x 72 pixels" in warning
    require_the_same_cells(on_cpu, found)


def test_two_devices_share_the_tiles(stand_in: Any, movie: np.ndarray, on_cpu: Cells) -> None:
    with stand_in(vram_bytes=256 << 20, n_devices=2) as cupy:
        told: set[tuple[str, str]] = set()
        found = on_device(movie, "cuda:0,1", progress=lambda event: told.add((event.stage, event.device)))
        assert min(gpu.peak_bytes for gpu in cupy.machine.gpus) > movie.size * 4 / 2
    refined = {stage: device for stage, device in told if stage.startswith("refine")}
    assert refined.keys() == {"refine, tile 1 of 2", "refine, tile 2 of 2"}
    assert set(refined.values()) == {"cuda:0", "cuda:1"}
    assert ("traces", "cuda:0") in told
    assert ("read movie", "cpu") in told
    assert found.provenance.device == "cuda:0,1"
    assert not found.provenance.warnings
    assert {cost.stage: cost.device_peak_bytes > 0 for cost in found.provenance.stages} == {
        "look at the movie": False, "read movie": False, "summary images": True, "find and refine cells": True,
        "join": True, "traces": True, "assemble": True,
    }  # fmt: skip
    require_the_same_cells(on_cpu, found)


def test_a_device_that_is_too_small_says_so(stand_in: Any, movie: np.ndarray) -> None:
    with stand_in(vram_bytes=256 << 20), pytest.raises(DeviceMemoryError, match="smallest tile") as caught:
        on_device(movie, device_memory_bytes=500_000)
    assert "--device-memory" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["two_photon", "one_photon"])
def test_a_card_finds_the_cpus_cells(kind: str) -> None:
    from gpu_evidence import watched

    cupy = pytest.importorskip("cupy")
    movie = gpucells.simulate_movie(kind, shape=(1000, 128, 128), seed=3).movie
    chosen = {"preset": kind, "cell_diameter_px": 14.0, "frame_rate_hz": 10.0}
    with watched(cupy):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen).accepted_only()
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen).accepted_only()
    pairs = match_cells(wanted, found).pairs
    assert 2 * len(pairs) / (wanted.n_cells + found.n_cells) >= 0.98
    correlation = [np.corrcoef(wanted.traces[i], found.traces[j])[0, 1] for i, j in pairs]
    assert np.median(correlation) >= 0.99
