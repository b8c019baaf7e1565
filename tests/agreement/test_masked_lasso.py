"""The lasso of every pixel: against scikit-learn, scipy and its conditions; the CUDA body beside the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerance
from scipy import sparse
from scipy.optimize import lsq_linear, nnls

from gpucells.errors import InputError
from gpucells.ops.masked_lasso import SIDE, masked_lasso, nnls_l0

N_PIXELS, N_FRAMES = 60, 80


class Problem:
    """Traces with some correlation, a support, a movie that they and noise make."""

    def __init__(self, n_cells: int = 12, n_pixels: int = N_PIXELS, share: float = 0.25, n_rows: int = 1) -> None:
        rng = np.random.default_rng(5)
        events = rng.exponential(1, (n_cells, N_FRAMES)) * (rng.random((n_cells, N_FRAMES)) < 0.1)
        decay = 0.8 ** np.arange(20)
        slow = 1 + 0.3 * np.sin(np.arange(N_FRAMES) / 9 + np.arange(n_rows)[:, None])
        self.traces = np.concatenate([[np.convolve(row, decay)[:N_FRAMES] for row in events], slow])
        self.traces /= np.linalg.norm(self.traces, axis=1, keepdims=True)
        self.mask = np.concatenate([rng.random((n_cells, n_pixels)) < share, np.ones((n_rows, n_pixels), bool)])
        self.true = np.where(self.mask, rng.exponential(2, self.mask.shape) * (rng.random(self.mask.shape) < 0.6), 0)
        self.movie = self.true.T @ self.traces + rng.normal(0, 0.1, (n_pixels, N_FRAMES))
        support = sparse.csr_array(self.mask)
        self.indptr, self.pixels = support.indptr, support.indices
        self.owner = np.repeat(np.arange(len(self.mask)), np.diff(self.indptr))
        self.gram = self.traces @ self.traces.T
        self.products = (self.traces @ self.movie.T)[self.owner, self.pixels]
        self.penalty = np.full(n_pixels, 0.3)
        self.energy = (self.movie**2).sum(1)

    def image(self, entries: Any) -> Any:
        images = np.zeros(self.mask.shape)
        images[self.owner, self.pixels] = entries
        return images

    def solve(self, xp: Any = np, gram: Any = None, **options: Any) -> Any:
        """Return the images."""
        penalty = options.pop("penalty", self.penalty)
        found = masked_lasso(
            xp.asarray(self.products), self.gram if gram is None else gram, penalty, self.indptr, self.pixels, **options
        )
        assert type(found) is np.ndarray
        assert found.dtype == np.float32
        return self.image(found)

    def few(self, xp: Any = np, limit: Any = None, **options: Any) -> Any:
        rows = np.arange(len(self.mask)) < 12
        allowed = np.full(len(self.movie), 1.2 * 0.01 * N_FRAMES) if limit is None else limit
        arguments = self.gram, self.energy, allowed, self.indptr, self.pixels
        return self.image(nnls_l0(xp.asarray(self.products), *arguments, removable=rows, **options))

    def objective(self, images: Any) -> Any:
        rest = self.movie - images.T @ self.traces
        return 0.5 * (rest**2).sum(1) + self.penalty * images.sum(0)


def test_no_pixel_is_worse_than_with_lars() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn, the peer, is not installed")
    problem = Problem()
    theirs = np.zeros(problem.mask.shape)
    for p in range(N_PIXELS):
        mine = problem.mask[:, p]
        lars = linear_model.LassoLars(problem.penalty[p] / N_FRAMES, fit_intercept=False, positive=True)
        theirs[mine, p] = lars.fit(problem.traces[mine].T, problem.movie[p]).coef_
    ours = problem.solve()
    assert (problem.objective(ours) <= problem.objective(theirs) * (1 + 1e-8)).all()
    assert np.median(np.abs(ours - theirs)) < 1e-4  # so that alpha is the same penalty
    assert (ours[problem.mask] == 0).mean() > 0.1  # and one that is felt


@pytest.mark.parametrize("n_cells", [12, 120])  # more than a warp has lanes, and than shared memory holds
def test_both_bodies_solve_least_squares(cuda: Any, n_cells: int) -> None:
    problem = Problem(n_cells, 15, 0.4)
    most = problem.mask.sum(0).max()
    assert (most > SIDE) == (n_cells > 12)
    wanted = np.zeros(problem.mask.shape)
    for p, row in enumerate(problem.movie):
        wanted[problem.mask[:, p], p] = nnls(problem.traces[problem.mask[:, p]].T, row)[0]
    none = np.zeros(15)
    exact = {"penalty": none, "tolerance": 1e-10}  # 120 cells in 80 frames are nearly dependent
    here, there = problem.solve(**exact), problem.solve(cuda, **exact)
    np.testing.assert_allclose(here, wanted, atol=1e-5 * wanted.max())
    tolerance.assert_as_accurate(there, here, wanted)


def test_bounds_and_weights_of_each_regressor(cuda: Any) -> None:
    problem = Problem(n_rows=2)
    problem.movie -= 3 * problem.traces[-1]  # what only a negative coefficient explains
    problem.products = (problem.traces @ problem.movie.T)[problem.owner, problem.pixels]
    lower, weight = np.where(np.arange(14) < 12, 0, -np.inf), np.where(np.arange(14) < 12, np.arange(14) / 6, 0)
    wanted = np.zeros(problem.mask.shape)
    for p in range(N_PIXELS):
        mine = problem.mask[:, p]
        root = np.linalg.cholesky(problem.gram[np.ix_(mine, mine)]).T  # 1/2 |R w - b|^2 with R'R = V, R'b = u - penalty
        right = np.linalg.solve(root.T, problem.traces[mine] @ problem.movie[p] - problem.penalty[p] * weight[mine])
        wanted[mine, p] = lsq_linear(root, right, (lower[mine], np.inf), tol=1e-14).x
    here = problem.solve(lower=lower, weight=weight)
    assert here[-1].min() < 0
    np.testing.assert_allclose(here, wanted, atol=2e-5)
    tolerance.assert_as_accurate(problem.solve(cuda, lower=lower, weight=weight), here, wanted)


def test_regressors_that_are_nearly_alike() -> None:
    """Correlation .999: coordinate descent takes its time, and ends where the conditions hold."""
    problem = Problem()
    problem.traces[3] = problem.traces[2] + 0.03 * problem.traces[3]
    problem.traces /= np.linalg.norm(problem.traces, axis=1, keepdims=True)
    problem.gram = problem.traces @ problem.traces.T
    problem.products = (problem.traces @ problem.movie.T)[problem.owner, problem.pixels]
    ours = problem.solve(penalty=np.zeros(N_PIXELS))
    problem.penalty = np.zeros(N_PIXELS)
    best = np.zeros(problem.mask.shape)
    for p, row in enumerate(problem.movie):
        best[problem.mask[:, p], p] = nnls(problem.traces[problem.mask[:, p]].T, row)[0]
    assert problem.gram[2, 3] > 0.999
    np.testing.assert_allclose(problem.objective(ours), problem.objective(best), rtol=1e-6)


def test_a_sparse_gram_matrix_of_the_overlapping_pairs_and_a_start_give_the_same(cuda: Any) -> None:
    problem = Problem(40, share=0.03)
    mask = problem.mask.astype(float)
    pairs = sparse.csr_array(np.where(mask @ mask.T > 0, problem.gram, 0))
    assert pairs.nnz < 0.7 * problem.gram.size
    wanted = problem.solve()
    for xp in (np, cuda):
        np.testing.assert_allclose(problem.solve(xp, pairs), wanted, atol=1e-6)
        started = problem.solve(xp, start=(wanted + 1)[problem.owner, problem.pixels])
        np.testing.assert_allclose(started, wanted, atol=1e-5)
        at_rest = problem.solve(xp, start=wanted[problem.owner, problem.pixels], n_sweeps=1)
        np.testing.assert_allclose(at_rest, wanted, atol=1e-5)


def test_a_fixed_number_of_sweeps_is_what_hals_does(cuda: Any) -> None:
    problem = Problem()
    images = np.where(problem.mask, 0.5, 0)
    start = images[problem.owner, problem.pixels]
    for _ in range(2):
        for k in range(len(images)):
            step = (problem.traces[k] @ problem.movie.T - problem.gram[k] @ images) / problem.gram[k, k]
            images[k] = np.where(problem.mask[k], np.maximum(0, images[k] + step), 0)
    for xp in (np, cuda):
        found = problem.solve(xp, penalty=np.zeros(N_PIXELS), start=start, n_sweeps=2)
        np.testing.assert_allclose(found, images, atol=1e-6)


def greedy(problem: Problem, p: int, limit: float) -> Any:
    """By definition, from the movie itself."""
    mine = [k for k in range(len(problem.mask)) if problem.mask[k, p]]

    def fit(kept: list[int]) -> tuple[float, Any]:
        w, distance = nnls(problem.traces[kept].T, problem.movie[p]) if kept else (np.zeros(0), 0)
        return (distance**2 if kept else (problem.movie[p] ** 2).sum()), w

    _, w = fit(mine)
    while True:
        used = [k for k, weight in zip(mine, w, strict=True) if weight > 0 and k < 12]
        trials = [(fit([j for j in mine if j != k])[0], k) for k in used]
        if not trials or min(trials)[0] >= limit:
            break
        mine.remove(min(trials)[1])
        _, w = fit(mine)
    out = np.zeros(len(problem.mask))
    out[mine] = w
    return out


def test_fewest_regressors(cuda: Any) -> None:
    problem = Problem()
    limit = 1.2 * 0.01 * N_FRAMES
    wanted = np.stack([greedy(problem, p, limit) for p in range(N_PIXELS)], axis=1)
    full = problem.solve(penalty=np.zeros(N_PIXELS))
    assert (wanted > 0).sum() < 0.9 * (full > 0).sum()
    here = problem.few()
    np.testing.assert_allclose(here, wanted, atol=2e-5)
    tolerance.assert_as_accurate(problem.few(cuda), here, wanted)
    everything = problem.few(cuda, np.full(N_PIXELS, np.inf))  # all may go, but not the background
    assert (everything[:12] == 0).all()
    assert (everything[12] > 0).any()


def test_what_is_not_finite_spoils_its_pixel_only_and_dead_traces_have_no_light(cuda: Any) -> None:
    problem = Problem()
    wanted = problem.solve()
    problem.products[problem.pixels == 7] = np.nan
    penalty = problem.penalty.copy()
    penalty[9] = np.nan
    wanted[:, [7, 9]] = 0
    for xp in (np, cuda):
        np.testing.assert_allclose(problem.solve(xp, penalty=penalty), wanted, atol=1e-6)
    problem = Problem()
    problem.traces[4] = 0
    problem.gram = problem.traces @ problem.traces.T
    problem.products[problem.owner == 4] = 0
    for xp in (np, cuda):
        found = problem.solve(xp, start=np.ones(len(problem.pixels)))
        assert np.isfinite(found).all()
        assert (found[4] == 0).all()


@pytest.mark.parametrize(("n_cells", "n_rows"), [(0, 0), (3, 0), (0, 1)])
def test_no_cells_no_entries_and_no_pixels(cuda: Any, n_cells: int, n_rows: int) -> None:
    n, empty = n_cells + n_rows, np.zeros(0)
    for xp in (np, cuda):
        for n_pixels in (0, 5):
            found = masked_lasso(xp.zeros(0), np.eye(n), np.zeros(n_pixels), np.zeros(n + 1, int), empty.astype(int))
            assert found.shape == (0,)


def test_wrong_sizes_are_refused() -> None:
    problem = Problem()
    with pytest.raises(InputError, match="gram"):
        problem.solve(gram=problem.gram[:3, :3])
    with pytest.raises(InputError, match="start"):
        problem.solve(start=np.zeros(3))
    problem.products = problem.products[:-1]
    with pytest.raises(InputError, match="products"):
        problem.solve()


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    for problem in (Problem(4, 6), Problem(90, 2, 0.5)):
        np.testing.assert_allclose(problem.solve(sanitized_cuda), problem.solve(), atol=1e-5)
    problem = Problem(12, 5)
    np.testing.assert_allclose(problem.few(sanitized_cuda), problem.few(), atol=1e-5)
