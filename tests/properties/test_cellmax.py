"""The EM of CELLMax: the likelihood never falls with all frames, photons are kept, and units do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from reference.photon_em import likelihood
from scipy import sparse

from gpucells.methods.cellmax.em import Mixture, ascend
from gpucells.methods.cellmax.settings import CellmaxSettings

SIZES = st.tuples(st.integers(2, 15), st.integers(1, 40), st.integers(1, 4), st.integers(0, 10_000))


def problem(size: tuple[int, int, int, int]) -> tuple[Any, Mixture]:
    n_pixels, n_frames, n_cells, seed = size
    rng = np.random.default_rng(seed)
    cells = rng.random((n_cells, n_pixels)) * (rng.random((n_cells, n_pixels)) < 0.6)
    counts = (rng.gamma(0.7, 5, (n_pixels, n_frames)) * (rng.random((n_pixels, n_frames)) < 0.8)).astype("f4")
    smooth = sparse.csr_array(np.ones((1, n_pixels), "f4"))
    return counts, Mixture.of(counts, sparse.csr_array(cells.astype("f4")), smooth)


def value(counts: Any, mixture: Mixture) -> float:
    return likelihood(counts, mixture.images.toarray(), mixture.traces)


@how(deadline=None, max_examples=40)
@given(SIZES, st.sampled_from([1.0, 1.5, 1.9]))
def test_the_likelihood_never_falls_with_all_frames(size: tuple[int, int, int, int], relaxation: float) -> None:
    counts, begin = problem(size)
    settings = CellmaxSettings.from_values({"relaxation": relaxation, "min_iter": 25, "max_iter": 25})
    end = ascend(counts, begin, settings)
    rounding = 4e-6 * (1 + abs(counts * np.log1p(counts)).sum())
    path = np.array([value(counts, begin), *end.likelihood[1:], value(counts, end)])
    assert (np.diff(path) >= -rounding).all()


@how(deadline=None, max_examples=20)
@given(SIZES)
def test_every_photon_has_a_source(size: tuple[int, int, int, int]) -> None:
    counts, begin = problem(size)
    end = ascend(counts, begin, CellmaxSettings.from_values({"relaxation": 1.0, "min_iter": 3, "max_iter": 3}))
    np.testing.assert_allclose(end.traces.sum(axis=0), counts.sum(axis=0), rtol=1e-4, atol=1e-4)


@how(deadline=None, max_examples=20)
@given(SIZES, st.sampled_from([0.01, 30.0]))
def test_the_unit_of_the_counts_is_the_unit_of_the_traces(size: tuple[int, int, int, int], unit: float) -> None:
    counts, begin = problem(size)
    settings = CellmaxSettings.from_values({"relaxation": 1.0, "min_iter": 3, "max_iter": 3})
    scaled = Mixture.of(counts * np.float32(unit), begin.cells, begin.smooth)
    one, other = ascend(counts, begin, settings), ascend(counts * np.float32(unit), scaled, settings)
    np.testing.assert_allclose(other.cells.toarray(), one.cells.toarray(), atol=1e-3)
    np.testing.assert_allclose(other.traces, unit * one.traces, rtol=1e-2, atol=1e-3 * unit * max(counts.max(), 1))
