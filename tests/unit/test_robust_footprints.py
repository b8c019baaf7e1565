"""The robust regression of pixels: masks, known light, what it leaves alone."""

from __future__ import annotations

import numpy as np
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

from gpucells.ops.robust_footprints import Known, robust_footprints

SHAPE = (10, 14)
CELLS = footprints(SHAPE, [(4, 3), (5, 6), (5, 12)])
KAPPA = np.full(140, 0.7, np.float32)
RNG = np.random.default_rng(0)
TRACES = transients(RNG, 3, 300, 20).astype(np.float32)
MOVIE = pixel_movie(RNG, CELLS, TRACES, contamination=0.05)


def mask_of_all() -> sparse.csr_array:
    full = sparse.csr_array(np.ones((3, 140), np.float32))
    full.data[:] = 0
    return full


def test_planted_footprints_come_back_from_an_empty_start_and_a_wide_mask() -> None:
    found = robust_footprints(MOVIE, TRACES, mask_of_all(), KAPPA).toarray()
    truth = CELLS.toarray()
    cosine = (found * truth).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    assert cosine.min() > 0.98
    np.testing.assert_allclose(found.max(axis=1), 1, atol=0.1)


def test_only_stored_entries_may_be_above_zero_and_zeros_are_dropped() -> None:
    start = CELLS[[0, 1, 2]]
    start.data[::2] = 0  # a stored zero is part of the mask
    found = robust_footprints(MOVIE, TRACES, start, KAPPA)
    assert isinstance(found, sparse.csr_array)
    assert found.dtype == np.float32
    assert (found.data > 0).all()
    inside = CELLS.toarray() > 0
    assert not found.toarray()[~inside].any()
    assert (found.toarray()[CELLS.toarray() > 0.5] > 0).all()


def test_inputs_are_left_alone() -> None:
    given = MOVIE.copy(), TRACES.copy(), CELLS.copy()
    start = CELLS.copy()
    robust_footprints(MOVIE, TRACES, start, KAPPA, offset=np.ones(140))
    np.testing.assert_array_equal(MOVIE, given[0])
    np.testing.assert_array_equal(TRACES, given[1])
    np.testing.assert_array_equal(start.toarray(), given[2].toarray())
    assert start.nnz == given[2].nnz


def test_no_step_returns_the_start() -> None:
    found = robust_footprints(MOVIE, TRACES, CELLS * 0.5, KAPPA, n_steps=0)
    np.testing.assert_array_equal(found.toarray(), CELLS.toarray() * np.float32(0.5))


def test_known_light_is_taken_off_first() -> None:
    light = sparse.csc_array(RNG.random((2, 140)).astype(np.float32))
    known = Known(light, RNG.normal(0, 5, (2, 300)).astype(np.float32))
    lit = (MOVIE + light.T @ known.traces).astype(np.float32)
    wanted = robust_footprints(MOVIE, TRACES, CELLS, KAPPA, tolerance=1e-4).toarray()
    np.testing.assert_allclose(
        robust_footprints(lit, TRACES, CELLS, KAPPA, known=known, tolerance=1e-4).toarray(), wanted, atol=1e-3
    )
    none = robust_footprints(MOVIE, TRACES, CELLS, KAPPA, known=Known.none(140, 300), tolerance=1e-4).toarray()
    np.testing.assert_array_equal(none, wanted)


def test_dark_pixels_and_silent_traces_give_no_footprint() -> None:
    assert robust_footprints(-np.abs(MOVIE), TRACES, CELLS, KAPPA).nnz == 0
    assert robust_footprints(MOVIE, 0 * TRACES, mask_of_all(), KAPPA).nnz == 0
