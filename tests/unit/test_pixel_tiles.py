"""The tiles of an image: every pixel once, every sum of the graph from its parts, nothing larger than it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints
from scipy import sparse

from gpucells.ops.bilinear import Bilinear
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.pixel_tiles import MOST_PIXELS, MOST_ROWS, NODE_ROWS, SIDE, PixelTiles

SHAPE = (70, 60)
# Nodes 23 px apart, and an image that goes on below them: gaps of more pixels than a tile may have, and longer ones.
FIELD = Bilinear.between(slice(0, 70), slice(0, 60), np.linspace(0, 46, 3), np.linspace(-3, 66, 4))


def graph_of(n_cells: int, with_field: bool, width: float = 4.0) -> OverlapGraph:
    centres = np.random.default_rng(0).uniform(0, SHAPE, (n_cells, 2))
    return OverlapGraph.of(footprints(SHAPE, centres, width), FIELD if with_field else None)


@pytest.fixture(params=[(0, True), (1, False), (1, True), (50, False), (50, True)], ids=str)
def graph(request: pytest.FixtureRequest) -> OverlapGraph:
    return graph_of(*request.param)


def cells_of_runs(tiles: PixelTiles) -> list[Any]:
    tile_of_run = np.repeat(np.arange(tiles.n_tiles), np.diff(tiles.first_run))
    found = []
    for t, (_, _, n, place, _) in zip(tile_of_run, tiles.runs[:-1], strict=True):
        found.append(tiles.cells[tiles.first_cell[t] + tiles.places[place : place + n]])
    return found


def test_every_pixel_is_in_one_run_of_its_footprints_and_weights(graph: OverlapGraph) -> None:
    tiles = PixelTiles.of(graph)
    np.testing.assert_array_equal(np.sort(tiles.order), np.arange(len(graph.pixels)))
    ends = tiles.runs[1:, 0]
    for (first, weight, n, _, _), end, cells in zip(tiles.runs[:-1], ends, cells_of_runs(tiles), strict=True):
        assert first < end
        for i, p in enumerate(tiles.order[first:end]):
            entries = slice(graph.start[p], graph.start[p + 1])
            np.testing.assert_array_equal(cells, graph.cells[entries])
            some = tiles.weights[weight + i * n : weight + (i + 1) * n]
            np.testing.assert_array_equal(some, graph.weights[entries])


def test_tiles_are_as_small_as_they_must_be(graph: OverlapGraph) -> None:
    tiles, with_field = PixelTiles.of(graph), graph.field.n_nodes > 0
    row, column = np.divmod(graph.pixels[tiles.order], SHAPE[1])
    rows = np.diff(tiles.first_row) - NODE_ROWS * with_field + np.diff(tiles.first_cell)
    assert (rows[~tiles.crowded] <= MOST_ROWS).all()
    for t in range(tiles.n_tiles):
        runs = tiles.runs[tiles.first_run[t] : tiles.first_run[t + 1] + 1]
        inside = slice(runs[0, 0], runs[-1, 0])
        assert inside.stop - inside.start <= MOST_PIXELS
        if with_field:
            assert len(np.unique(FIELD.row_node[row[inside]])) == len(np.unique(FIELD.column_node[column[inside]])) == 1
            assert np.ptp(row[inside]) < SIDE
            y = row[runs[:-1, 0]]
            np.testing.assert_array_equal(runs[:-1, 4], np.append(np.diff(y) != 0, True))
            shares = tiles.share[tiles.first_run[t] : tiles.first_run[t + 1]]
            np.testing.assert_array_equal(shares, FIELD.row_share[y])


def curvature_from_tiles(graph: OverlapGraph, tiles: PixelTiles) -> tuple[Any, Any]:
    """Return gradient and curvature where every sample's residual is 1, from the partial sums."""
    partial, hats = np.zeros(tiles.n_partial), graph.field
    near = 4 if hats.n_nodes else 0
    tile_of_run = np.repeat(np.arange(tiles.n_tiles), np.diff(tiles.first_run))
    for k, t in enumerate(tile_of_run):
        first, weight, n, place, _ = tiles.runs[k]
        at, n_cells, v = tiles.first_row[t], np.diff(tiles.first_cell)[t], tiles.share[k]
        sums = partial[at : tiles.first_row[t + 1]]
        local = tiles.places[place : place + n * (n + 1) // 2]
        for i, p in enumerate(tiles.order[first : tiles.runs[k + 1, 0]]):
            w = tiles.weights[weight + i * n : weight + (i + 1) * n].astype(float)
            if near:
                b = graph.gain[p] * hats.column_share[graph.column[p]]
                a = graph.gain[p] - b
                node = np.array([a * (1 - v), b * (1 - v), a * v, b * v])
                sums[:4] += node
                pairs = [(0, 0), (0, 2), (2, 2), (1, 1), (1, 3), (3, 3), (0, 1), (0, 3), (2, 1), (2, 3)]
                sums[4:NODE_ROWS] += [node[i] * node[j] for i, j in pairs]
            own = sums[NODE_ROWS if near else 0 :]
            for j in range(n):
                own[local[j]] += w[j]
                own[n_cells + local[j]] += w[j] ** 2
                if near:
                    own[2 * n_cells + 4 * local[j] :][:4] += w[j] * node
            both = [w[i] * w[j] for i in range(n) for j in range(i + 1, n)]
            own[(2 + near) * n_cells + local[n:]] += both
    sums = np.array([
        partial[tiles.sum_row[a:b]].sum() for a, b in zip(tiles.sum_start[:-1], tiles.sum_start[1:], strict=True)
    ])  # fmt: skip
    return sums[: graph.n_components], sums[graph.n_components :]


def test_the_parts_of_all_tiles_are_the_gram_matrix(graph: OverlapGraph) -> None:
    tiles = PixelTiles.of(graph)
    assert len(tiles.sum_row) == tiles.n_partial
    gradient, curvature = curvature_from_tiles(graph, tiles)
    n_cells = graph.n_components - graph.field.n_nodes
    cells = sparse.csr_array(
        (graph.weights.astype(float), (graph.cells, np.repeat(graph.pixels, np.diff(graph.start)))),
        shape=(n_cells, SHAPE[0] * SHAPE[1]),
    )  # fmt: skip
    hats = graph.field.images() if graph.field.n_nodes else sparse.csr_array((0, SHAPE[0] * SHAPE[1]))
    dense = sparse.vstack([cells, hats]).toarray()
    gram = dense @ dense.T
    np.testing.assert_allclose(gradient, dense.sum(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(curvature[: graph.n_components], np.diag(gram), rtol=1e-5, atol=1e-5)
    for c in range(graph.n_components):
        edges = slice(graph.edge_start[c], graph.edge_start[c + 1])
        seen = curvature[graph.edge_slot[edges]]
        np.testing.assert_allclose(seen, gram[c, graph.edge_cell[edges]], rtol=1e-4, atol=1e-5)


def test_crowded_pixels_have_tiles_of_their_own() -> None:
    tiles = PixelTiles.of(graph_of(50, with_field=True, width=6.0))
    rows = np.diff(tiles.first_row) - NODE_ROWS + np.diff(tiles.first_cell)
    assert tiles.crowded.any()
    assert (rows[tiles.crowded] > MOST_ROWS).all()
    assert not PixelTiles.of(graph_of(1, with_field=True)).crowded.any()


def test_a_graph_keeps_its_tiles() -> None:
    graph = graph_of(3, with_field=False)
    assert PixelTiles.of(graph) is PixelTiles.of(graph)
