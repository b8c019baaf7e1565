"""Temporal sweeps: both bodies against a plain sweep in float64, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from scipy import sparse
from scipy.optimize import nnls

from gpucells.errors import InputError
from gpucells.ops.hals import SHARED_BYTES, WIDE, hals_traces


def problem(n_cells: int, n_frames: int, n_rows: int = 1) -> tuple[Any, Any, Any, Any]:
    """Start, products, Gram matrix, footprints: each cell overlaps its neighbours, the background all."""
    rng = np.random.default_rng(2)
    n_pixels = 3 * n_cells + 8
    images = np.zeros((n_cells + n_rows, n_pixels))
    for k, at in enumerate(rng.permutation(n_cells)):
        images[k, 3 * at : 3 * at + 8] = rng.random(8)
    images[n_cells:] = 0.2 + rng.random((n_rows, n_pixels))
    traces = rng.exponential(1, (n_cells + n_rows, n_frames)) * (rng.random((n_cells + n_rows, n_frames)) < 0.5)
    movie = images.T @ traces + rng.normal(0, 0.3, (n_pixels, n_frames))
    start = rng.random(traces.shape).astype("f4")
    return start, (images @ movie).astype("f4"), sparse.csr_array(images @ images.T), images


def by_definition(start: Any, products: Any, gram: Any, n_sweeps: int, lower: Any) -> Any:
    traces, v = start.astype("f8"), gram.toarray()
    for _ in range(n_sweeps):
        for m in range(len(traces)):
            if v[m, m] > 0:
                traces[m] = np.maximum(lower[m], traces[m] + (products[m] - v[m] @ traces) / v[m, m])
    return traces


def swept(xp: Any, start: Any, products: Any, gram: Any, **options: Any) -> Any:
    traces = xp.array(start)
    hals_traces(traces, products, gram, **options)
    return traces if xp is np else traces.get()


@pytest.mark.parametrize(("n_cells", "n_rows"), [(1, 0), (9, 2), (0, 1), (WIDE + 20, 1)])
@pytest.mark.parametrize("n_frames", [0, 1, 37, 300])
def test_both_bodies_sweep_as_defined(cuda: Any, n_cells: int, n_rows: int, n_frames: int) -> None:
    if n_cells > WIDE and n_frames == 300:
        pytest.skip("slow in the emulator, and nothing new")
    start, products, gram, _ = problem(n_cells, n_frames, n_rows)
    lower = np.where(np.arange(n_cells + n_rows) < n_cells, 0, -np.inf)
    for n_sweeps in (0, 1, 3):
        wanted = by_definition(start, products, gram, n_sweeps, lower)
        here, there = (swept(xp, start, products, gram, n_sweeps=n_sweeps, lower=lower) for xp in (np, cuda))
        np.testing.assert_allclose(here, wanted, atol=1e-5 * np.abs(wanted).max(initial=1))
        tolerance.assert_as_accurate(there, here, wanted)


def test_sweeps_end_where_least_squares_does() -> None:
    start, products, gram, images = problem(9, 20)
    movie = np.linalg.lstsq(images, products.astype("f8"), rcond=None)[0]  # some movie with these products
    best = np.stack([nnls(images.T, movie[:, t])[0] for t in range(20)], axis=1)
    np.testing.assert_allclose(swept(np, start, products, gram, n_sweeps=400), best, atol=1e-4 * best.max())


@pytest.mark.parametrize("n_rows", [SHARED_BYTES // 4 // 7, SHARED_BYTES // 4 + 1])
def test_more_rows_than_usual(emulated_cupy: Any, n_rows: int) -> None:
    """Few frames of them fit into shared memory, or none."""
    rng = np.random.default_rng(1)
    near = sparse.diags_array([0.3, 1.0, 0.3], offsets=[-1, 0, 1], shape=(n_rows, n_rows))
    start, products = rng.random((2, n_rows, 5)).astype("f4")
    products = products.astype("f4")
    here, there = (swept(xp, start, products, sparse.csr_array(near), n_sweeps=1) for xp in (np, emulated_cupy))
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_cells_without_pixels_stay_and_nan_keeps_to_its_frame(cuda: Any) -> None:
    start, products, gram, images = problem(6, 40)
    images[2] = 0
    gram = sparse.csr_array(images @ images.T)
    products[3, 17] = np.nan
    for xp in (np, cuda):
        found = swept(xp, start, products, gram)
        np.testing.assert_array_equal(found[2], start[2])
        assert np.isfinite(np.delete(found, 17, axis=1)).all()


def test_wrong_arguments_are_refused() -> None:
    start, products, gram, _ = problem(4, 6)
    for wrong in (start.astype("f8"), np.asfortranarray(start)):
        with pytest.raises(InputError, match="in place"):
            hals_traces(wrong, products, gram)
    with pytest.raises(InputError, match="do not fit"):
        hals_traces(start, products[:-1], gram)
    with pytest.raises(InputError, match="lower"):
        hals_traces(start, products, gram, lower=np.zeros(2))


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    for n_cells in (5, WIDE + 1):
        start, products, gram, _ = problem(n_cells, 9)
        np.testing.assert_allclose(
            swept(sanitized_cuda, start, products, gram), swept(np, start, products, gram), atol=1e-4
        )
