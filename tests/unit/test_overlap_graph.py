"""Pairs of footprints and nodes of the field, found where they must be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference.overlap_graph import node_pairs
from reference.planted import footprints
from scipy import sparse

from gpucells.ops.bilinear import Bilinear
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.pixel_tiles import PixelTiles

SHAPE = (23, 31)
CENTRES = [(3, 3), (3, 5), (12, 15.5), (22, 30), (11, 17), (12, 15)]


def field(spacing: float) -> Bilinear:
    rows, columns = slice(0, SHAPE[0]), slice(0, SHAPE[1])
    return Bilinear.between(rows, columns, np.arange(-1, 40, spacing), np.arange(-2, 40, spacing))


@pytest.mark.parametrize("spacing", [3.0, 7.0, 20.0])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_entry_knows_the_slots_of_the_nodes_around_it(spacing: float, shuffled: bool) -> None:
    cells, nodes = footprints(SHAPE, CENTRES), field(spacing)
    given = cells
    if shuffled:  # entries of a footprint need not come in the order of their pixels
        order = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(cells.indptr, cells.indptr[1:], strict=False)])
        given = sparse.csr_array((cells.data[order], cells.indices[order], cells.indptr), shape=cells.shape)
    graph = OverlapGraph.of(given, nodes)
    slot_of = {}
    for component in range(graph.n_components):
        for edge in range(graph.edge_start[component], graph.edge_start[component + 1]):
            slot_of[component, int(graph.edge_cell[edge])] = int(graph.edge_slot[edge])
    wanted = node_pairs(cells.toarray().reshape(-1, *SHAPE), nodes)
    assert len(graph.near) == len(wanted)
    for at, (row, cell, above, below) in zip(graph.near, wanted, strict=True):
        first = graph.near_start[row] + at
        assert first + 1 < graph.near_start[row + 1]
        slots = [slot_of[cell, node] for node in (above, below, above + 1, below + 1)]
        np.testing.assert_array_equal(graph.near_slot[first : first + 2].ravel(), slots)


def test_another_gain_changes_no_more_than_it_must() -> None:
    cells, nodes, rng = footprints(SHAPE, CENTRES), field(7.0), np.random.default_rng(0)
    gain = rng.uniform(0.5, 2, SHAPE[0] * SHAPE[1]).astype(np.float32)
    one, two, *_ = np.flatnonzero(cells.toarray().sum(axis=0) == 0)  # pixels of no footprint
    gain[one] = 0
    graph = OverlapGraph.of(cells, nodes, gain)
    tiles = PixelTiles.of(graph)
    found, wanted = graph.with_gain(3 * gain), OverlapGraph.of(cells, nodes, 3 * gain)
    assert found is not None
    for name in (field.name for field in dataclasses.fields(graph) if field.name != "field"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert PixelTiles.of(found) is tiles  # no gain in them
    np.testing.assert_array_equal(graph.gain, OverlapGraph.of(cells, nodes, gain).gain)
    gain[one] = 1
    assert graph.with_gain(gain) is None  # a pixel more
    gain[[one, two]] = 0
    assert graph.with_gain(gain) is None  # and one less
