"""Joining tiles: each cell once, from the tile that knows it best; each pixel from the tile whose core holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.planted import gaussian
from scipy import sparse

from gpucells.model.components import Components, Rejected
from gpucells.postprocess.join import join_tiles
from gpucells.tiles.grid import Tile, core_weights, cut

SHAPE, N_FRAMES, RADIUS, HALO = (30, 60), 5, 4.0, 12


def image_of(tile: Tile, centre: tuple[float, float]) -> np.ndarray:
    return gaussian(SHAPE, centre)[tile.rows, tile.columns].ravel()


def solved(
    tile: Tile, number: int, centres: list[Any], dropped: list[Any] = (), warnings: tuple[str, ...] = ()
) -> Components:
    """Say of every trace which tile and which cell it is of: 100 x tile + cell; 1000 more for a dropped one."""

    def traces(n: int, first: int = 0) -> np.ndarray:
        return np.repeat(first + 100.0 * number + np.arange(n)[:, None], N_FRAMES, axis=1).astype(np.float32)

    def images(chosen: Any) -> sparse.csr_array:
        rows = [image_of(tile, centre) for centre in chosen]
        return sparse.csr_array(np.asarray(rows, np.float32).reshape(len(rows), tile.n_pixels))

    flat = np.full(tile.n_pixels, number, np.float32)
    field = np.full((3, N_FRAMES), number, np.float32)
    rejected = Rejected(
        images(dropped), traces(len(dropped), 1000), tuple(f"{number}-{i}" for i in range(len(dropped))),
        {"snr": np.arange(len(dropped), dtype=np.float32)},
    )  # fmt: skip
    quality = {"snr": 10 * number + np.arange(len(centres), dtype=np.float32)}
    return Components(
        images(centres), traces(len(centres)), flat, 10 * flat, 100 * flat, field, quality, rejected, warnings
    )


def hats() -> sparse.csr_array:
    """Three nodes: a quarter of the first lies in the left core, the second left, the third right."""
    nodes = np.zeros((3, *SHAPE), np.float32)
    nodes[0, :, 29:33], nodes[1, :, :20], nodes[2, 5, 50] = 1, 1, 1
    return sparse.csr_array(nodes.reshape(3, -1))


def joined(first: Any, second: Any, **more: Any) -> Components:
    tiles = cut(SHAPE, 1, 2, HALO)
    parts = [solved(tiles[0], 1, first, **more), solved(tiles[1], 2, second)]
    return join_tiles(tiles, parts, SHAPE, RADIUS, hats())


def test_one_tile_stays_what_it_is() -> None:
    (tile,) = cut(SHAPE, 1, 1, HALO)
    part = solved(tile, 1, [(10, 10), (20, 45)], [(5, 30)], ("careful",))
    whole = join_tiles([tile], [part], SHAPE, RADIUS, hats())
    assert (whole.footprints != part.footprints).nnz == 0
    np.testing.assert_array_equal(whole.traces, part.traces)
    np.testing.assert_array_equal(whole.field, part.field)
    assert whole.rejected.reasons == part.rejected.reasons
    assert whole.warnings == ("careful",)


def test_footprints_move_to_their_place_on_the_image() -> None:
    whole = joined([(10, 10)], [(20, 45)])
    for image, centre in zip(whole.footprints.toarray(), [(10, 10), (20, 45)], strict=True):
        np.testing.assert_allclose(image.reshape(SHAPE), gaussian(SHAPE, centre), atol=1e-6)
    np.testing.assert_array_equal(whole.traces[:, 0], [100, 200])
    np.testing.assert_array_equal(whole.quality["snr"], [10, 20])


@pytest.mark.parametrize(("column", "owner"), [(28.0, 1), (29.4, 1), (29.6, 2), (31.0, 2)])
def test_a_cell_that_both_tiles_found_is_counted_once(column: float, owner: int) -> None:
    whole = joined([(15, column)], [(15, column)])
    assert whole.traces[:, 0].tolist() == [100 * owner]


def test_a_cell_that_lies_to_either_side_is_neither_lost_nor_doubled() -> None:
    """Its centroid is beyond the border for the tile on the left and for the tile on the right."""
    assert len(joined([(15, 30.4)], [(15, 28.6)]).traces) == 1
    assert len(joined([(15, 28.6)], [(15, 30.4)]).traces) == 1


def test_a_cell_beyond_the_core_stays_if_the_other_tile_missed_it() -> None:
    assert joined([(15, 29.5 + RADIUS)], []).traces[:, 0].tolist() == [100]
    assert len(joined([(15, 29.5 + RADIUS + 0.2)], []).traces) == 0  # too far: the other tile knows better


def test_neighbours_and_doubles_within_one_tile_are_left_alone() -> None:
    assert len(joined([(15, 27.0)], [(15, 32.0)]).traces) == 2  # two cells, little overlap
    assert len(joined([(15, 20), (15, 20)], []).traces) == 2  # merging is for the method to do


def test_pixels_are_those_of_the_core_they_lie_in() -> None:
    whole = joined([], [])
    for image, scale in ((whole.baseline, 1), (whole.noise, 10), (whole.gain, 100)):
        left, right = np.split(image.reshape(SHAPE), [30], axis=1)
        assert (left == scale).all()
        assert (right == 2 * scale).all()


def test_nodes_are_averaged_by_how_much_of_them_lies_in_each_core() -> None:
    np.testing.assert_array_equal(joined([], []).field[:, 0], [1.75, 1, 2])


def test_candidates_that_were_dropped_count_in_their_own_core_only() -> None:
    whole = joined([(10, 10)], [], dropped=[(10, 20), (10, 31), (20, 25)])
    assert whole.rejected.reasons == ("1-0", "1-2")
    np.testing.assert_array_equal(whole.rejected.traces[:, 0], [1100, 1102])
    np.testing.assert_array_equal(whole.rejected.quality["snr"], [0, 2])
    assert whole.rejected.footprints.shape == (2, SHAPE[0] * SHAPE[1])


def test_where_nothing_was_found_there_is_nothing() -> None:
    whole = joined([], [], warnings=("a", "a"))
    assert whole.footprints.shape == (0, SHAPE[0] * SHAPE[1])
    assert whole.traces.shape == (0, N_FRAMES)
    assert whole.quality["snr"].shape == (0,)
    assert whole.warnings == ("a",)


def test_four_tiles_meet_in_one_cell() -> None:
    tiles = cut(SHAPE, 2, 2, HALO)
    parts = [solved(tile, number, [(14.7, 29.7)]) for number, tile in enumerate(tiles, 1)]
    assert join_tiles(tiles, parts, SHAPE, RADIUS, hats()).traces[:, 0].tolist() == [400]


def test_a_tile_may_bring_only_the_nodes_of_its_core() -> None:
    tiles = cut(SHAPE, 1, 2, HALO)
    parts = [solved(tile, number, []) for number, tile in enumerate(tiles, 1)]
    whole = join_tiles(tiles, parts, SHAPE, RADIUS, hats())
    for i, weights in enumerate(core_weights(tiles, hats(), SHAPE)):
        nodes = np.flatnonzero(weights)
        parts[i] = replace(parts[i], field=parts[i].field[nodes], nodes=nodes)
    assert any(len(part.nodes) < 3 for part in parts)
    np.testing.assert_allclose(join_tiles(tiles, parts, SHAPE, RADIUS, hats()).field, whole.field)
