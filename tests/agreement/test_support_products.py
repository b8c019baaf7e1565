"""Products of pixels and traces: both bodies against the whole product in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance

from gpucells.ops.support_products import support_products

# Entries of each cell: blocks filled partly and wholly, a cell without pixels, one entry, none, no cell.
ENTRIES = [(5, 0, 7, 3), (8,), (1,), (0, 0), ()]


def problem(n_frames: int, entries: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(4)
    movie, traces = rng.normal(1, 3, (30, n_frames)), rng.exponential(2, (len(entries), n_frames))
    start = np.concatenate([[0], np.cumsum(np.array(entries, int))])
    return movie.astype("f4"), traces, start, rng.integers(0, 30, start[-1])


@pytest.mark.parametrize("n_frames", [0, 1, 31, 200])
@pytest.mark.parametrize("entries", ENTRIES)
def test_both_bodies_give_the_entries_of_the_whole_product(cuda: Any, n_frames: int, entries: tuple[int, ...]) -> None:
    movie, traces, start, pixels = problem(n_frames, entries)
    wanted = (movie.astype(np.float64) @ traces.astype("f4").T.astype(np.float64))[
        pixels, np.repeat(np.arange(len(entries)), entries)
    ]
    on_cpu = support_products(movie, traces, start, pixels)
    for small in (traces, cuda.asarray(traces)):  # small arrays may lie on either side
        on_gpu = support_products(cuda.asarray(movie), small, start, pixels.astype("i4"))
        assert isinstance(on_gpu, np.ndarray)
        assert on_gpu.dtype == np.float32
        tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie, *others = problem(40, (5, 0, 6))
    np.testing.assert_allclose(
        support_products(sanitized_cuda.asarray(movie), *others), support_products(movie, *others), rtol=1e-4
    )
