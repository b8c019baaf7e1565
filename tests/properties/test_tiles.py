"""Whatever the image, the halo and the budget: cores partition the image, halos are as wide as asked, tiles fit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpucells.errors import DeviceMemoryError
from gpucells.tiles.grid import BYTES_PER_SAMPLE, Tile, cut, plan_tiles

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
        tiles = plan_tiles(shape, n_frames, halo, budget)
    except DeviceMemoryError:
        # then not even a core about as wide as the halo fits, with its halo
        side = [min(size, 3 * max(halo, 1) + 1) for size in shape]
        assert side[0] * side[1] * n_frames * BYTES_PER_SAMPLE > budget or max(shape) <= 2 * max(halo, 1)
        return
    check_boxes(tiles, shape, halo)
    assert max(tile.n_pixels for tile in tiles) * n_frames * BYTES_PER_SAMPLE <= budget
