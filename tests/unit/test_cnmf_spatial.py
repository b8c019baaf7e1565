"""The spatial update of CNMF: footprints and background images for known traces, from the movie's products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import optimize, sparse

from gpucells.candidates.footprints import Windows
from gpucells.factorisation import spatial as module
from gpucells.factorisation.spatial import regressors, update_footprints
from gpucells.methods.cnmf.settings import CnmfSettings

SHAPE, RADIUS, N_FRAMES = (32, 36), 4.0, 300
CENTRES = [(8, 8), (10, 14), (24, 26), (22, 8)]  # the first two overlap
PLAIN = {"footprint_z": 0.0, "smooth_footprints": False}


class Problem:
    """Cells and light of known shape, each pixel with a noise of its own (which is not in the movie unless asked)."""

    def __init__(self, noise: float = 0.0, n_background: int = 1, height: float = 20) -> None:
        rng = np.random.default_rng(0)
        n_pixels = SHAPE[0] * SHAPE[1]
        self.truth = footprints(SHAPE, CENTRES)
        self.noise = rng.uniform(0.5, 2, n_pixels).astype(np.float32)
        self.traces = transients(rng, len(CENTRES), N_FRAMES, height).astype(np.float32)
        self.field = rng.normal(size=(n_background, N_FRAMES)).astype(np.float32)
        self.images = rng.normal(0, 3, (n_background, n_pixels))
        whitened = self.truth.toarray() / self.noise
        self.movie = whitened.T @ self.traces + self.images.T @ self.field
        self.movie += noise * rng.normal(size=self.movie.shape)
        self.windows = Windows.of(self.truth, self.noise, np.ones(SHAPE, bool), RADIUS)
        self.both = regressors(self.traces, self.field)

    def solve(self, begin: Any = None, both: Any = None, **settings: Any) -> Any:
        both = self.both if both is None else both
        windows = self.windows if begin is None else Windows.of(begin, self.noise, np.ones(SHAPE, bool), RADIUS)
        entries = windows.start()
        cells = np.repeat(np.arange(entries.shape[0]), np.diff(entries.indptr))
        every = both.astype(float) @ self.movie.T
        energy = ((self.movie - self.movie.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        n_cells = entries.shape[0]
        return update_footprints(
            windows, every[cells, entries.indices].astype(np.float32), every[n_cells:].astype(np.float32), energy,
            both, RADIUS, CnmfSettings(**settings),
        )  # fmt: skip


def cosine(found: Any, truth: Any) -> np.ndarray:
    a, b = found.toarray(), truth.toarray()
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def test_regressors_have_mean_0() -> None:
    problem = Problem(n_background=2)
    both = regressors(problem.traces + 1000, problem.field)
    assert both.shape == (6, N_FRAMES)
    assert both.dtype == np.float32
    np.testing.assert_allclose(both.mean(axis=1), 0, atol=1e-3)
    assert regressors(problem.traces[:0], problem.field[:0]).shape == (0, N_FRAMES)


@pytest.mark.parametrize("solver", ["lasso", "nnls_l0"])
@pytest.mark.parametrize("n_background", [0, 1, 3])
def test_footprints_of_a_movie_without_noise_are_the_true_ones(solver: str, n_background: int) -> None:
    problem = Problem(n_background=n_background, height=2000)  # nnls_l0 takes away what noise would hide
    found, scale, images = problem.solve(spatial_solver=solver, **PLAIN)
    assert cosine(found, problem.truth).min() >= 0.9999
    np.testing.assert_allclose(scale, 1, rtol=1e-2)
    assert found.shape == problem.truth.shape
    assert found.dtype == images.dtype == np.float32
    np.testing.assert_allclose(found.max(axis=1).toarray().ravel(), 1, rtol=1e-6)
    assert images.shape == (n_background, SHAPE[0] * SHAPE[1])
    np.testing.assert_allclose(images, problem.images, atol=0.3)


def test_every_pixel_is_solved_as_scipy_solves_it() -> None:
    """Background images have no bound and no cut: they are the solution of each pixel's own problem."""
    problem = Problem(noise=1.0, n_background=2)
    _, _, images = problem.solve(**PLAIN)
    allowed = problem.windows.start()
    inside = sparse.csr_array((np.ones(len(allowed.data)), allowed.indices, allowed.indptr), shape=allowed.shape)
    both = problem.both.astype(float)
    for pixel in np.random.default_rng(0).choice(SHAPE[0] * SHAPE[1], 60, replace=False):
        cells = np.flatnonzero(inside[:, [pixel]].toarray().ravel())
        used = both[[*cells, 4, 5]]
        lower = np.r_[np.zeros(len(cells)), -np.inf, -np.inf]
        centred = problem.movie[pixel] - problem.movie[pixel].mean()
        wanted = optimize.lsq_linear(used.T, centred, (lower, np.inf), method="bvls").x
        np.testing.assert_allclose(images[:, pixel], wanted[len(cells) :], atol=2e-3)


