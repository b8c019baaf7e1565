"""The robust regression of frames: its graph, its edges, what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.robust_traces import robust_traces

SHAPE = (10, 14)
CELLS = footprints(SHAPE, [(4, 3), (5, 6), (5, 12)])
KAPPA = np.full(140, 0.7, np.float32)


def movie_of(n_frames: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    traces = transients(rng, 3, n_frames, 20).astype(np.float32)
    return pixel_movie(rng, CELLS, traces, contamination=0.05), traces


def test_the_graph_lists_pixels_pairs_and_neighbours() -> None:
    graph = OverlapGraph.of(CELLS)
    dense = CELLS.toarray()
    np.testing.assert_array_equal(graph.pixels, np.flatnonzero(dense.any(axis=0)))
    shared = (dense > 0).astype(int) @ (dense > 0).T > 0
    n_pairs = int(np.triu(shared, 1).sum())
    assert graph.n_slots == 3 + n_pairs
    for cell in range(3):
        edges = slice(graph.edge_start[cell], graph.edge_start[cell + 1])
        np.testing.assert_array_equal(
            np.sort(graph.edge_cell[edges]), np.flatnonzero(shared[cell] & (np.arange(3) != cell))
        )
    slots = {}
    for i, pixel in enumerate(graph.pixels):
        entries = range(graph.start[i], graph.start[i + 1])
        cells = graph.cells[entries.start : entries.stop]
        np.testing.assert_array_equal(cells, np.flatnonzero(dense[:, pixel]))
        np.testing.assert_array_equal(graph.weights[entries.start : entries.stop], dense[cells, pixel])
        at = graph.pair_start[i]
        for first in range(len(cells)):
            for second in range(first, len(cells)):
                slots.setdefault((int(cells[first]), int(cells[second])), set()).add(int(graph.pair_slot[at]))
                at += 1
        assert at == graph.pair_start[i + 1]
    assert all(len(slot) == 1 for slot in slots.values())  # a pair has one slot wherever it meets
    assert len({min(slot) for slot in slots.values()}) == len(slots) == graph.n_slots
    assert all(slots[c, c] == {c} for c in range(3))


def test_planted_traces_come_back() -> None:
    movie, traces = movie_of(300)
    found, _ = robust_traces(movie, CELLS, KAPPA)
    for ours, theirs in zip(found, traces, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_inputs_are_left_alone() -> None:
    movie, traces = movie_of()
    given = [movie.copy(), CELLS.data.copy(), traces.copy()]
    robust_traces(movie, CELLS, KAPPA, start=traces, offset=np.ones(140, np.float32))
    for before, after in zip(given, [movie, CELLS.data, traces], strict=True):
        np.testing.assert_array_equal(before, after)


def test_no_step_from_nothing_is_nothing_and_its_loss() -> None:
    movie, _ = movie_of()
    found, loss = robust_traces(movie, CELLS, KAPPA, n_steps=0)
    again, wanted = robust_traces(movie, CELLS, KAPPA, start=0 * found, n_steps=0)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(loss, wanted)


def test_no_step_returns_the_start_above_its_bound_and_its_loss() -> None:
    movie, traces = movie_of()
    found, loss = robust_traces(movie, CELLS, KAPPA, start=traces - 1, n_steps=0)
    np.testing.assert_array_equal(found, np.maximum(traces - 1, 0))
    covered = CELLS.toarray().any(axis=0)
    residual = (movie - CELLS.toarray().T @ found)[covered].astype(float)
    wanted = np.where(residual < 0.7, residual**2 / 2, 0.7 * (residual - 0.35)).sum(axis=0)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize("shape", [(140, 0), (140, 1)])
def test_few_frames(shape: tuple[int, int]) -> None:
    found, loss = robust_traces(np.ones(shape, np.float32), CELLS, KAPPA)
    assert found.shape == (3, shape[1])
    assert loss.shape == (shape[1],)
    assert np.isfinite(found).all()


def test_a_dark_frame_is_dark() -> None:
    found, loss = robust_traces(np.zeros((140, 3), np.float32), CELLS, KAPPA)
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(loss, 0)
    below, _ = robust_traces(np.full((140, 3), -5, np.float32), CELLS, KAPPA)
    np.testing.assert_array_equal(below, 0)
    free, _ = robust_traces(np.full((140, 3), -5, np.float32), CELLS, KAPPA, lower=-np.inf)
    assert (free < -5).all()


def test_a_frame_of_light_that_no_cell_explains_moves_the_traces_little() -> None:
    movie, _ = movie_of()
    bright = movie.copy()
    bright[::9] += 1000  # every ninth pixel
    quiet, _ = robust_traces(movie, CELLS, KAPPA)
    lit, _ = robust_traces(bright, CELLS, KAPPA)
    assert np.abs(lit - quiet).max() < 1.0
    squares, _ = robust_traces(bright, CELLS, np.full(140, 1e6, np.float32))
    assert np.abs(squares - quiet).max() > 20


def test_footprints_of_double_precision_are_taken_too() -> None:
    movie, _ = movie_of()
    wanted, _ = robust_traces(movie, CELLS, KAPPA)
    found, _ = robust_traces(movie, sparse.csr_array(CELLS.astype(np.float64)), KAPPA)
    np.testing.assert_array_equal(found, wanted)
