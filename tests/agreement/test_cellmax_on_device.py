"""CELLMax-style EM with the movie on a GPU beside the CPU: the same cells, whatever memory there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from reference.same_cells import MODELLED, require_the_same_cells

import gpucells
from gpucells.postprocess.match import match_cells

CHOSEN = {"method": "cellmax", "preset": "one_photon", "cell_diameter_px": 6.0, "frame_rate_hz": 10.0}
SETTINGS = {"downsample_time_by": 1, "min_iter": 2, "max_iter": 4, "event_iter": 3, "probability_iter": 4}


@pytest.fixture(scope="module")
def small() -> Any:
    rng = np.random.default_rng(1)
    cells = footprints((24, 28), [(7, 7), (8, 20), (17, 13)])
    movie = pixel_movie(rng, cells, transients(rng, 3, 80, 20)) + np.float32(60)
    return movie.T.reshape(80, 24, 28), cells


@pytest.mark.parametrize(
    "settings",
    [{}, {"n_background": 0, "ring": False}, {"frames_least": 20, "frames_fraction": 0.1}, {"init_method": "grid"},
     {"init_method": "ica"}, {"noise": "global", "quantize": True, "threshold_sigmas": 0.5, "probability_iter": 0}],
)  # fmt: skip
def test_every_choice_runs_there_and_finds_the_cpus_cells(stand_in: Any, small: Any, settings: dict[str, Any]) -> None:
    movie, _ = small
    chosen: dict[str, Any] = CHOSEN | {"settings": SETTINGS | settings}
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    with stand_in(order=2, vram_bytes=64 << 20) as cupy:
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
        assert cupy.machine.counts["launches"] > 20
    assert found.provenance.device.startswith("cuda:0")
    require_the_same_cells(wanted, found, at_least=2, names=MODELLED)


def test_given_footprints_are_held_there(stand_in: Any, small: Any) -> None:
    movie, cells = small
    chosen: dict[str, Any] = {"method": "cellmax"}
    wanted = gpucells.apply_footprints(movie, cells, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.apply_footprints(movie, cells, device="cuda:0", **chosen)
    assert found.n_cells == 3
    np.testing.assert_array_equal(found.footprints.toarray(), wanted.footprints.toarray())
    np.testing.assert_allclose(found.traces, wanted.traces, atol=0.01)
    np.testing.assert_allclose(found.denoised, wanted.denoised, atol=0.02)


def test_noise_has_no_cells_there_either(stand_in: Any) -> None:
    noise = np.random.default_rng(0).normal(100, 5, (40, 20, 20)).astype(np.float32)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.extract_cells(noise, method="cellmax", cell_diameter_px=6, device="cuda:0")
    assert found.accepted.sum() == 0
    assert np.isfinite(found.background_images).all()


def test_lost_frames_and_pixels_on_a_device(stand_in: Any, small: Any) -> None:
    movie = small[0].copy()
    movie[[3, 40]] = np.nan
    movie[:, 0, :4] = np.nan
    chosen: dict[str, Any] = CHOSEN | {"settings": SETTINGS}
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
    chosen: dict[str, Any] = {"method": "cellmax", "preset": "one_photon", "cell_diameter_px": 14.0}
    with watched(cupy):
        found = gpucells.extract_cells(movie, device="cuda:0", **chosen)
    wanted = gpucells.extract_cells(movie, device="cpu", **chosen)
    one, other = wanted.accepted_only(), found.accepted_only()
    pairs = match_cells(one, other).pairs
    assert 2 * len(pairs) / (one.n_cells + other.n_cells) >= 0.95
