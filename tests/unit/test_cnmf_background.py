"""The low-rank background: its rank and traces from block means, and the backgrounds of tiles brought to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients

from gpucells.factorisation.background import MOST, Blocks, principal_traces
from gpucells.postprocess.join_backgrounds import join_backgrounds

SHAPE, RADIUS, N_FRAMES = (48, 56), 4.0, 400


def block_means(movie: Any, blocks: Blocks) -> np.ndarray:
    return np.asarray(blocks.means @ movie, np.float32)


def smooth_light(rank: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images that are smooth over the whole field, all of the same strength; independent random walks."""
    rng = np.random.default_rng(seed)
    y, x = np.pi * np.mgrid[: SHAPE[0], : SHAPE[1]] / 56
    every = [np.ones(SHAPE), np.cos(y), np.cos(x), np.cos(x) * np.cos(y)]
    images = np.asarray(every[:rank]).reshape(rank, SHAPE[0] * SHAPE[1])
    traces = np.cumsum(rng.normal(0, 0.3, (rank, N_FRAMES)), axis=1)
    return images, traces - traces.mean(axis=1, keepdims=True)


def spanned(traces: Any, by: Any) -> np.ndarray:
    """Share of each trace's power that lies in the space of others."""
    basis = np.linalg.qr(np.asarray(by, float).T)[0]
    return np.asarray(((traces @ basis) ** 2).sum(axis=1) / (traces**2).sum(axis=1))


@pytest.mark.parametrize("shape", [(48, 56), (7, 9), (1, 40), (40, 1), (1, 1), (3, 2), (100, 30)])
@pytest.mark.parametrize("radius_px", [1.0, 4.0, 60.0])
def test_blocks_partition_the_pixels_and_keep_the_noise(shape: tuple[int, int], radius_px: float) -> None:
    blocks = Blocks.of(np.ones(shape, bool), radius_px)
    means = blocks.means.toarray()
    assert means.shape == (blocks.shape[0] * blocks.shape[1], shape[0] * shape[1])
    np.testing.assert_array_equal((means > 0).sum(axis=0), 1)  # each pixel in one block
    np.testing.assert_allclose((means**2).sum(axis=1), 1, rtol=1e-5)  # white noise stays 1: no block is empty
    assert all(min(4, size) <= n <= size for n, size in zip(blocks.shape, shape, strict=True))
    rows = np.asarray((means > 0).reshape(*blocks.shape, *shape).any(axis=(1, 3)))
    assert (rows.argmax(axis=1)[1:] > rows.argmax(axis=1)[:-1]).all()  # in C order of the image


def test_blocks_are_about_as_wide_as_a_cell() -> None:
    assert Blocks.of(np.ones((80, 120), bool), 5.0).shape == (8, 12)


