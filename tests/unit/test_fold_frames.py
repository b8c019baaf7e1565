"""Frames turned into pixels: averages, summaries, profiles, whitening; against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpucells.ops.fold_frames import PixelSummary, fold_frames, frame_profiles, whiten_frames

SHAPE = (9, 17)  # more pixels than are turned around at once, and not a multiple
TYPES = ["uint8", "uint16", "int16", "int32", ">u2", "float16", "float32", "float64"]


def frames_of(dtype: str, n_frames: int = 23) -> Any:
    low = -90 if np.dtype(dtype).kind in "if" else 0
    return np.random.default_rng(0).integers(low, 120, (n_frames, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("factor", [1, 4, 30])
def test_frames_are_averaged_and_summed_up(dtype: str, factor: int) -> None:
    frames = frames_of(dtype)
    n = len(frames) // factor
    averaged, summary = np.full((9 * 17, n + 3), -1, np.float32), PixelSummary.empty(9 * 17)
    fold_frames(frames[:0], factor, averaged, 0, summary)
    fold_frames(frames, factor, averaged, 2, summary)
    plain = frames.astype(np.float64).reshape(len(frames), -1)
    wanted = plain[: n * factor].reshape(n, factor, -1).mean(axis=1).T if n else np.zeros((9 * 17, 0))
    np.testing.assert_allclose(averaged[:, 2 : 2 + n], wanted, rtol=1e-6, atol=1e-5)
    assert (averaged[:, :2] == -1).all()
    assert (averaged[:, 2 + n :] == -1).all()
    np.testing.assert_allclose(summary.total, plain.sum(axis=0), rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(summary.maximum, plain.max(axis=0))
    np.testing.assert_array_equal(summary.minimum, plain.min(axis=0))
    assert not summary.broken.any()


def test_what_is_not_finite_counts_as_zero_and_is_told() -> None:
    frames = frames_of("float32") + np.float32(200)
    frames[3, 0, 0], frames[5, 2, 16], frames[6, 8, 3] = np.nan, np.inf, -np.inf
    filled = np.where(np.isfinite(frames), frames, 0).reshape(len(frames), -1)
    averaged, summary = np.zeros((9 * 17, 23), np.float32), PixelSummary.empty(9 * 17)
    fold_frames(frames, 1, averaged, 0, summary)
    np.testing.assert_array_equal(averaged, filled.T)
    np.testing.assert_array_equal(np.flatnonzero(summary.broken), [0, 2 * 17 + 16, 8 * 17 + 3])
    np.testing.assert_array_equal(summary.minimum, filled.min(axis=0))
    rows, columns = frame_profiles(frames)
    np.testing.assert_allclose(rows, np.abs(filled).reshape(23, *SHAPE).mean(axis=2), rtol=1e-5)
    np.testing.assert_allclose(columns, np.abs(filled).reshape(23, *SHAPE).mean(axis=1), rtol=1e-5)
    pixels = np.array([0, 5, 50])
    whitened = whiten_frames(frames, np.full(153, 3, np.float32), np.full(153, 2, np.float32), pixels)
    np.testing.assert_allclose(whitened, (filled.T[pixels] - 3) / 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_frames", [1, 64, 130])
def test_frames_are_whitened(dtype: str, n_frames: int) -> None:
    frames, rng = frames_of(dtype, n_frames), np.random.default_rng(1)
    baseline, noise = rng.normal(50, 20, 153).astype(np.float32), rng.uniform(1, 5, 153).astype(np.float32)
    noise[7] = np.inf  # a pixel that does not count
    pixels = np.flatnonzero(rng.random(153) < 0.7)
    found = whiten_frames(frames, baseline, noise, pixels)
    plain = frames.astype(np.float64).reshape(n_frames, -1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ((plain - baseline) / noise)[:, pixels].T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(frame_profiles(frames)[0], np.abs(plain).reshape(-1, *SHAPE).mean(axis=2), rtol=1e-5)
