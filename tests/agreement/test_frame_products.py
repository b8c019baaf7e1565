"""Products with a file's frames: both bodies against dense products in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from scipy import sparse

from gpucells.errors import InputError
from gpucells.ops.frame_products import PIECE, SLICE, accumulate, project

NATIVE = ("uint8", "uint16", "int16", "float32")


def problem(n_frames: int, n_pixels: int, n_cells: int, n_rows: int, dtype: str = "uint16") -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 200, (n_frames, n_pixels)).astype(dtype)
    share = min(1.0, 12 / n_pixels)
    images = sparse.csr_array(rng.random((n_cells, n_pixels)) * (rng.random((n_cells, n_pixels)) < share)).astype("f4")
    return frames, images, rng.random((n_rows, n_pixels)).astype("f4"), rng.random((n_cells + n_rows, n_frames), "f4")


def sums(xp: Any, frames: Any, images: Any, rows: Any, traces: Any, times: int = 1) -> list[Any]:
    """All that `accumulate` gives, of the block fed several times."""
    n_pixels = images.shape[1]
    out, row_out = xp.zeros(images.nnz), xp.zeros((len(rows), n_pixels))
    total, energy = xp.zeros(n_pixels), xp.zeros(n_pixels)
    for _ in range(times):
        accumulate(
            xp.asarray(frames), traces[: images.shape[0]], images.indptr, images.indices, out,
            row_traces=traces[images.shape[0] :], row_out=row_out, total=total, energy=energy,
        )  # fmt: skip
    return [getattr(a, "get", lambda a=a: a)() for a in (out, row_out, total, energy)]


def dense_sums(frames: Any, images: Any, rows: Any, traces: Any) -> list[Any]:
    exact = frames.astype("f8")
    products = traces.astype("f8") @ exact
    cells = np.repeat(np.arange(images.shape[0]), np.diff(images.indptr))
    return [products[cells, images.indices], products[images.shape[0] :], exact.sum(0), (exact**2).sum(0)]


SIZES = [(n, *others) for n in (0, 1, 8) for others in ((9, 0), (0, 1), (0, 0), (1, 5))]


@pytest.mark.parametrize(
    ("dtype", "n_frames", "n_cells", "n_rows"),
    [(dtype, 21, 5, 2) for dtype in NATIVE] + [("uint16", *sizes) for sizes in SIZES],
)
def test_both_bodies_give_the_dense_products(cuda: Any, dtype: str, n_frames: int, n_cells: int, n_rows: int) -> None:
    frames, images, rows, traces = problem(n_frames, 70, n_cells, n_rows, dtype)
    wanted = np.concatenate([images.toarray(), rows]).astype("f8") @ frames.T.astype("f8")
    on_cpu, on_gpu = project(frames, images, rows), project(cuda.asarray(frames), images, rows)
    assert type(on_gpu) is np.ndarray
    assert on_cpu.dtype == on_gpu.dtype == np.float32
    tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)
    np.testing.assert_allclose(on_cpu, wanted, rtol=2e-6)
    exact = dense_sums(frames, images, rows, traces)
    for here, there, reference in zip(
        sums(np, frames, images, rows, traces), sums(cuda, frames, images, rows, traces), exact, strict=True
    ):
        tolerance.assert_as_accurate(there, here, reference)
        np.testing.assert_allclose(here, reference, rtol=2e-6)


def test_cells_across_pieces_and_pixels_in_any_order(emulated_cupy: Any) -> None:
    frames, images, rows, traces = problem(5, 2 * max(PIECE, SLICE) + 13, 6, 1)
    for k in range(6):  # as scipy may leave them
        mine = slice(images.indptr[k], images.indptr[k + 1])
        images.indices[mine], images.data[mine] = images.indices[mine][::-1].copy(), images.data[mine][::-1].copy()
    exact = np.concatenate([images.toarray(), rows]).astype("f8") @ frames.T.astype("f8")
    for xp in (np, emulated_cupy):
        np.testing.assert_allclose(project(xp.asarray(frames), images, rows), exact, rtol=1e-5)
        for got, wanted in zip(
            sums(xp, frames, images, rows, traces), dense_sums(frames, images, rows, traces), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=2e-6)


def test_other_types_and_frames_of_an_image() -> None:
    frames, images, *_ = problem(6, 70, 4, 0)
    for other in (frames.astype("i4"), frames.astype(">u2"), np.asfortranarray(frames), frames.reshape(6, 7, 10)):
        np.testing.assert_array_equal(project(other, images), project(frames, images))


def test_what_is_not_finite_counts_as_zero(cuda: Any) -> None:
    frames, images, rows, traces = problem(11, 70, 5, 1, "float32")
    clean = frames.copy()
    for value, pixel in ((np.nan, 3), (np.inf, 20), (-np.inf, 21)):
        frames[4:7, pixel], clean[4:7, pixel] = value, 0
    for xp in (np, cuda):
        np.testing.assert_array_equal(
            project(xp.asarray(frames), images, rows), project(xp.asarray(clean), images, rows)
        )
        for got, wanted in zip(
            sums(xp, frames, images, rows, traces), sums(xp, clean, images, rows, traces), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)


def test_many_blocks_lose_nothing() -> None:
    """100,000 frames of a pixel around 40,000: single precision alone would be off by 1e-4 and more."""
    rng = np.random.default_rng(0)
    frames, images, rows, traces = problem(500, 20, 3, 1)
    frames = rng.integers(39_000, 41_000, frames.shape).astype("u2")
    for got, wanted in zip(
        sums(np, frames, images, rows, traces, times=200), dense_sums(frames, images, rows, traces), strict=True
    ):
        np.testing.assert_allclose(got, 200 * wanted, rtol=5e-8)


def test_wrong_arguments_are_refused() -> None:
    frames, images, *_ = problem(4, 70, 3, 0)
    with pytest.raises(InputError, match="70 pixels"):
        project(frames, images[:, :50])
    with pytest.raises(InputError, match="only one"):
        accumulate(frames, np.ones((3, 4)), images.indptr, images.indices, np.zeros(images.nnz), total=np.zeros(70))


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    frames, images, rows, traces = problem(11, 40, 3, 2)
    np.testing.assert_allclose(
        project(sanitized_cuda.asarray(frames), images, rows), project(frames, images, rows), rtol=1e-5
    )
    for got, wanted in zip(
        sums(sanitized_cuda, frames, images, rows, traces), sums(np, frames, images, rows, traces), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
