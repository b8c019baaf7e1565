"""Counting where the residual is positive: the CUDA body beside the CPU's, both against the definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from scipy import sparse

from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.positive_share import RUN, THREADS, positive_share


def problem(n_cells: int, n_pixels: int, n_frames: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(7)
    footprints = rng.random((n_cells, n_pixels)) ** 3 * (rng.random((n_cells, n_pixels)) < 0.4)
    traces = rng.normal(size=(n_cells, n_frames))
    movie = footprints.T @ traces + rng.normal(0.2, 1, (n_pixels, n_frames))
    movie[np.abs(movie - footprints.T @ traces) < 1e-3] += 0.01  # no residual whose sign is rounding
    return tuple(array.astype(np.float32) for array in (movie, footprints, traces))  # type: ignore[return-value]


def by_definition(movie: Any, footprints: Any, traces: Any, level: float) -> Any:
    positive = movie.astype(float) - footprints.T.astype(float) @ traces > 0
    share = np.full(traces.shape, 0.5)
    for cell, image in enumerate(footprints):
        mine = image > level * image.max(initial=0)
        if mine.any():
            share[cell] = positive[mine].mean(axis=0)
    return share


@pytest.mark.parametrize("n_cells", [1, 6])
@pytest.mark.parametrize("n_pixels", [1, RUN, 3 * RUN + 5])
@pytest.mark.parametrize("n_frames", [0, 1, 37, THREADS + 3])
@pytest.mark.parametrize("level", [0.01, 0.5])
def test_shares(cuda: Any, n_cells: int, n_pixels: int, n_frames: int, level: float) -> None:
    movie, footprints, traces = problem(n_cells, n_pixels, n_frames)
    footprints[n_cells // 2] *= n_cells == 1  # a cell without pixels between others
    on_gpu, on_cpu = (
        positive_share(xp.asarray(movie), sparse.csr_array(footprints), traces, level=level) for xp in (cuda, np)
    )
    assert type(on_gpu) is np.ndarray
    assert on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(on_gpu, on_cpu, by_definition(movie, footprints, traces, level))


def test_a_graph_and_traces_at_hand_give_the_same_and_nothing_is_changed(cuda: Any) -> None:
    movie, footprints, traces = problem(5, 40, 50)
    images, on_device = sparse.csr_array(footprints), cuda.asarray(movie)
    first = positive_share(on_device, images, traces)
    second = positive_share(on_device, images, cuda.asarray(traces), graph=OverlapGraph.of(images))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(on_device.get(), movie)


def test_no_cells_and_no_pixels(cuda: Any) -> None:
    movie, footprints, traces = problem(2, 20, 9)
    images = sparse.csr_array(footprints)
    assert positive_share(cuda.asarray(movie), images[:0], traces[:0]).shape == (0, 9)
    np.testing.assert_array_equal(positive_share(cuda.asarray(movie), images * 0, traces), 0.5)
    none = sparse.csr_array((2, 0), dtype=np.float32)
    np.testing.assert_array_equal(positive_share(cuda.asarray(movie[:0]), none, traces), 0.5)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    movie, footprints, traces = problem(3, 3 * RUN, 41)
    found = positive_share(sanitized_cuda.asarray(movie), sparse.csr_array(footprints), traces)
    np.testing.assert_array_equal(found, positive_share(movie, sparse.csr_array(footprints), traces))
