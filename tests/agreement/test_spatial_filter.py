"""The filter of frames on either side, against frames doubled by their mirror image in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference.frame_measures import band_pass_mirrored
from scipy import ndimage

import gpucells.preprocess.spatial_filter as module
from gpucells.device.arrays import to_host
from gpucells.preprocess.spatial_filter import SpatialFilter
from gpucells.preprocess.zero_mean_gaussian import zero_mean_filter, zero_mean_gaussian


def frames_of(shape: tuple[int, int, int], dtype: str = "uint16") -> Any:
    return np.random.default_rng(6).integers(0, 1000, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(7, 20, 37), (3, 32, 32), (2, 1, 16), (1, 13, 1), (0, 8, 9)])
def test_it_agrees_with_the_doubled_frame(cuda: Any, shape: tuple[int, int, int]) -> None:
    frames = frames_of(shape)
    band_pass = SpatialFilter(*shape[1:], radius_px=4, highpass_cutoff=5, lowpass_cutoff=2)
    wanted = np.array([band_pass_mirrored(frame, band_pass.low, band_pass.high) for frame in frames]).reshape(shape)
    on_cpu, on_gpu = band_pass.apply(frames), band_pass.apply(cuda.asarray(frames))
    np.testing.assert_allclose(on_cpu, wanted, atol=1e-2)  # both sides are the same lines: they could be wrong together
    assert isinstance(on_gpu, cuda.ndarray)
    assert on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, wanted)


@pytest.mark.parametrize("shape", [(3, 20, 37), (2, 1, 16), (0, 8, 9)])
def test_a_kernel_is_correlated_with_mirrored_frames(cuda: Any, shape: tuple[int, int, int]) -> None:
    frames, kernel = frames_of(shape), zero_mean_gaussian(3.0)
    wanted = [ndimage.correlate(frame.astype(np.float64), kernel, mode="reflect") for frame in frames]
    smoother = zero_mean_filter(*shape[1:], radius_px=6)
    on_cpu, on_gpu = smoother.apply(frames), smoother.apply(cuda.asarray(frames))
    np.testing.assert_allclose(on_cpu, np.array(wanted).reshape(shape), atol=1e-2)
    tolerance.assert_as_accurate(to_host(on_gpu), on_cpu, np.array(wanted).reshape(shape))


@pytest.mark.parametrize("edges", ["mirror", "power_of_two"])
def test_chunks_in_place(cuda: Any, edges: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of((7, 16, 18), "float32")
    band_pass = SpatialFilter(16, 18, 3, 5, 2, edges=edges)
    wanted = band_pass.apply(frames)
    monkeypatch.setattr(module, "DEVICE_CHUNK_BYTES", 3 * 4 * 32 * 32)
    on_gpu = cuda.asarray(frames)
    assert band_pass.apply(on_gpu, out=on_gpu) is on_gpu
    np.testing.assert_allclose(to_host(on_gpu), wanted, atol=1e-3)


def test_no_cutoffs_change_nothing(cuda: Any) -> None:
    frames = frames_of((4, 8, 9))
    np.testing.assert_array_equal(to_host(SpatialFilter(8, 9, 6).apply(cuda.asarray(frames))), frames)
