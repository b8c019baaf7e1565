"""Products of footprints and the movie: both bodies against the whole product in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from scipy import sparse

from gpucells.ops.footprint_products import footprint_products


def problem(n_cells: int, n_frames: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    images = rng.uniform(0, 1, (n_cells, 50)) * (rng.uniform(0, 1, (n_cells, 50)) < 0.3)
    images[1:2] = 0  # a footprint without pixels
    return rng.normal(2, 3, (50, n_frames)).astype("f4"), sparse.csr_array(images.astype("f4"))


@pytest.mark.parametrize("n_frames", [0, 1, 127, 300])
@pytest.mark.parametrize("n_cells", [0, 1, 7])
def test_both_bodies_give_the_product(cuda: Any, n_cells: int, n_frames: int) -> None:
    movie, footprints = problem(n_cells, n_frames)
    wanted = footprints.astype(np.float64) @ movie.astype(np.float64)
    on_cpu = footprint_products(movie, footprints)
    on_gpu = footprint_products(cuda.asarray(movie), footprints)
    assert isinstance(on_gpu, np.ndarray)
    assert on_gpu.dtype == on_cpu.dtype == np.float32
    assert on_gpu.shape == (n_cells, n_frames)
    tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie, footprints = problem(5, 200)
    np.testing.assert_allclose(
        footprint_products(sanitized_cuda.asarray(movie), footprints), footprint_products(movie, footprints), rtol=1e-4
    )
