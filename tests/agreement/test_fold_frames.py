"""Frames turned into pixels' traces and back: the CUDA bodies beside the CPU's, both against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.fold_frames import averages, finite_pixels, whitened

from gpucells.device.arrays import to_host
from gpucells.ops.fold_frames import PixelSummary, fold_frames, frame_profiles, unfold_frames, whiten_frames

TYPES = ["uint8", "uint16", "int16", "float32", "float64"]  # the last has no code of its own
# Neither axis a multiple of the kernels' tile, more than one tile of both, exactly one, a single sample, none.
SIZES = [(70, (9, 17)), (64, (8, 8)), (3, (1, 2)), (1, (1, 1)), (0, (3, 5))]


def frames_of(dtype: str, n_frames: int, shape: tuple[int, int]) -> Any:
    frames = np.random.default_rng(5).integers(0, 120, (n_frames, *shape)).astype(dtype)
    if frames.dtype.kind == "f" and n_frames:
        frames[0, -1, -1], frames[n_frames // 2, 0, 0] = np.nan, -np.inf
    return frames


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("n_frames", "shape"), SIZES)
@pytest.mark.parametrize("factor", [1, 4])
def test_averages_and_summary(cuda: Any, dtype: str, n_frames: int, shape: tuple[int, int], factor: int) -> None:
    frames, n_pixels, n = frames_of(dtype, n_frames, shape), shape[0] * shape[1], n_frames // factor
    found = []
    for xp in (cuda, np):
        averaged, summary = xp.full((n_pixels, n + 3), -1, np.float32), PixelSummary.empty(n_pixels, xp)
        for _ in range(2):  # the second time on top of the first
            fold_frames(xp.asarray(frames), factor, averaged, 2, summary)
        found.append([to_host(array) for array in (averaged, *vars(summary).values())])
    (on_gpu, *summary_gpu), (on_cpu, *summary_cpu) = found
    inside = slice(2, 2 + n)
    tolerance.assert_as_accurate(on_gpu[:, inside], on_cpu[:, inside], averages(frames, factor))
    assert (np.delete(on_gpu, np.arange(2, 2 + n), axis=1) == -1).all()
    tolerance.assert_as_accurate(summary_gpu[0], summary_cpu[0], 2 * finite_pixels(frames).sum(axis=0), "total")
    for seen, wanted in zip(summary_gpu[1:], summary_cpu[1:], strict=True):
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("n_frames", "shape"), SIZES)
def test_whitening_and_back(cuda: Any, dtype: str, n_frames: int, shape: tuple[int, int]) -> None:
    frames, n_pixels, rng = frames_of(dtype, n_frames, shape), shape[0] * shape[1], np.random.default_rng(6)
    pixels = np.flatnonzero(rng.random(n_pixels) < 0.7)
    baseline, noise = rng.normal(50, 20, n_pixels).astype(np.float32), rng.uniform(1, 5, n_pixels).astype(np.float32)
    noise[n_pixels // 2] = np.inf  # a pixel that does not count
    on_gpu, on_cpu = (
        to_host(whiten_frames(*(xp.asarray(array) for array in (frames, baseline, noise, pixels)))) for xp in (cuda, np)
    )
    tolerance.assert_as_accurate(on_gpu, on_cpu, whitened(frames, baseline, noise, pixels))

    part = max(n_frames - 2, 0)
    scale = rng.uniform(1, 5, len(pixels)).astype(np.float32)
    back = to_host(unfold_frames(cuda.asarray(on_cpu), n_frames - part, part, cuda.asarray(scale)))
    np.testing.assert_array_equal(back, (on_cpu[:, n_frames - part :] * scale[:, None]).T)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    frames = sanitized_cuda.asarray(frames_of("uint16", 35, (5, 8)))
    averaged, summary = sanitized_cuda.zeros((40, 9), np.float32), PixelSummary.empty(40, sanitized_cuda)
    fold_frames(frames, 4, averaged, 1, summary)
    one, pixels = sanitized_cuda.ones(40, np.float32), sanitized_cuda.arange(33)
    traces = whiten_frames(frames, one, one, pixels)
    np.testing.assert_array_equal(to_host(unfold_frames(traces, 1, 34, one[:33]))[0], to_host(traces[:, 1]))
    assert to_host(summary.maximum).max() == to_host(frames).max()


def test_no_pixels_launch_nothing(cuda: Any) -> None:
    frames, some = cuda.asarray(frames_of("uint16", 5, (3, 4))), cuda.asarray(np.ones(12, np.float32))
    assert whiten_frames(frames, some, some, cuda.asarray(np.zeros(0, np.int64))).shape == (0, 5)


@pytest.mark.parametrize("dtype", TYPES)
def test_profiles_of_frames(cuda: Any, dtype: str) -> None:
    frames = frames_of(dtype, 7, (9, 17))
    sizes = np.abs(finite_pixels(frames)).reshape(frames.shape)
    for axis, on_gpu, on_cpu in zip((2, 1), frame_profiles(cuda.asarray(frames)), frame_profiles(frames), strict=True):
        tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, sizes.mean(axis=axis))
