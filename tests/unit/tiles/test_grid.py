"""Tiles: their boxes, and how many there are."""

from __future__ import annotations

import pytest

from gpucells.errors import DeviceMemoryError
from gpucells.tiles.grid import BYTES_PER_SAMPLE, Room, Tile, cut, halves, plan_tiles


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
    assert len(plan_tiles((100, 60), 50, 10, Room(fits))) == 1
    assert len(plan_tiles((100, 60), 50, 10, Room(fits - 1))) == 2


def test_the_longer_side_is_cut_first() -> None:
    whole = int(200 * 50 * 50 * BYTES_PER_SAMPLE)
    tiles = plan_tiles((200, 50), 50, 8, Room(whole * 3 // 4))
    assert [tile.core_rows for tile in tiles] == [slice(0, 100), slice(100, 200)]
    assert {(tile.core_columns.start, tile.core_columns.stop) for tile in tiles} == {(0, 50)}


def test_each_memory_has_to_hold_a_tile() -> None:
    whole = 200 * 50 * 50
    host, device = Room(5 * whole, 5.0), Room(3 * whole, 4.0, "--device-memory")
    assert len(plan_tiles((200, 50), 50, 8, host)) == 1
    assert len(plan_tiles((200, 50), 50, 8, host, device)) == len(plan_tiles((200, 50), 50, 8, device)) == 2


@pytest.mark.parametrize(
    ("shape", "halo_px", "share", "n_devices", "grid"),
    [
        ((100, 100), 5, 1, 1, (1, 1)),
        ((100, 100), 5, 1, 2, (1, 2)),
        ((100, 100), 5, 1, 3, (1, 3)),
        ((100, 100), 5, 1, 4, (2, 2)),
        ((40, 300), 5, 1, 4, (1, 4)),
        ((100, 100), 5, 0.2, 1, (3, 3)),
        ((100, 100), 5, 0.2, 2, (2, 5)),  # five turns for 10 smaller tiles as for 9
        ((100, 100), 5, 0.2, 3, (3, 3)),
        ((512, 512), 30, 0.1, 8, (4, 8)),
        ((10, 24), 10, 1, 3, (1, 2)),  # the middle third with its halos is the whole
        ((10, 10), 10, 1, 2, (1, 1)),  # each half with its halo is the whole
        ((1, 1), 5, 1, 8, (1, 1)),
    ],
)
def test_every_device_gets_a_tile_where_the_image_is_large_enough(
    shape: tuple[int, int], halo_px: int, share: float, n_devices: int, grid: tuple[int, int]
) -> None:
    room = Room(int(share * shape[0] * shape[1] * 50 * BYTES_PER_SAMPLE))
    tiles = plan_tiles(shape, 50, halo_px, room, n_devices=n_devices)
    assert (len({tile.core_rows.start for tile in tiles}), len({tile.core_columns.start for tile in tiles})) == grid
    assert all(room.needed_bytes(tile.n_pixels, 50) <= room.n_bytes for tile in tiles)


def test_halves_are_cut_across_the_longer_side_and_keep_their_halo() -> None:
    (whole,) = cut((20, 41), 1, 1, 6)
    left, right = halves(whole, (20, 41), 6) or ()
    assert left == Tile(slice(0, 20), slice(0, 20), slice(0, 20), slice(0, 26))
    assert right == Tile(slice(0, 20), slice(20, 41), slice(0, 20), slice(14, 41))
    assert whole.holds(left)
    assert not left.holds(right)
    assert right.within(whole) == (slice(0, 20), slice(14, 41))
    upper, _ = halves(left, (20, 41), 6) or ()
    assert upper == Tile(slice(0, 10), slice(0, 20), slice(0, 16), slice(0, 26))
    assert halves(upper, (20, 41), 11) is None  # 10 x 10 is smaller than its halo


def test_a_budget_that_no_tile_fits_is_refused() -> None:
    with pytest.raises(DeviceMemoryError, match=r"smallest tile .* needs \d+ MB, 1\.0 MB are left") as caught:
        plan_tiles((512, 512), 10_000, 20, Room(10**6))
    assert "--memory" in caught.value.hint
    with pytest.raises(DeviceMemoryError) as caught:
        plan_tiles((512, 512), 10_000, 20, Room(10**12), Room(10**6, 4.0, "--device-memory"))
    assert "--device-memory" in caught.value.hint
