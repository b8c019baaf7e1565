"""The zero-mean Gaussian, and frames filtered with it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gpucells.errors import SettingsError
from gpucells.preprocess.spatial_filter import SpatialFilter
from gpucells.preprocess.zero_mean_gaussian import zero_mean_filter, zero_mean_gaussian


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0, 4.7])
def test_the_kernel_is_a_gaussian_on_a_disc_less_its_mean(sigma: float) -> None:
    kernel = zero_mean_gaussian(sigma)
    reach = len(kernel) // 2
    assert reach == max(1, int(2 * sigma))
    assert abs(kernel.sum()) < 1e-12
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = y**2 + x**2 <= reach**2
    assert not kernel[~disc].any()
    gaussian = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    level = kernel[disc] - gaussian[disc] / gaussian[disc].sum()
    np.testing.assert_allclose(level, -1 / disc.sum(), atol=1e-12)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    np.testing.assert_array_equal(kernel, kernel.T)


@pytest.mark.parametrize("shape", [(40, 37), (5, 60), (1, 9), (3, 1), (1, 1)])
@pytest.mark.parametrize("radius", [2.0, 6.0, 9.5])
def test_frames_are_correlated_with_it_mirrored_at_their_edges(shape: tuple[int, int], radius: float) -> None:
    frames = np.random.default_rng(1).normal(50, 10, (3, *shape)).astype(np.float32)
    wanted = [
        ndimage.correlate(frame.astype(np.float64), zero_mean_gaussian(radius / 2), mode="reflect") for frame in frames
    ]
    np.testing.assert_allclose(zero_mean_filter(*shape, radius).apply(frames), wanted, atol=1e-4)


def test_an_oblong_kernel_turns_no_axes() -> None:
    kernel = np.outer([1, 2, 1], [1, 0, 3, 0, 1]).astype(float)
    frame = np.random.default_rng(2).normal(size=(1, 11, 7)).astype(np.float32)
    found = SpatialFilter.of_kernel(11, 7, kernel).apply(frame)
    np.testing.assert_allclose(found[0], ndimage.correlate(frame[0].astype(np.float64), kernel), atol=1e-4)


def test_it_leaves_nothing_of_a_level_and_most_of_a_cell() -> None:
    y, x = np.mgrid[:50, :50]
    cell = np.exp(-((y - 25) ** 2 + (x - 25) ** 2) / (2 * 3**2))
    level, both = zero_mean_filter(50, 50, 6.0).apply(np.stack([np.full((50, 50), 1000.0), 1000 + cell]))
    assert abs(level).max() < 1e-2
    assert both.argmax() == 25 * 50 + 25
    assert both.max() > 0.1
    assert both[25, 32] < 0  # the dark surround


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_a_gaussian_has_a_width(sigma: float) -> None:
    with pytest.raises(SettingsError, match="sigma_px"):
        zero_mean_gaussian(sigma)
