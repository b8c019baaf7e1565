"""PCA-ICA with the movie on a GPU beside the CPU: the same cells, whatever memory there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.same_cells import require_the_same_cells

import gpucells
from gpucells.postprocess.match import match_cells

CHOSEN: dict[str, Any] = {"method": "pcaica", "cell_diameter_px": 6.0}


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    kinds = {"n_cells": 6, "cell_diameter_px": 6.0, "snr": 8.0, "frame_rate_hz": 10.0}
    return gpucells.simulate_movie("two_photon", shape=(120, 32, 56), seed=8, **kinds).movie


@pytest.mark.parametrize("settings", [
    {}, {"traces": "filters"}, {"contrast": "tanh", "whole_field": True}, {"n_pcs": 12, "n_ics": 10, "ring": True},
], ids=str)  # fmt: skip
def test_every_choice_finds_the_cpus_cells(stand_in: Any, movie: np.ndarray, settings: dict[str, Any]) -> None:
    chosen = CHOSEN | {"settings": {"downsample_time_by": 1} | settings}
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(order=2, vram_bytes=256 << 20) as cupy:
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
        assert cupy.machine.counts["launches"] > 10
    require_the_same_cells(wanted, found)


def test_a_start_and_held_footprints_there(stand_in: Any, movie: np.ndarray) -> None:
    cells = gpucells.extract_cells(movie, device="cpu", **CHOSEN)
    wanted = gpucells.apply_footprints(movie, cells, method="pcaica", device="cpu")
    with stand_in(vram_bytes=256 << 20):
        again = gpucells.extract_cells(movie, device="cuda:0", init=cells, **CHOSEN).accepted_only()
        held = gpucells.apply_footprints(movie, cells, method="pcaica", device="cuda:0")
    assert len(match_cells(cells.accepted_only(), again).pairs) >= cells.accepted.sum() - 1
    np.testing.assert_allclose(held.traces, wanted.traces, atol=0.02 * np.abs(wanted.traces).max())


def test_noise_has_no_cells_there_either(stand_in: Any) -> None:
    noise = np.random.default_rng(0).normal(100, 5, (40, 20, 20)).astype(np.float32)
    with stand_in(vram_bytes=64 << 20):
        assert gpucells.extract_cells(noise, device="cuda:0", **CHOSEN).accepted.sum() == 0


@pytest.mark.gpu
def test_a_card_finds_the_cpus_cells() -> None:
    from gpu_evidence import watched

    cupy = pytest.importorskip("cupy")
    movie = gpucells.simulate_movie("two_photon", shape=(1000, 128, 128), seed=3).movie
    chosen: dict[str, Any] = {"method": "pcaica", "cell_diameter_px": 14.0}
    with watched(cupy):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    one, other = wanted.accepted_only(), found.accepted_only()
    pairs = match_cells(one, other).pairs
    assert 2 * len(pairs) / (one.n_cells + other.n_cells) >= 0.95
