"""Whatever the image, the halo and the budget: cores partition the image, halos are as wide as asked, tiles fit."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gpucells.errors import DeviceMemoryError
from gpucells.model.components import Components, Rejected
from gpucells.tiles.grid import BYTES_PER_SAMPLE, Room, Tile, cut, halves, plan_tiles
from gpucells.tiles.recovery import SplittingSolver

shapes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def check_boxes(tiles: list[Tile], shape: tuple[int, int], halo: int) -> None:
    covered = np.zeros(shape, int)
    for tile in tiles:
        covered[tile.core_rows, tile.core_columns] += 1
        for core, outer, size in (
            (tile.core_rows, tile.rows, shape[0]),
            (tile.core_columns, tile.columns, shape[1]),
        ):
            assert core.start < core.stop
            assert outer.start == max(0, core.start - halo)
            assert outer.stop == min(size, core.stop + halo)
        image = np.arange(shape[0] * shape[1]).reshape(shape)
        box = image[tile.rows, tile.columns]
        assert box.shape == tile.shape
        np.testing.assert_array_equal(box[tile.core_within], image[tile.core_rows, tile.core_columns])
    assert (covered == 1).all()


@given(shapes, st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_cores_partition_the_image(shape: tuple[int, int], n_rows: int, n_columns: int, halo: int) -> None:
    n_rows, n_columns = min(n_rows, shape[0]), min(n_columns, shape[1])
    tiles = cut(shape, n_rows, n_columns, halo)
    assert len(tiles) == n_rows * n_columns
    check_boxes(tiles, shape, halo)
    sizes = [tile.core_rows.stop - tile.core_rows.start for tile in tiles]
    assert max(sizes) - min(sizes) <= 1


@given(shapes, st.integers(1, 50), st.integers(0, 30), st.integers(1, 5_000_000))
def test_tiles_fit_the_budget(shape: tuple[int, int], n_frames: int, halo: int, budget: int) -> None:
    try:
        tiles = plan_tiles(shape, n_frames, halo, Room(budget))
    except DeviceMemoryError:
        # then not even a core about as wide as the halo fits, with its halo
        side = [min(size, 3 * max(halo, 1) + 1) for size in shape]
        assert side[0] * side[1] * n_frames * BYTES_PER_SAMPLE > budget or max(shape) <= 2 * max(halo, 1)
        return
    check_boxes(tiles, shape, halo)
    assert max(tile.n_pixels for tile in tiles) * n_frames * BYTES_PER_SAMPLE <= budget


rooms = st.builds(Room, st.integers(1, 5_000_000), st.floats(0.5, 40))


@given(shapes, st.integers(1, 50), st.integers(0, 30), st.lists(rooms, min_size=1, max_size=3))
def test_tiles_fit_every_memory(shape: tuple[int, int], n_frames: int, halo: int, memories: list[Room]) -> None:
    try:
        tiles = plan_tiles(shape, n_frames, halo, *memories)
    except DeviceMemoryError:
        return
    check_boxes(tiles, shape, halo)
    most = max(tile.n_pixels for tile in tiles)
    assert all(room.needed_bytes(most, n_frames) <= room.n_bytes for room in memories)


@given(shapes, st.integers(1, 4), st.integers(1, 4), st.integers(0, 40), st.integers(1, 9000), st.randoms())
def test_tiles_that_fail_are_split_until_they_fit(
    shape: tuple[int, int], n_rows: int, n_columns: int, halo: int, most_pixels: int, random: Any
) -> None:
    """Cores still partition the image, halos are as wide as asked, no part reads beyond what was read for the whole."""
    failed: list[int] = []

    def solve_one(tile: Tile) -> Components:
        if tile.n_pixels > most_pixels:
            failed.append(tile.n_pixels)
            raise RuntimeError("cudaErrorMemoryAllocation: out of memory")
        return nothing(tile)

    planned = cut(shape, min(n_rows, shape[0]), min(n_columns, shape[1]), halo)
    random.shuffle(planned)
    solver, solved = SplittingSolver(solve_one, shape, halo, "cuda:0"), []
    try:
        with patch("gpucells.tiles.recovery.free_pools"):  # collects garbage, which takes long here
            for tile in planned:
                parts = solver.solve(tile)
                assert all(tile.holds(part) for part, _ in parts)
                solved += parts
    except DeviceMemoryError:
        smallest = min(failed)
        assert smallest > most_pixels
        assert all(pixels >= smallest for pixels in failed)
    else:
        check_boxes([tile for tile, _ in solved], shape, halo)
        assert max(tile.n_pixels for tile, _ in solved) <= most_pixels
        assert sum(len(part.warnings) for _, part in solved) == len(failed)
    assert failed == sorted(set(failed), reverse=True), "no size is tried twice in vain"


@given(shapes, st.integers(0, 40))
def test_halves_end_at_the_smallest_useful_tile(shape: tuple[int, int], halo: int) -> None:
    waiting = cut(shape, 1, 1, halo)
    while waiting:
        tile = waiting.pop()
        found = halves(tile, shape, halo)
        sides = sorted(core.stop - core.start for core in (tile.core_rows, tile.core_columns))
        if found is None:
            assert sides[1] == 1 or max(sides[1] / 2, sides[0]) < max(halo, 1)
        else:
            assert max(sides[1] / 2, sides[0]) >= halo
            waiting += found


def nothing(tile: Tile) -> Components:
    none, nobody, image = sparse.csr_array((0, tile.n_pixels)), np.zeros((0, 1)), np.zeros(tile.n_pixels)
    return Components(none, nobody, image, image, image, nobody, {}, Rejected(none, nobody, (), {}))