def test_pixels_that_do_not_count_are_in_no_block() -> None:
    inside = np.ones(SHAPE, bool)
    inside[:13], inside[20, 20] = False, False
    means = Blocks.of(inside, RADIUS).means.toarray()
    assert not means[:, ~inside.ravel()].any()
    power = (means**2).sum(axis=1)
    assert np.all(np.isclose(power, 1, rtol=1e-5) | (power == 0))
    assert not Blocks.of(np.zeros(SHAPE, bool), RADIUS).means.toarray().any()


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_the_rank_of_smooth_light_is_found(rank: int) -> None:
    images, traces = smooth_light(rank)
    rng = np.random.default_rng(7)
    blocks = Blocks.of(np.ones(SHAPE, bool), RADIUS)
    found = principal_traces(
        block_means(images.T @ traces + rng.normal(size=(SHAPE[0] * SHAPE[1], N_FRAMES)), blocks), blocks.shape, "auto"
    )
    assert found.shape == (rank, N_FRAMES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found @ found.T, np.eye(rank), atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    assert spanned(traces, found).min() > 0.97


def test_light_weaker_than_the_strongest_by_far_is_left_out() -> None:
    """Also where it is above the noise: what is a hundredth may be the misfit of the first."""
    images, traces = smooth_light(2)
    traces[1] *= 0.05
    blocks = Blocks.of(np.ones(SHAPE, bool), RADIUS)
    assert len(principal_traces(block_means(images.T @ traces, blocks), blocks.shape, "auto")) == 1


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_cells_alone_are_one_component(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = [(8, 8), (10, 40), (22, 24), (36, 12), (38, 44), (24, 46)]
    noise = rng.normal(size=(SHAPE[0] * SHAPE[1], N_FRAMES))
    blocks = Blocks.of(np.ones(SHAPE, bool), RADIUS)
    with_cells = footprints(SHAPE, centres).T @ transients(rng, len(centres), N_FRAMES, 10) + noise
    for movie in (noise, with_cells):
        assert len(principal_traces(block_means(movie, blocks), blocks.shape, "auto")) == 1


@pytest.mark.parametrize("n", [0, 1, 3, 50])
def test_as_many_as_are_asked_for(n: int) -> None:
    images, traces = smooth_light(2)
    rng = np.random.default_rng(1)
    blocks = Blocks.of(np.ones(SHAPE, bool), RADIUS)
    means = block_means(images.T @ traces + rng.normal(size=(SHAPE[0] * SHAPE[1], N_FRAMES)), blocks)
    found = principal_traces(means, blocks.shape, n)
    n_found = min(n, len(means))
    assert found.shape == (n_found, N_FRAMES)
    np.testing.assert_allclose(found @ found.T, np.eye(n_found), atol=1e-3)
    centred = means - means.mean(axis=1, keepdims=True)
    best = np.linalg.svd(centred.astype(float))[2][:n_found]
    np.testing.assert_allclose(spanned(best, found) if n_found else np.ones(0), 1, atol=1e-3)


@pytest.mark.parametrize("n", ["auto", 3])
def test_blocks_that_do_not_vary_have_no_background(n: Any) -> None:
    assert principal_traces(np.full((16, 50), 3, np.float32), (4, 4), n).shape == (0, 50)
    assert principal_traces(np.zeros((16, 50), np.float32), (4, 4), n).shape == (0, 50)


def test_one_frame_has_no_background() -> None:
    assert principal_traces(np.arange(16, dtype=np.float32)[:, None], (4, 4), "auto").shape == (0, 1)


def test_no_more_than_a_few_whatever_there_is() -> None:
    rng = np.random.default_rng(0)
    blocks = Blocks.of(np.ones((96, 96), bool), 4.0)
    y, x = np.mgrid[:12, :12] / 12
    waves = [np.cos(np.pi * (i * y + j * x)) for i in range(4) for j in range(4)]
    means = np.tensordot(rng.normal(0, 9, (N_FRAMES, 16)), waves, 1).reshape(N_FRAMES, -1).T
    assert len(principal_traces(means.astype(np.float32), blocks.shape, "auto")) <= MOST * 144


@pytest.mark.parametrize("shape", [(1, 200), (200, 1)])
def test_one_pixel_wide_images(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    trace = np.cumsum(rng.normal(size=N_FRAMES))
    blocks = Blocks.of(np.ones(shape, bool), RADIUS)
    movie = np.outer(np.linspace(1, 2, 200), trace) + rng.normal(size=(200, N_FRAMES))
    found = principal_traces(block_means(movie, blocks), blocks.shape, "auto")
    assert len(found) == 1
    assert abs(np.corrcoef(found[0], trace)[0, 1]) > 0.99


def orthonormal(rng: np.random.Generator, n: int, n_frames: int) -> np.ndarray:
    return np.asarray(np.linalg.qr(rng.normal(size=(n_frames, n)))[0].T, np.float32)


def test_joined_backgrounds_are_the_parts_where_nothing_is_cut() -> None:
    rng = np.random.default_rng(0)
    traces = [orthonormal(rng, n, 60) for n in (2, 0, 3)]
    images = [rng.normal(0, 50, (n, size)).astype(np.float32) for n, size in ((2, 30), (0, 8), (3, 41))]
    joined, common = join_backgrounds(images, traces, 5, 8)
    assert common.shape == (5, 60)
    np.testing.assert_allclose(common @ common.T, np.eye(5), atol=1e-5)
    for mine, image, trace in zip(joined, images, traces, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine.T @ common, image.T @ trace, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_what_is_cut_is_the_least(n: int) -> None:
    """No other background of that rank is nearer to the parts' (Eckart and Young)."""
    rng = np.random.default_rng(2)
    traces = [orthonormal(rng, 3, 40) for _ in range(2)]
    images = [(rng.normal(size=(3, 25)) * [[90], [30], [5]]).astype(np.float32) for _ in range(2)]
    joined, common = join_backgrounds(images, traces, n, 25)
    whole = np.concatenate([image.T @ trace for image, trace in zip(images, traces, strict=True)]).astype(float)
    left = whole - np.concatenate([image.T @ common for image in joined])
    values = np.linalg.svd(whole, compute_uv=False)
    assert np.linalg.norm(left) == pytest.approx(np.linalg.norm(values[n:]), rel=1e-3)


def test_the_same_light_in_two_parts_is_one_component() -> None:
    rng = np.random.default_rng(3)
    trace = orthonormal(rng, 1, 200)
    images = [np.full((1, 400), 3, np.float32), np.full((1, 300), -2, np.float32)]
    joined, common = join_backgrounds(images, [trace, -trace], "auto", 300)
    assert len(common) == 1
    np.testing.assert_allclose(joined[0] * common[0, 0], images[0] * trace[0, 0], rtol=1e-4)
    np.testing.assert_allclose(joined[1] * common[0, 0], -images[1] * trace[0, 0], rtol=1e-4)


def test_what_is_no_stronger_than_noise_is_left_out_but_one_stays() -> None:
    rng = np.random.default_rng(4)
    traces = [orthonormal(rng, 2, 100) for _ in range(2)]
    images = [rng.normal(size=(2, 300)).astype(np.float32) for _ in range(2)]
    assert len(join_backgrounds(images, traces, "auto", 300)[1]) == 1
    images[0][0] *= 30
    images[1][1] *= 30
    assert len(join_backgrounds(images, traces, "auto", 300)[1]) == 2


def test_parts_without_a_background_have_none_together() -> None:
    joined, common = join_backgrounds(
        [np.zeros((0, n), np.float32) for n in (4, 6)], [np.zeros((0, 9), "f4")] * 2, 1, 4
    )
    assert [image.shape for image in joined] == [(0, 4), (0, 6)]
    assert common.shape == (0, 9)


def test_transients_of_one_block_are_cut_and_smooth_light_is_not() -> None:
    rng = np.random.default_rng(3)
    shape = (96, 112)
    blocks = Blocks.of(np.ones(shape, bool), RADIUS)
    y, x = np.pi * np.mgrid[: shape[0], : shape[1]] / 112
    images = np.stack([np.ones(shape), np.cos(y), np.cos(x)]).reshape(3, -1)
    traces = np.cumsum(rng.normal(0, 0.3, (3, N_FRAMES)), axis=1)
    behind = block_means(0.2 * images.T @ traces, blocks)
    light = block_means(8 * footprints(shape, [(20, 20), (68, 77)]).T @ transients(rng, 2, N_FRAMES, 10), blocks)
    seen = (behind + light + rng.normal(size=light.shape)).astype(np.float32)
    without = blocks.without_transients(seen)
    change = light - np.median(light, axis=1, keepdims=True)  # what does not change is no transient
    bright = change > 8
    assert bright.sum() > 100
    assert (without <= seen).all()
    assert np.median((seen - behind - light + change)[bright]) > 20
    assert (without - behind - light + change)[bright].max() < 8  # two noises above a median, and noise
    dark = light.max(axis=1) < 0.01
    assert np.abs((without - seen)[dark]).mean() < 0.05  # of noise, little is cut
    centred = traces - traces.mean(axis=1, keepdims=True)
    both = [spanned(centred, principal_traces(some, blocks.shape, 3)).min() for some in (without, seen)]
    assert both[0] > 0.85
    assert both[1] < both[0] - 0.1  # a cell's trace is among the first


def test_few_blocks_stay_as_they_are() -> None:
    blocks = Blocks.of(np.ones(SHAPE, bool), RADIUS)
    means = np.random.default_rng(0).normal(0, 5, (blocks.means.shape[0], 40)).astype(np.float32)
    np.testing.assert_array_equal(blocks.without_transients(means), means)
