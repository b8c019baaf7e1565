"""The Butterworth filter of frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference import frame_measures

import gpucells.preprocess.spatial_filter as module
from gpucells.errors import InputError, SettingsError
from gpucells.preprocess.spatial_filter import SpatialFilter, butterworth

RNG = np.random.default_rng(5)
CUTOFFS = [(5, math.inf), (math.inf, 2), (5, 2), (2, 1)]


@pytest.mark.parametrize(("highpass", "lowpass"), CUTOFFS)
@pytest.mark.parametrize("shape", [(32, 32), (20, 37), (1, 16), (13, 1)])
def test_agrees_with_the_doubled_frame(highpass: float, lowpass: float, shape: tuple[int, int]) -> None:
    frames = RNG.normal(100, 10, (3, *shape)).astype(np.float32)
    band_pass = SpatialFilter(*shape, radius_px=4, highpass_cutoff=highpass, lowpass_cutoff=lowpass)
    wanted = [frame_measures.band_pass_mirrored(f, band_pass.low, band_pass.high) for f in frames]
    np.testing.assert_allclose(band_pass.apply(frames), wanted, atol=2e-4)


def test_gain_is_half_at_the_cutoffs_and_flat_between() -> None:
    gain = butterworth(np.array([0.0, 0.01, 0.05, 0.25, 0.5]), low=0.01, high=0.25)
    np.testing.assert_allclose(gain, [0, 0.5, 1, 0.5, 0.004], atol=1e-3)


def test_cutoffs_follow_the_radius() -> None:
    band_pass = SpatialFilter(64, 64, radius_px=6, highpass_cutoff=5, lowpass_cutoff=2)
    assert 1 / band_pass.low == pytest.approx(47, abs=0.2)  # px, as the original's manual has it
    assert 1 / band_pass.high == pytest.approx(4.7, abs=0.05)


def test_a_bright_edge_does_not_leak_across() -> None:
    frames = np.zeros((1, 64, 64), np.float32)
    frames[:, :, :6] = 1
    ours = SpatialFilter(64, 64, 6, highpass_cutoff=5).apply(frames)
    originals = SpatialFilter(64, 64, 6, highpass_cutoff=5, edges="power_of_two").apply(frames)
    assert np.abs(ours[:, :, -4:]).max() < 0.05
    assert np.abs(originals[:, :, -4:]).max() > 0.1


@pytest.mark.parametrize("edges", ["mirror", "power_of_two"])
def test_highpass_removes_the_mean_and_keeps_a_cell(edges: str) -> None:
    y, x = np.mgrid[:60, :70]
    cell = np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / (2 * 3**2))
    shade = 500 + 2 * y - x
    high_pass = SpatialFilter(60, 70, radius_px=6, highpass_cutoff=5, edges=edges)  # type: ignore[arg-type]
    cell_only, all_of_it = high_pass.apply(np.stack([cell, 10 * cell + shade]))
    middle = all_of_it[15:45, 15:45]  # at the frame's edges a slope has a kink
    assert middle.argmax() == 15 * 30 + 15
    assert cell_only.max() > 0.8
    assert abs(all_of_it[25:35, 25:35] - 10 * cell_only[25:35, 25:35]).max() < 3  # of a shade that spans 187


def test_non_square_pixels_turn_with_the_frame() -> None:
    frames = RNG.normal(0, 1, (2, 24, 40)).astype(np.float32)
    one = SpatialFilter(24, 40, 4, 5, 2, frequency_scale_yx=(1.0, 2.0)).apply(frames)
    other = SpatialFilter(40, 24, 4, 5, 2, frequency_scale_yx=(2.0, 1.0)).apply(frames.transpose(0, 2, 1))
    np.testing.assert_allclose(one, other.transpose(0, 2, 1), atol=1e-5)


def test_no_cutoffs_change_nothing() -> None:
    frames = RNG.integers(0, 1000, (4, 8, 9)).astype(np.uint16)
    nothing = SpatialFilter(8, 9, 6)
    assert nothing.is_identity
    found = nothing.apply(frames)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, frames)


@pytest.mark.parametrize("edges", ["mirror", "power_of_two"])
def test_chunks_in_place_and_types(edges: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = RNG.integers(0, 1000, (7, 16, 18)).astype(np.uint16)
    band_pass = SpatialFilter(16, 18, 3, 5, 2, edges=edges)  # type: ignore[arg-type]
    whole = band_pass.apply(frames)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    in_place = frames.astype(np.float32)
    assert band_pass.apply(in_place, out=in_place) is in_place
    np.testing.assert_allclose(in_place, whole, atol=1e-3)
    assert band_pass.apply(frames[:0]).shape == (0, 16, 18)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="filter is for"):
        SpatialFilter(8, 8, 3).apply(np.zeros((2, 8, 9), np.float32))
    with pytest.raises(InputError, match="filter is for"):
        SpatialFilter(8, 8, 3).apply(np.zeros((8, 8), np.float32))
    with pytest.raises(SettingsError, match="radius_px"):
        SpatialFilter(8, 8, 0)
    with pytest.raises(SettingsError, match="lowpass_cutoff"):
        SpatialFilter(8, 8, 3, lowpass_cutoff=-1)
    with pytest.raises(SettingsError, match="edges"):
        SpatialFilter(8, 8, 3, edges="wrap")  # type: ignore[arg-type]
