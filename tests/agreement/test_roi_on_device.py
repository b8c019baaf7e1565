"""ROI with the movie on a GPU beside the CPU: the same traces of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients

import gpucells

SHAPE, N_FRAMES = (24, 28), 80
CELLS = footprints(SHAPE, [(7, 7), (8, 12), (17, 13)])
KINDS = ("robust", "least_squares", "weighted_mean", "mean")


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    rng = np.random.default_rng(1)
    still = pixel_movie(rng, CELLS, transients(rng, 3, N_FRAMES, 20)) + np.float32(60)
    drift = np.linspace(0, 6, N_FRAMES, dtype=np.float32) * np.linspace(0.5, 1.5, len(still), dtype=np.float32)[:, None]
    return (still + drift).T.reshape(N_FRAMES, *SHAPE)


@pytest.mark.parametrize("kind", KINDS)
def test_traces_there_are_the_cpus(stand_in: Any, movie: np.ndarray, kind: str) -> None:
    chosen: dict[str, Any] = {"method": "roi", "settings": {"traces": kind}}
    wanted = gpucells.apply_footprints(movie, CELLS, device="cpu", **chosen)
    with stand_in(order=2, vram_bytes=64 << 20) as cupy:
        found = gpucells.apply_footprints(movie, CELLS, device="cuda:0", **chosen)
        assert cupy.machine.counts["launches"] > 0
    assert found.provenance.device.startswith("cuda:0")
    np.testing.assert_array_equal(found.footprints.toarray(), wanted.footprints.toarray())
    np.testing.assert_allclose(found.f0, wanted.f0, rtol=1e-5)
    np.testing.assert_allclose(found.traces, wanted.traces, atol=0.01 if "mean" in kind else 0.05)


@pytest.mark.parametrize("kind", ["robust", "mean"])
def test_lost_frames_and_pixels_there(stand_in: Any, movie: np.ndarray, kind: str) -> None:
    broken = movie.copy()
    broken[[3, 40]] = np.nan
    broken[20, 7, :9] = np.nan
    chosen: dict[str, Any] = {"method": "roi", "settings": {"traces": kind}}
    wanted = gpucells.apply_footprints(broken, CELLS, device="cpu", **chosen)
    with stand_in(vram_bytes=64 << 20):
        found = gpucells.apply_footprints(broken, CELLS, device="cuda:0", **chosen)
    np.testing.assert_array_equal(np.isnan(found.traces), np.isnan(wanted.traces))
    np.testing.assert_allclose(found.traces, wanted.traces, atol=0.05)
