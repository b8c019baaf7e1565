"""Tiles: their boxes, and how many there are."""

from __future__ import annotations

import pytest

from gpucells.errors import DeviceMemoryError
from gpucells.tiles.grid import BYTES_PER_SAMPLE, Tile, cut, plan_tiles


def test_one_tile_is_the_image() -> None:
    (tile,) = cut((30, 41), 1, 1, 7)
    assert tile == Tile(slice(0, 30), slice(0, 41), slice(0, 30), slice(0, 41))
    assert (tile.shape, tile.n_pixels) == ((30, 41), 30 * 41)
    assert tile.core_within == (slice(0, 30), slice(0, 41))


def test_halos_end_at_the_border() -> None:
    tiles = cut((20, 40), 1, 2, 6)
    assert [tile.core_columns for tile in tiles] == [slice(0, 20), slice(20, 40)]
    assert [tile.columns for tile in tiles] == [slice(0, 26), slice(14, 40)]
    assert [tile.core_within for tile in tiles] == [(slice(0, 20), slice(0, 20)), (slice(0, 20), slice(6, 26))]


def test_what_fits_is_not_cut() -> None:
    fits = int(100 * 60 * 50 * BYTES_PER_SAMPLE)
    assert len(plan_tiles((100, 60), 50, 10, fits)) == 1
    assert len(plan_tiles((100, 60), 50, 10, fits - 1)) == 2


def test_the_longer_side_is_cut_first() -> None:
    whole = int(200 * 50 * 50 * BYTES_PER_SAMPLE)
    tiles = plan_tiles((200, 50), 50, 8, whole * 3 // 4)
    assert [tile.core_rows for tile in tiles] == [slice(0, 100), slice(100, 200)]
    assert {(tile.core_columns.start, tile.core_columns.stop) for tile in tiles} == {(0, 50)}


def test_a_budget_that_no_tile_fits_is_refused() -> None:
    with pytest.raises(DeviceMemoryError, match=r"smallest tile .* needs \d+ MB, 1\.0 MB are left") as caught:
        plan_tiles((512, 512), 10_000, 20, 10**6)
    assert "--memory" in caught.value.hint
