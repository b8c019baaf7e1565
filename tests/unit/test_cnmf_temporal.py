"""The temporal update of CNMF: traces of known footprints and background against least squares in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import optimize, sparse

from gpucells.factorisation.temporal import LeastSquares, deconvolved, gram_of
from gpucells.methods.cnmf.settings import CnmfSettings

SHAPE, N_FRAMES = (30, 30), 250
CENTRES = [(8, 8), (10, 12), (20, 20), (22, 8)]


class Problem:
    def __init__(self, noise: float = 0.0, n_background: int = 2, n_cells: int = 4) -> None:
        rng = np.random.default_rng(3)
        self.whitened = footprints(SHAPE, CENTRES[:n_cells])
        self.images = rng.normal(0, 2, (n_background, 900)).astype(np.float32)
        self.traces = transients(rng, n_cells, N_FRAMES, 15)
        self.field = rng.normal(size=(n_background, N_FRAMES))
        self.design = np.concatenate([self.whitened.toarray(), self.images]).astype(float).T
        self.movie = self.design @ np.concatenate([self.traces, self.field])
        self.movie += noise * rng.normal(size=self.movie.shape)

    def solve(self, lower: float, n_sweeps: int = 300, begin: Any = None) -> tuple[Any, Any]:
        products = (self.design.T @ self.movie).astype(np.float32)
        nothing = np.zeros_like(self.traces, np.float32), np.zeros_like(self.field, np.float32)
        problem = LeastSquares(products, gram_of(self.whitened, self.images))
        return problem.solve(*(nothing if begin is None else begin), lower, n_sweeps)


def test_the_gram_matrix_is_that_of_footprints_and_images() -> None:
    problem = Problem()
    gram = gram_of(problem.whitened, problem.images)
    np.testing.assert_allclose(gram.toarray(), problem.design.T @ problem.design, rtol=1e-4, atol=1e-3)
    assert gram.dtype == np.float32
    assert gram.has_sorted_indices
    empty = gram_of(problem.whitened[:0], problem.images[:0])
    assert empty.shape == (0, 0)


@pytest.mark.parametrize("n_background", [0, 1, 2])
def test_traces_of_a_movie_without_noise_are_the_true_ones(n_background: int) -> None:
    problem = Problem(n_background=n_background)
    for lower in (0.0, -np.inf):
        traces, field = problem.solve(lower)
        assert traces.dtype == field.dtype == np.float32
        np.testing.assert_allclose(traces, problem.traces, atol=0.01)
        np.testing.assert_allclose(field, problem.field, atol=0.01)


def test_traces_without_a_bound_are_the_least_squares() -> None:
    problem = Problem(noise=1.0)
    wanted = np.linalg.lstsq(problem.design, problem.movie)[0]
    np.testing.assert_allclose(np.concatenate(problem.solve(-np.inf)), wanted, atol=1e-3)


def test_traces_with_a_bound_are_the_bounded_least_squares() -> None:
    """The background has none."""
    problem = Problem(noise=1.0)
    traces, field = problem.solve(0.0)
    assert traces.min() == 0
    assert field.min() < 0
    lower = np.r_[np.zeros(4), -np.inf, -np.inf]
    for frame in range(0, N_FRAMES, 10):
        wanted = optimize.lsq_linear(problem.design, problem.movie[:, frame], (lower, np.inf), method="bvls").x
        np.testing.assert_allclose(np.r_[traces[:, frame], field[:, frame]], wanted, atol=1e-3)


def test_cells_alone_are_scipys_nnls() -> None:
    problem = Problem(noise=1.0, n_background=0)
    traces, _ = problem.solve(0.0)
    for frame in range(0, N_FRAMES, 10):
        wanted = optimize.nnls(problem.design, problem.movie[:, frame])[0]
        np.testing.assert_allclose(traces[:, frame], wanted, atol=1e-3)


def test_where_it_begins_does_not_matter_and_stays_what_it_was() -> None:
    problem = Problem(noise=1.0)
    rng = np.random.default_rng(0)
    begin = rng.normal(5, 5, (4, N_FRAMES)).astype("f4"), rng.normal(size=(2, N_FRAMES)).astype("f4")
    before = [array.copy() for array in begin]
    np.testing.assert_allclose(problem.solve(0.0, begin=begin)[0], problem.solve(0.0)[0], atol=2e-3)
    for one, other in zip(before, begin, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_silent_cell_has_a_trace_of_noise() -> None:
    problem = Problem(noise=1.0)
    problem.movie -= problem.design[:, [2]] * problem.traces[[2]]
    traces, _ = problem.solve(-np.inf)
    norm = np.linalg.norm(problem.design[:, 2])
    assert abs(traces[2].mean()) < 0.3 / norm
    assert traces[2].std() == pytest.approx(1 / norm, rel=0.2)
    others = [0, 1, 3]
    assert min(np.corrcoef(traces[i], problem.traces[i])[0, 1] for i in others) > 0.99


def test_an_empty_footprint_leaves_the_others_alone() -> None:
    problem = Problem(noise=0.5)
    with_it = Problem(noise=0.5)
    images = problem.whitened.toarray()
    with_it.whitened = sparse.csr_array(np.concatenate([images, np.zeros((1, 900))]).astype(np.float32))
    with_it.traces = np.concatenate([problem.traces, np.zeros((1, N_FRAMES))])
    with_it.design = np.concatenate([with_it.whitened.toarray(), problem.images]).astype(float).T
    traces, field = with_it.solve(0.0)
    np.testing.assert_array_equal(traces[4], 0)
    expected, background = problem.solve(0.0)
    np.testing.assert_allclose(traces[:4], expected, atol=1e-4)
    np.testing.assert_allclose(field, background, atol=1e-4)


def test_no_cells() -> None:
    problem = Problem(n_cells=0)
    traces, field = problem.solve(0.0)
    assert traces.shape == (0, N_FRAMES)
    np.testing.assert_allclose(field, problem.field, atol=0.01)
    model = deconvolved(traces, CnmfSettings())
    assert model.denoised.shape == model.spikes.shape == (0, N_FRAMES)


@pytest.mark.parametrize("settings", [{}, {"ar_order": 2}, {"ar_order": 0}, {"s_min": -3.0}, {"optimize_g": 3}])
def test_deconvolution_brings_traces_nearer_to_the_truth(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    truth = transients(rng, 3, 600, 15, decay=0.9)
    noisy = (truth + 5 + rng.normal(0, 2, truth.shape)).astype(np.float32)
    model = deconvolved(noisy, CnmfSettings(**settings))
    assert model.denoised.shape == model.spikes.shape == noisy.shape
    assert model.spikes.min() >= 0
    assert model.coefficients.shape == (3, settings.get("ar_order", 1))
    if settings.get("ar_order") == 0:
        return
    for ours, given, true in zip(model.denoised, noisy, truth, strict=True):
        assert 1 - np.corrcoef(ours, true)[0, 1] < 0.75 * (1 - np.corrcoef(given, true)[0, 1])
    np.testing.assert_allclose(model.noise, 2, rtol=0.35)  # the jumps have high frequencies too