def test_a_penalty_makes_footprints_smaller_and_a_large_one_empty() -> None:
    problem = Problem(noise=1.0)
    sizes = [problem.solve(spatial_penalty=penalty, **PLAIN)[0].nnz for penalty in (0.0, 3.0, 20.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    found, scale, images = problem.solve(spatial_penalty=1e6, **PLAIN)
    assert found.nnz == 0
    np.testing.assert_array_equal(scale, 0)
    assert np.isfinite(images).all()


def test_fewest_cells_a_pixel_where_least_squares_would_share_noise_out() -> None:
    problem = Problem(noise=1.0)
    plain, few = (problem.solve(spatial_solver=solver, **PLAIN)[0] for solver in ("lasso", "nnls_l0"))
    assert few.nnz < 0.8 * plain.nnz
    assert cosine(few, problem.truth).min() > 0.95


def test_noise_is_cut_off_by_its_error() -> None:
    problem = Problem(noise=1.0)
    found, scale, _ = problem.solve()
    assert cosine(found, problem.truth).min() > 0.99
    np.testing.assert_allclose(scale, 1, atol=0.06)


def test_footprints_begin_too_small_and_grow() -> None:
    problem = Problem(noise=0.3)
    begin = footprints(SHAPE, CENTRES, width=1.0)
    for _ in range(3):
        begin, _, _ = problem.solve(begin)
    assert cosine(begin, problem.truth).min() > 0.99


def test_a_silent_cell_vanishes_and_the_others_do_not_care() -> None:
    problem = Problem(noise=0.3)
    both = problem.both.copy()
    both[2] = 0
    found, scale, _ = problem.solve(both=both)
    assert scale[2] == 0
    assert found[[2]].nnz == 0
    others = [0, 1, 3]
    assert cosine(found[others], problem.truth[others]).min() > 0.99
    assert np.isfinite(found.data).all()


def test_a_cell_without_a_support_stays_empty() -> None:
    problem = Problem(noise=0.3)
    begin = problem.truth.toarray()
    begin[1] = 0
    found, scale, _ = problem.solve(sparse.csr_array(begin))
    assert found[[1]].nnz == 0
    assert scale[1] == 0
    assert cosine(found[[0, 2, 3]], problem.truth[[0, 2, 3]]).min() > 0.8  # 1's light is in the first's way
    assert np.isfinite(found.data).all()


def test_no_cells_leave_the_background() -> None:
    problem = Problem(noise=0.0)
    found, scale, images = problem.solve(problem.truth[:0], regressors(problem.traces[:0], problem.field))
    assert found.shape == (0, SHAPE[0] * SHAPE[1])
    assert len(scale) == 0
    far = problem.truth.sum(axis=0) == 0
    np.testing.assert_allclose(images[:, far], problem.images[:, far], rtol=1e-3, atol=1e-3)


def test_products_of_neighbours_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRS_BYTES", 1)  # a pair at a time
    rng = np.random.default_rng(3)
    support = sparse.csr_array(rng.random((9, 40)) < 0.15, dtype=np.float32)
    traces, field = rng.normal(size=(9, 60)).astype(np.float32), rng.normal(size=(2, 60)).astype(np.float32)
    across = (field @ traces.T).astype(np.float64)
    share = np.linalg.solve((field @ field.T).astype(np.float64), across)
    found = module._gram_of_neighbours(support, traces, across, share).toarray()
    touch = (support @ support.T).toarray() > 0
    assert 0 < touch.sum() < 81
    wanted = traces.astype(np.float64) @ traces.T.astype(np.float64) - across.T @ share
    np.testing.assert_allclose(found, np.where(touch, wanted, 0), atol=1e-4)
