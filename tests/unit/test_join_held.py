"""Joining tiles that were solved for given footprints: nobody is lost, merged, or put out of order."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference.planted import footprints
from scipy import sparse

from gpucells.model.components import Components, Rejected
from gpucells.postprocess.join import join_tiles
from gpucells.tiles.given_footprints import of_tile
from gpucells.tiles.grid import Tile

SHAPE, N_FRAMES = (20, 60), 7
NODES = sparse.csr_array(np.ones((2, SHAPE[0] * SHAPE[1]), np.float32))
# right, left, on the border, and twice the same cell: all must stay
CENTRES = [(10, 50), (10, 10), (10, 31), (10, 29), (10, 29)]


def tile(core: slice, columns: slice) -> Tile:
    rows = slice(0, SHAPE[0])
    return Tile(rows, core, rows, columns)


def solved(box: Tile, cells: Any, number: float) -> Components:
    """Say of every trace which tile and which cell it is of."""
    held, index = of_tile(box, cells, SHAPE[1])
    traces = np.repeat((100 * number + index)[:, None], N_FRAMES, axis=1).astype(np.float32)
    image = np.full(box.shape[0] * box.shape[1], number, np.float32)
    nobody = Rejected(held[:0], traces[:0], (), {"snr": np.zeros(0, np.float32)})
    field = np.zeros((2, N_FRAMES), np.float32)
    return Components(held, traces, image, image, image, field, {"snr": index.astype(np.float32)}, nobody, ("same",))


def test_every_cell_keeps_its_place_and_has_its_own_tiles_trace() -> None:
    cells = footprints(SHAPE, CENTRES)
    tiles = [tile(slice(0, 30), slice(0, 40)), tile(slice(30, 60), slice(20, 60))]
    parts = [solved(box, cells, number) for number, box in enumerate(tiles, 1)]
    joined = join_tiles(tiles, parts, SHAPE, 4.0, NODES, cells)
    assert (sparse.csr_array(joined.footprints) != cells).nnz == 0
    np.testing.assert_array_equal(joined.traces[:, 0], [200, 101, 202, 103, 104])
    np.testing.assert_array_equal(joined.quality["snr"], np.arange(5))
    assert joined.baseline.reshape(SHAPE)[:, 29:31].tolist() == [[1, 2]] * SHAPE[0]
    assert joined.rejected.footprints.shape == (0, SHAPE[0] * SHAPE[1])
    assert joined.warnings == ("same",)


def test_no_cells_at_all() -> None:
    nothing = sparse.csr_array((0, SHAPE[0] * SHAPE[1]), dtype=np.float32)
    box = tile(slice(0, 60), slice(0, 60))
    joined = join_tiles([box], [solved(box, nothing, 1)], SHAPE, 4.0, NODES, nothing)
    assert joined.traces.shape == (0, N_FRAMES)
