"""The rim of a lens, and what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from gpucells.preprocess.lens import find_lens_field, lens_warning

Y, X = np.mgrid[:120, :140]


def field(radius: float = 52, centre: tuple[float, float] = (60, 70), soft: float = 1.5, ground: float = 40) -> Any:
    """A disc of scene on a flat ground: mean and noise."""
    rng = np.random.default_rng(1)
    distance = np.hypot(Y - centre[0], X - centre[1])
    within = 1 / (1 + np.exp(np.clip((distance - radius) / soft, -30, 30)))
    scene = (
        300 * (1 + 0.2 * ndimage.gaussian_filter(rng.normal(size=Y.shape), 4) * 10) * (1 - 0.3 * (distance / 70) ** 2)
    )
    mean = ground + within * scene + rng.normal(0, 0.5, Y.shape)
    return mean.astype(np.float32), np.sqrt(np.maximum(mean, 1)).astype(np.float32), distance


@pytest.mark.parametrize("ground", [0.0, 40.0, 1000.0])
@pytest.mark.parametrize(("radius", "centre"), [(52, (60, 70)), (50, (57, 74)), (64, (60, 70)), (40, (55, 60))])
def test_a_disc_is_found_and_its_edge_left_out(ground: float, radius: float, centre: tuple[float, float]) -> None:
    mean, noise, distance = field(radius, centre, ground=ground)
    mask = find_lens_field(mean, noise, 6.0)
    assert mask is not None
    assert not mask[distance > radius + 1].any()
    inner = (distance < radius - 8) & (Y > 4) & (Y < 115)
    assert mask[inner].all()


def test_the_border_of_the_image_is_no_edge_of_the_lens() -> None:
    mean, noise, _ = field(64)
    mask = find_lens_field(mean, noise, 6.0)
    assert mask is not None
    assert mask[0, 70]
    assert mask[119, 70]
    assert not mask[0, 0]


def vignetting(power: float) -> Any:
    distance = np.hypot(Y - 60, X - 70) / 92
    return 500 * np.exp(-3 * distance**power)


@pytest.mark.parametrize(
    "mean",
    [
        np.full(Y.shape, 300.0),
        vignetting(2),
        vignetting(4),
        40 + 300 * np.maximum(0, 1 - (np.hypot(Y - 60, X - 70) / 58) ** 2),  # fades to nothing, without an edge
        np.where((Y > 10) & (Y < 110) & (X > 10) & (X < 130), 300.0, 0.0),  # what registration leaves
        np.where(X > 40, 300.0, 20.0),
        np.where(np.hypot(Y - 60, X - 70) < 30, 20.0, 300.0),  # dark inside
        np.where(abs(Y - 60) / 50 + abs(X - 70) / 65 < 1, 300.0, 20.0),  # a rhomb
        np.full(Y.shape, np.nan),
    ],
)
def test_what_is_no_lens_is_left_alone(mean: Any) -> None:
    noisy = mean + np.random.default_rng(3).normal(0, 1, Y.shape)
    assert find_lens_field(noisy.astype(np.float32), np.ones(Y.shape, np.float32), 6.0) is None


def test_a_ground_noisier_than_the_field_is_none() -> None:
    mean, noise, _ = field()
    assert find_lens_field(mean, noise.max() - noise, 6.0) is None


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (31, 31)])
def test_small_images(shape: tuple[int, int]) -> None:
    assert find_lens_field(np.ones(shape, np.float32), np.ones(shape, np.float32), 3.0) is None


def test_the_warning_says_how_many_and_how_to_undo_it() -> None:
    mask = np.ones((10, 10), bool)
    mask[:3] = False
    assert "30 pixels (30%)" in lens_warning(mask)
    assert "mask_lens_rim" in lens_warning(mask)
