"""Bilinear hats, and the graph that solvers use with them."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import footprints
from scipy import sparse

from gpucells.ops.bilinear import Bilinear
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.robust_traces import robust_traces

SHAPE = (23, 31)
ROWS, COLUMNS = np.linspace(0, 22, 4), np.linspace(0, 30, 5)


def box(rows: slice, columns: slice) -> Bilinear:
    return Bilinear.between(rows, columns, ROWS, COLUMNS)


WHOLE = box(slice(0, 23), slice(0, 31))


def test_hats_are_one_at_their_node_and_add_up_to_one() -> None:
    images = WHOLE.images()
    assert images.shape == (20, 23 * 31)
    assert images.dtype == np.float32
    assert WHOLE.shape == SHAPE
    np.testing.assert_allclose(images.sum(axis=0), 1, atol=1e-6)
    plane = np.add.outer(3 * ROWS, COLUMNS).ravel() @ images.toarray()  # a plane is what its nodes say
    np.testing.assert_allclose(plane.reshape(SHAPE), np.add.outer(3 * np.arange(23), np.arange(31)), atol=1e-3)


def test_a_box_shows_its_part_of_the_whole() -> None:
    rows, columns = slice(7, 19), slice(11, 31)
    part = box(rows, columns).images().toarray().reshape(20, 12, 20)
    np.testing.assert_allclose(part, WHOLE.images().toarray().reshape(20, *SHAPE)[:, rows, columns], atol=1e-6)


def test_no_hats() -> None:
    none = Bilinear.none(4, 6)
    assert none.n_nodes == 0
    assert none.images().shape == (0, 24)
    assert OverlapGraph.of(sparse.csr_array((0, 24), dtype=np.float32), none).n_components == 0


@pytest.mark.parametrize("n_cells", [0, 3])
def test_a_field_gives_what_its_hats_as_footprints_give(n_cells: int) -> None:
    """Rows of nodes are only a shorter way: the same problem with each hat as one more footprint is the reference."""
    rng = np.random.default_rng(4)
    cells = sparse.csr_array(footprints(SHAPE, [(4, 3), (5, 6), (12, 20)])[:n_cells], dtype=np.float32)
    gain = rng.uniform(0.5, 1.5, 23 * 31).astype(np.float32)
    gain[rng.random(len(gain)) < 0.1] = 0
    both = sparse.csr_array(sparse.vstack([cells, WHOLE.images() @ sparse.diags_array(gain)]), dtype=np.float32)
    truth = rng.normal(size=(both.shape[0], 200)).astype(np.float32)
    truth[:n_cells] = rng.exponential(5, (n_cells, 200))
    movie = (both.T @ truth + rng.normal(size=(23 * 31, 200))).astype(np.float32)
    movie += (rng.random(movie.shape) < 0.05) * np.float32(10)
    kappa = np.full(len(movie), 1.0, np.float32)
    lower = np.full(both.shape[0], -np.inf, np.float32)
    lower[:n_cells] = 0
    wanted, wanted_loss = robust_traces(movie, both, kappa, lower=lower, n_steps=20, tolerance=1e-5)
    graph = OverlapGraph.of(cells, WHOLE, gain)
    found, loss = robust_traces(movie, cells, kappa, lower=lower, n_steps=20, tolerance=1e-5, graph=graph)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    np.testing.assert_allclose(graph.energy, both.multiply(both).sum(axis=1), rtol=1e-5)
    assert len(np.unique(graph.edge_slot)) == graph.n_slots - graph.n_components


def test_the_graph_is_made_from_what_is_given() -> None:
    cells = sparse.csr_array(footprints(SHAPE, [(4, 3)]), dtype=np.float32)
    movie = np.random.default_rng(5).normal(size=(23 * 31, 50)).astype(np.float32)
    kappa = np.full(len(movie), 1.0, np.float32)
    gain = np.full(len(movie), 0.5, np.float32)
    wanted, _ = robust_traces(movie, cells, kappa, lower=-np.inf, graph=OverlapGraph.of(cells, WHOLE, gain))
    found, _ = robust_traces(movie, cells, kappa, lower=-np.inf, field=WHOLE, gain=gain)
    np.testing.assert_array_equal(found, wanted)
