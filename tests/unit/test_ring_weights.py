"""The ring model: where rings are, what does not count, and what a transient does to the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError
from gpucells.ops import ring_weights as module
from gpucells.ops.ring_weights import ring_background, ring_offsets, ring_weights


def movie(height: int = 12, width: int = 15, n_frames: int = 200) -> Any:
    rng = np.random.default_rng(7)
    common = rng.normal(size=(4, n_frames)).cumsum(axis=1)
    images = 1 + 0.2 * rng.random((height, width, 4))
    return (50 + images @ common + 0.3 * rng.normal(size=(height, width, n_frames))).astype("f4")


@pytest.mark.parametrize(("radius", "n"), [(1, 8), (5, 40), (9, 56), (2.5, 16)])
def test_a_ring_is_one_block_wide(radius: float, n: int) -> None:
    offsets = ring_offsets(radius)
    distance = np.hypot(*offsets.T)
    assert len(offsets) == n
    assert ((distance >= radius) & (distance < radius + 1)).all()
    np.testing.assert_array_equal(offsets, -offsets[::-1])


@pytest.mark.parametrize("radius", [0, 0.9, np.nan, np.inf])
def test_a_ring_without_a_hole_is_refused(radius: float) -> None:
    with pytest.raises(InputError, match="radius"):
        ring_offsets(radius)


def test_a_ring_larger_than_the_image_tells_nothing() -> None:
    blocks = movie(5, 4)
    found = ring_weights(blocks, np.ones((5, 4), bool), ring_offsets(30))
    assert found.weights.nnz == 0
    assert not found.explained.any()
    means = np.broadcast_to(blocks.mean(axis=2, keepdims=True, dtype=float), blocks.shape)
    np.testing.assert_allclose(ring_background(found, blocks), means, rtol=1e-6)


@pytest.mark.parametrize("n_frames", [0, 1])
@pytest.mark.parametrize("ridge", [0, 1e-3])
def test_nothing_varies_in_one_frame(n_frames: int, ridge: float) -> None:
    blocks = movie()[..., :n_frames].copy()
    found = ring_weights(blocks, np.ones((12, 15), bool), ring_offsets(2), ridge, 3, np.ones((12, 15), "f4"))
    assert not found.weights.data.any()
    assert not found.explained.any()
    np.testing.assert_array_equal(ring_background(found, blocks), blocks)


@pytest.mark.parametrize("ridge", [0, 1e-3])
def test_constant_blocks_neither_tell_nor_are_told(ridge: float) -> None:
    blocks = movie()
    blocks[3:9, 4:10] = 7
    found = ring_weights(blocks, np.ones((12, 15), bool), ring_offsets(2), ridge)
    constant = np.flatnonzero((blocks == 7).all(axis=2))
    weights = found.weights.toarray()
    assert np.isfinite(weights).all()
    assert not weights[constant].any()
    assert not weights[:, constant].any()
    assert not found.explained[constant].any()


def test_equal_neighbours_without_ridge_still_predict() -> None:
    blocks = movie()
    blocks[4:6, 4:6] = blocks[4, 4]  # singular: which of them has the weight does not matter
    found = ring_weights(blocks, np.ones((12, 15), bool), ring_offsets(2), 0)
    assert np.isfinite(found.weights.data).all()
    assert np.abs(found.weights.data).max() < 5


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_what_does_not_count_does_not_matter(bad: float, limit: float | None) -> None:
    blocks, inside = movie(), np.ones((12, 15), bool)
    inside[2:4, 5:9] = inside[-1] = False
    clean = blocks * inside[..., None]
    blocks[~inside] = bad
    blocks[-1, ::2, ::3] = -bad
    ones = np.ones((12, 15), "f4")
    found, wanted = (ring_weights(b, inside, ring_offsets(3), 1e-3, limit, ones) for b in (blocks, clean))
    np.testing.assert_array_equal(found.weights.toarray(), wanted.weights.toarray())
    for name in ("explained", "means"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert np.isfinite(found.weights.data).all()
    assert found.weights.indptr[-1] == found.weights.indptr[-16]  # the last row has none
    np.testing.assert_array_equal(ring_background(found, blocks), ring_background(wanted, clean))


def test_nothing_inside() -> None:
    blocks = np.full((6, 20, 9), np.nan, "f4")
    found = ring_weights(blocks, np.zeros((6, 20), bool), ring_offsets(2), 1e-3, 3, np.ones((6, 20), "f4"))
    assert found.weights.shape == (120, 120)
    assert found.weights.nnz == 0
    assert not ring_background(found, blocks).any()


@pytest.mark.parametrize("shape", [(0, 5, 4), (5, 0, 4)])
def test_no_blocks(shape: tuple[int, int, int]) -> None:
    blocks = np.zeros(shape, "f4")
    found = ring_weights(blocks, np.zeros(shape[:2], bool), ring_offsets(2))
    assert found.weights.shape == (0, 0)
    assert ring_background(found, blocks).shape == shape


def test_a_transient_turns_the_weights_only_without_a_limit() -> None:
    blocks, inside, at = movie(n_frames=400), np.ones((12, 15), bool), 6 * 15 + 7
    noise, offsets = np.full((12, 15), 0.35, "f4"), ring_offsets(2)
    clean = ring_weights(blocks, inside, offsets).weights.toarray()[at]
    # When two neighbours are, by chance, farthest apart: then they seem to explain what no background does.
    when = np.argsort(blocks[6, 9] - blocks[6, 5])[-20:]
    fired = blocks.copy()
    fired[6, 7, when] += 15
    plain = ring_weights(fired, inside, offsets).weights.toarray()[at]
    robust = ring_weights(fired, inside, offsets, limit=5, noise=noise).weights.toarray()[at]
    assert np.abs(plain - clean).max() > 0.1
    assert np.abs(robust - clean).max() < 0.2 * np.abs(plain - clean).max()


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, inside = movie(), np.ones((12, 15), bool)
    noise = np.ones((12, 15), "f4")
    wanted = ring_weights(blocks, inside, ring_offsets(4), limit=3, noise=noise)
    for rows, columns, frames in ((1, 1, 7), (5, 4, 200), (100, 100, 99)):
        for name, value in (("TILE_ROWS", rows), ("TILE_COLUMNS", columns), ("FRAMES", frames)):
            monkeypatch.setattr(module, name, value)
        found = ring_weights(blocks, inside, ring_offsets(4), limit=3, noise=noise)
        np.testing.assert_allclose(found.weights.toarray(), wanted.weights.toarray(), rtol=0, atol=1e-6)


def test_few_rows_of_products_are_kept() -> None:
    blocks = np.zeros((200, 20, 1), "f4")
    fit = module._Fit(blocks, np.ones((200, 20), bool), ring_offsets(9), 1e-3)
    assert fit.n_held * module.TILE_ROWS <= 2 * 9 + 2 * module.TILE_ROWS


def test_wrong_arguments_are_refused() -> None:
    blocks, inside, offsets = movie(), np.ones((12, 15), bool), ring_offsets(2)
    for wrong in (blocks.astype("f8"), blocks[..., ::2], blocks[0]):
        with pytest.raises(InputError, match="C order"):
            ring_weights(wrong, inside, offsets)
    with pytest.raises(InputError, match="inside"):
        ring_weights(blocks, inside[1:], offsets)
    with pytest.raises(InputError, match="own ring"):
        ring_weights(blocks, inside, [[0, 0], [1, 1]])
    for noise in (None, np.ones(3)):
        with pytest.raises(InputError, match="limit"):
            ring_weights(blocks, inside, offsets, limit=3, noise=noise)
    found = ring_weights(blocks, inside, offsets)
    with pytest.raises(InputError, match="do not fit"):
        ring_background(found, blocks[1:])
    with pytest.raises(InputError, match="do not fit"):
        ring_background(found, blocks, slice(None, None, 2))
