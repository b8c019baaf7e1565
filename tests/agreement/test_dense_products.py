"""Products of whole images and traces with the movie: both bodies against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance

from gpucells.ops import dense_products as module
from gpucells.ops.dense_products import image_products, trace_products


@pytest.mark.parametrize(("n_pixels", "n_frames"), [(0, 5), (1, 1), (37, 0), (37, 130), (90, 31)])
@pytest.mark.parametrize("n", [0, 1, 6])
def test_both_bodies_give_the_products(emulated_cupy: Any, n: int, n_pixels: int, n_frames: int) -> None:
    rng = np.random.default_rng(n)
    movie = rng.normal(1, 3, (n_pixels, n_frames)).astype("f4")
    images, traces = rng.normal(0, 1, (n, n_pixels)).astype("f4"), rng.normal(0, 1, (n, n_frames)).astype("f4")
    for product, small, wanted in (
        (image_products, images, images.astype("f8") @ movie.astype("f8")),
        (trace_products, traces, traces.astype("f8") @ movie.T.astype("f8")),
    ):
        on_cpu, on_gpu = product(movie, small), product(emulated_cupy.asarray(movie), small)
        assert isinstance(on_gpu, np.ndarray)
        assert on_cpu.dtype == on_gpu.dtype == np.float32
        assert on_cpu.shape == wanted.shape
        tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)
        np.testing.assert_allclose(on_cpu, wanted, rtol=1e-4, atol=1e-3)


def test_pieces_add_up() -> None:
    movie = np.random.default_rng(0).normal(size=(2 * module.PIXELS + 5, 3)).astype("f4")
    images = np.ones((2, len(movie)), np.float32)
    np.testing.assert_allclose(image_products(movie, images), np.tile(movie.sum(axis=0), (2, 1)), rtol=1e-3, atol=1e-2)
