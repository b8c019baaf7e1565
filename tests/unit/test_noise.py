"""Noise of rows, whatever their layout, type and length."""

from __future__ import annotations

import numpy as np
import pytest
from reference import frame_measures

import gpucells.ops.noise as module
from gpucells.errors import InputError
from gpucells.ops.noise import noise_std

RNG = np.random.default_rng(3)
ROWS = RNG.normal(5, 2, (7, 101)).astype(np.float32)


@pytest.mark.parametrize("n_frames", [4, 5, 6, 7, 16, 33, 100, 101])
def test_agrees_with_the_periodogram_by_definition(n_frames: int) -> None:
    rows = ROWS[:, :n_frames]
    np.testing.assert_allclose(noise_std(rows), frame_measures.noise_std(rows), rtol=1e-5)


def test_white_noise_is_told_within_its_standard_error() -> None:
    found = noise_std(RNG.normal(0, 3, (200, 2000)).astype(np.float32))
    assert found.mean() == pytest.approx(3, rel=0.01)
    assert found.std() / 3 == pytest.approx(2000**-0.5, rel=0.25)


def test_slow_signals_do_not_count() -> None:
    time = np.arange(2000)
    signal = 10 * np.exp(-(time % 200) / 20) + 20 * np.sin(time / 50)
    found = noise_std((signal + RNG.normal(0, 1, (20, 2000))).astype(np.float32))
    assert np.median(found) < 1.2  # the transients' onsets leave some; the signal's own deviation is 14


def test_frames_first_and_more_axes() -> None:
    movie = RNG.normal(0, 1, (64, 5, 6)).astype(np.float32)
    frames_first = noise_std(movie, axis=0)
    assert frames_first.shape == (5, 6)
    np.testing.assert_allclose(frames_first, noise_std(np.moveaxis(movie, 0, -1)), rtol=1e-5)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise_std(ROWS), noise_std(ROWS.T, axis=0)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)  # one row at a time
    np.testing.assert_allclose(noise_std(ROWS), whole[0], rtol=1e-6)
    np.testing.assert_allclose(noise_std(ROWS.T, axis=0), whole[1], rtol=1e-6)


def test_segments_are_averaged_and_limited() -> None:
    rows = RNG.normal(0, 1, (50, 4000)).astype(np.float32)
    np.testing.assert_allclose(noise_std(rows, segment_frames=500), noise_std(rows), rtol=0.05)
    by_hand = np.sqrt((noise_std(rows[:, :500]) ** 2 + noise_std(rows[:, 3500:]) ** 2) / 2)
    np.testing.assert_allclose(noise_std(rows, segment_frames=500, max_segments=2), by_hand, rtol=1e-5)
    np.testing.assert_array_equal(noise_std(rows[:, :300], segment_frames=500), noise_std(rows[:, :300]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float64])
def test_types(dtype: type) -> None:
    rows = np.clip(RNG.normal(100, 10, (4, 200)), 0, 250).astype(dtype)
    found = noise_std(rows)
    assert found.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(found, frame_measures.noise_std(rows), rtol=1e-4)


def test_constant_empty_and_nan_rows() -> None:
    rows = np.stack([np.full(50, 7.0), RNG.normal(0, 1, 50), RNG.normal(0, 1, 50)]).astype(np.float32)
    rows[2, 10] = np.nan
    found = noise_std(rows)
    assert found[0] < 1e-5
    assert found[1] > 0.3
    assert np.isnan(found[2])
    assert noise_std(np.zeros((0, 50), np.float32)).shape == (0,)


def test_too_few_frames_and_a_middle_axis_are_refused() -> None:
    with pytest.raises(InputError, match="3 frames"):
        noise_std(ROWS[:, :3])
    with pytest.raises(InputError, match="segment_frames"):
        noise_std(ROWS, segment_frames=2)
    with pytest.raises(InputError, match="axis"):
        noise_std(np.zeros((4, 8, 4), np.float32), axis=1)
