"""What components leave of a movie, and the background's gain: the CUDA bodies beside the CPU's, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from reference import residual as reference
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.ops import residual as ops
from gpucells.ops.residual import fit_gain, subtract_components

# Pixels and frames that are no multiple of a block's, more than one chunk of frames, exactly one, a single sample.
SIZES = [(13, 300), (8, 128), (3, 31), (1, 1)]


def components_of(rng: Any, n: int, n_pixels: int, n_frames: int) -> tuple[Any, Any]:
    images = sparse.csr_array(rng.random((n, n_pixels)) * (rng.random((n, n_pixels)) < 0.5), dtype=np.float32)
    return images, rng.normal(0, 3, (n, n_frames)).astype(np.float32)


def fitted(xp: Any, movie: Any, *others: Any) -> list[Any]:
    found = fit_gain(xp.asarray(movie), *others)
    assert all(type(array) is np.ndarray and array.dtype == np.float32 for array in found)
    return list(found)


def problem(n_pixels: int, n_frames: int, n_cells: int = 4) -> tuple[Any, ...]:
    """Movie, cells, nodes, where to begin, kappa: gain and offset off by a little, and cells that the model lacks."""
    rng = np.random.default_rng(n_pixels)
    cells, traces = components_of(rng, n_cells, n_pixels, n_frames)
    nodes, _ = components_of(rng, 3, n_pixels, n_frames)
    slow = np.cumsum(rng.normal(0, 0.5, (3, n_frames)), axis=1).astype(np.float32) + 5
    gain, offset = rng.uniform(0.3, 1.5, (n_pixels, 1)), rng.normal(0, 2, (n_pixels, 1))
    movie = cells.T @ traces + gain * (nodes.T @ slow) + offset + rng.normal(size=(n_pixels, n_frames))
    movie += (rng.random(movie.shape) < 0.05) * rng.exponential(10, movie.shape)
    start = (gain + 0.1).ravel().astype(np.float32), (offset - 0.3).ravel().astype(np.float32)
    return movie.astype(np.float32), cells, traces, nodes, slow, *start, 1.5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_subtraction(cuda: Any, size: tuple[int, int], n: int) -> None:
    rng = np.random.default_rng(1)
    images, traces = components_of(rng, n, *size)
    movie, offset = (rng.normal(20, 5, shape).astype(np.float32) for shape in (size, size[:1]))
    wanted = reference.residual(movie, images, traces, offset)
    on_cpu = subtract_components(movie, images, traces, offset)
    on_device = cuda.asarray(movie)
    tolerance.assert_as_accurate(
        to_host(subtract_components(on_device, images, traces, cuda.asarray(offset))), on_cpu, wanted
    )
    np.testing.assert_array_equal(to_host(on_device), movie)
    assert subtract_components(on_device, images, cuda.asarray(traces), offset, out=on_device) is on_device
    tolerance.assert_as_accurate(to_host(on_device), on_cpu, wanted, "in place")
    left = subtract_components(cuda.asarray(movie), images, traces)
    tolerance.assert_as_accurate(
        to_host(left), subtract_components(movie, images, traces), reference.residual(movie, images, traces)
    )


@pytest.mark.parametrize("size", [(0, 7), (3, 0)])
def test_nothing_to_subtract_from(cuda: Any, size: tuple[int, int]) -> None:
    images, traces = components_of(np.random.default_rng(2), 2, *size)
    assert subtract_components(cuda.zeros(size, np.float32), images, traces).shape == size


@pytest.mark.parametrize("size", [(5, 700), (9, 256), (3, 31), (1, 1), (0, 40)])
@pytest.mark.parametrize("n_held", [5120, 300, 0], ids="{} held".format)
def test_gain(cuda: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], n_held: int) -> None:
    """Whatever part of a pixel's frames is held on the chip."""
    monkeypatch.setattr(ops, "HELD_FRAMES", n_held)
    movie, *others = problem(*size)
    names = ("gain", "offset", "certainty")
    wanted = reference.gain_and_offset(movie, *others)
    on_gpu, on_cpu = (fitted(xp, movie, *others) for xp in (cuda, np))
    for name, *values in zip(names, on_gpu, on_cpu, wanted, strict=True):
        tolerance.assert_as_accurate(*values, name)


def test_frames_beyond_those_held_count_as_the_others(emulated_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    movie, *others = problem(2, 6000)
    long = fitted(emulated_cupy, movie, *others)
    for seen, wanted, on_cpu in zip(
        long, reference.gain_and_offset(movie, *others), fitted(np, movie, *others), strict=True
    ):
        tolerance.assert_as_accurate(seen, on_cpu, wanted)
    monkeypatch.setattr(ops, "HELD_FRAMES", 0)
    np.testing.assert_array_equal(fitted(emulated_cupy, movie, *others), long)


def test_gain_without_cells_or_background(cuda: Any) -> None:
    movie, cells, traces, nodes, slow, gain, offset, kappa = problem(4, 90)
    without = (movie, cells[:0], traces[:0], nodes[:0], slow[:0], gain, offset, kappa)
    on_gpu, on_cpu, wanted = fitted(cuda, *without), fitted(np, *without), reference.gain_and_offset(*without)
    np.testing.assert_array_equal(on_gpu[0], gain)
    tolerance.assert_as_accurate(on_gpu[1], on_cpu[1], wanted[1])
    np.testing.assert_array_equal(on_gpu[2], np.full(4, 1e-6, np.float32))
    still = (movie, cells, traces, nodes, np.ones_like(slow), gain, offset, kappa)  # says nothing about the gain
    assert np.isfinite(fitted(cuda, *still)).all()


def test_sanitizers_find_nothing(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "HELD_FRAMES", 200)
    movie, cells, traces, *others = problem(3, 261)
    assert np.isfinite(fitted(sanitized_cuda, movie, cells, traces, *others)).all()
    on_device = sanitized_cuda.asarray(movie)
    subtract_components(on_device, cells, traces, out=on_device)
    np.testing.assert_allclose(to_host(on_device), reference.residual(movie, cells, traces), atol=1e-4)
