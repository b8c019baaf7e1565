"""The robust regressions of frames and pixels against scipy, cvxpy, a first-order float64 answer and the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.one_sided_huber import objective, solve
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse
from scipy.io import loadmat
from scipy.optimize import nnls

from gpucells.methods.extract.admm import solve_admm
from gpucells.ops.bilinear_rows import BLOCK
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.robust_footprints import Known, robust_footprints
from gpucells.ops.robust_traces import robust_traces

SHAPE = (12, 20)
N_PIXELS = SHAPE[0] * SHAPE[1]
LAYOUTS = {
    "one": [(6, 10)],
    "apart": [(2, 2), (9, 16), (2, 16)],
    "chain": [(5, 2 + 2.5 * i) for i in range(7)],
    "crowd": [(6 + 2.2 * np.sin(a), 10 + 2.2 * np.cos(a)) for a in np.arange(9) * 2 * np.pi / 9] + [(6, 10)],
}
EXACT: dict[str, Any] = {"n_steps": 40, "tolerance": 1e-6}
ANYWHERE = np.float32(1e6)  # a kappa that no residual reaches: least squares


class Problem:
    """A contaminated movie of one layout, in units of the noise."""

    def __init__(self, layout: str, n_frames: int = 70, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.cells = footprints(SHAPE, LAYOUTS[layout], 1.6 if layout == "crowd" else 2.0)
        self.dense = self.cells.toarray().astype(float)
        self.traces = transients(rng, len(self.dense), n_frames, 20, rate=0.1).astype(np.float32)
        self.movie = pixel_movie(rng, self.cells, self.traces, contamination=0.05)
        self.energy = np.linalg.norm(self.dense, axis=1)

    def kappa(self, value: float) -> Any:
        return np.full(N_PIXELS, value, np.float32)


def frame_error(problem: Problem, found: Any, wanted: Any) -> float:
    """Largest difference of a trace, in units of its own standard error."""
    return float(np.abs((found - wanted.T) * problem.energy[:, None]).max(initial=0))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_frames", [1, 5, BLOCK, BLOCK + 1])
def test_traces_are_nnls_where_kappa_is_out_of_reach(layout: str, n_frames: int) -> None:
    problem = Problem(layout, n_frames)
    found, loss = robust_traces(problem.movie, problem.cells, problem.kappa(ANYWHERE), **EXACT)
    assert found.dtype == np.float32
    assert found.shape == (len(problem.dense), n_frames)
    wanted = np.array([nnls(problem.dense.T, frame)[0] for frame in problem.movie.T.astype(float)])
    assert frame_error(problem, found, wanted) < 2e-3
    covered = problem.dense.any(axis=0)
    exact = objective(problem.movie[covered].T, problem.dense[:, covered], wanted, np.inf)
    np.testing.assert_allclose(loss, exact, rtol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kappa", [0.4, 1.5])
@pytest.mark.parametrize("warm", [False, True])
def test_traces_agree_with_the_float64_answer(layout: str, kappa: float, warm: bool) -> None:
    problem = Problem(layout)
    start = np.random.default_rng(3).uniform(0, 20, problem.traces.shape).astype(np.float32) if warm else None
    found, loss = robust_traces(problem.movie, problem.cells, problem.kappa(kappa), start=start, **EXACT)
    wanted = solve(problem.movie.T, problem.dense, kappa)
    assert frame_error(problem, found, wanted) < 5e-3
    covered = problem.dense.any(axis=0)
    exact = objective(problem.movie[covered].T, problem.dense[:, covered], wanted, kappa)
    np.testing.assert_allclose(loss, exact, rtol=2e-6)


LOWER = {"none": -np.inf, "zero": 0.0, "each": np.linspace(-2, 1, 7, dtype=np.float32), "above": 3.0}


@pytest.mark.parametrize("lower", LOWER)
@pytest.mark.parametrize("penalty", [0.0, 2.0, np.linspace(0, 4, 7, dtype=np.float32)], ids=["0", "2", "each"])
@pytest.mark.parametrize("warm", [False, True])
def test_traces_with_bounds_penalty_and_offset(lower: str, penalty: Any, warm: bool) -> None:
    problem = Problem("chain")
    offset = np.random.default_rng(1).normal(0, 5, N_PIXELS).astype(np.float32)
    start = np.zeros_like(problem.traces) if warm else None
    found, _ = robust_traces(
        problem.movie + offset[:, None], problem.cells, problem.kappa(0.7), offset=offset, start=start,
        lower=LOWER[lower], penalty=penalty, **EXACT,
    )  # fmt: skip
    wanted = solve(problem.movie.T, problem.dense, 0.7, penalty, LOWER[lower])
    assert frame_error(problem, found, wanted) < 5e-3
    assert (found >= np.broadcast_to(LOWER[lower], len(found))[:, None] - 1e-6).all()


def test_kappa_of_each_pixel_and_its_scale_by_cell_and_frame() -> None:
    problem = Problem("chain")
    rng = np.random.default_rng(2)
    kappa = rng.uniform(0.3, 2, N_PIXELS).astype(np.float32)
    found, _ = robust_traces(problem.movie, problem.cells, kappa, **EXACT)
    assert frame_error(problem, found, solve(problem.movie.T, problem.dense, kappa)) < 5e-3
    scale = rng.uniform(0.3, 3, problem.traces.shape).astype(np.float32)
    weights = problem.dense + 0.0
    mixed = (scale.T @ weights) / np.maximum(weights.sum(axis=0), 1e-6)
    found, _ = robust_traces(problem.movie, problem.cells, kappa, kappa_scale=scale, **EXACT)
    wanted = solve(problem.movie.T, problem.dense, np.maximum(kappa * mixed, 1e-9))
    assert frame_error(problem, found, wanted) < 5e-3


def test_a_graph_at_hand_gives_the_same() -> None:
    problem = Problem("crowd")
    graph = OverlapGraph.of(problem.cells)
    assert np.diff(graph.start).max() == len(problem.dense)  # a pixel that all ten cells cover
    first, _ = robust_traces(problem.movie, problem.cells, problem.kappa(0.7))
    second, _ = robust_traces(problem.movie, problem.cells, problem.kappa(0.7), graph=graph)
    np.testing.assert_array_equal(first, second)


def test_empty_footprints_and_no_footprints() -> None:
    problem = Problem("apart")
    none, loss = robust_traces(problem.movie, problem.cells[:0], problem.kappa(0.7))
    assert none.shape == (0, problem.movie.shape[1])
    assert not loss.any()
    stored_zeros = problem.cells[[1]]
    stored_zeros.data[:] = 0
    padded = sparse.csr_array(sparse.vstack([problem.cells[[0]], sparse.csr_array((1, N_PIXELS)), stored_zeros]))
    alone, _ = robust_traces(problem.movie, problem.cells[[0]], problem.kappa(0.7), lower=-np.inf)
    found, _ = robust_traces(problem.movie, padded.astype(np.float32), problem.kappa(0.7), lower=-np.inf)
    np.testing.assert_array_equal(found[[0]], alone)
    np.testing.assert_array_equal(found[1:], 0)


def test_copies_of_a_cell_share_its_light() -> None:
    problem = Problem("apart")
    twice = sparse.csr_array(sparse.vstack([problem.cells, problem.cells[[0]]]))
    alone, best = robust_traces(problem.movie, problem.cells, problem.kappa(0.7), **EXACT)
    found, loss = robust_traces(problem.movie, twice, problem.kappa(0.7), **EXACT)
    np.testing.assert_allclose(loss, best, rtol=1e-5)
    np.testing.assert_allclose(found[0] + found[3], alone[0], atol=2e-3)


def cvxpy_answer(data: Any, components: Any, kappa: float, penalty: float, lower: float | None) -> Any:
    """Minimise over the model and, sample by sample, over an outlier z that costs kappa a unit."""
    cvxpy = pytest.importorskip("cvxpy")
    x, z = cvxpy.Variable((len(data), len(components))), cvxpy.Variable(data.shape, nonneg=True)
    loss = cvxpy.sum_squares(data - x @ components - z) / 2 + kappa * cvxpy.sum(z) + penalty * cvxpy.sum(x)
    cvxpy.Problem(cvxpy.Minimize(loss), [] if lower is None else [x >= lower]).solve(solver="CLARABEL")
    return x.value


@pytest.mark.parametrize(("penalty", "lower"), [(0.0, 0.0), (3.0, 0.0), (0.0, None), (1.0, -0.5)])
def test_both_agree_with_cvxpy(penalty: float, lower: float | None) -> None:
    problem = Problem("chain", n_frames=10)
    bound = -np.inf if lower is None else lower
    found, _ = robust_traces(problem.movie, problem.cells, problem.kappa(0.7), penalty=penalty, lower=bound, **EXACT)
    wanted = cvxpy_answer(problem.movie.T.astype(float), problem.dense, 0.7, penalty, lower)
    assert frame_error(problem, found, wanted) < 5e-3
    if lower == 0:
        some = Problem("chain", n_frames=40)
        start = everywhere(len(some.dense), range(30))
        ours = robust_footprints(some.movie, some.traces, start, some.kappa(0.7), penalty=penalty, **EXACT)
        theirs = cvxpy_answer(some.movie[:30].astype(float), some.traces.astype(float), 0.7, penalty, 0.0)
        norm = np.linalg.norm(some.traces, axis=1)
        np.testing.assert_allclose(ours.toarray()[:, :30].T * norm, theirs * norm, atol=1e-2)


def everywhere(n_cells: int, pixels: Any = range(N_PIXELS), value: float = 0.0) -> sparse.csr_array:
    """Return footprints with an entry, though 0, at every one of some pixels: the widest mask, the coldest start."""
    rows, columns = np.repeat(np.arange(n_cells), len(pixels)), np.tile(list(pixels), n_cells)
    return sparse.csr_array((np.full(len(rows), value, np.float32), (rows, columns)), shape=(n_cells, N_PIXELS))


def masked(images: Any, mask: Any) -> sparse.csr_array:
    """Return ``(n_cells, n_pixels)`` images with an entry wherever the mask is, zeros included."""
    rows, columns = np.nonzero(mask)
    return sparse.csr_array((np.asarray(images, np.float32)[rows, columns], (rows, columns)), shape=mask.shape)


def pixel_error(traces: Any, found: sparse.csr_array, wanted: Any) -> float:
    """Largest difference of a footprint's pixel, in units of its standard error."""
    return float(np.abs((found.toarray().T - wanted) * np.linalg.norm(traces, axis=1)).max(initial=0))


@pytest.mark.parametrize("n_frames", [1, 2, 60])
def test_footprints_are_nnls_where_kappa_is_out_of_reach(n_frames: int) -> None:
    problem = Problem("chain", n_frames)
    n_cells = min(n_frames, len(problem.dense))  # more unknowns than frames have no one answer
    traces = problem.traces[:n_cells]
    found = robust_footprints(problem.movie, traces, everywhere(n_cells), problem.kappa(ANYWHERE), **EXACT)
    assert found.dtype == np.float32
    wanted = np.array([nnls(traces.T.astype(float), row)[0] for row in problem.movie.astype(float)])
    assert pixel_error(traces, found, wanted) < 5e-3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kappa", [0.4, 1.5])
@pytest.mark.parametrize("start", ["cold", "warm", "grown"])
def test_footprints_agree_with_the_float64_answer(layout: str, kappa: float, start: str) -> None:
    problem = Problem(layout, n_frames=150)
    mask = problem.dense > 0
    begin = {"cold": 0 * problem.dense, "warm": 1.3 * problem.dense, "grown": problem.dense * (problem.dense > 0.4)}
    found = robust_footprints(problem.movie, problem.traces, masked(begin[start], mask), problem.kappa(kappa), **EXACT)
    wanted = solve(problem.movie, problem.traces, kappa, allowed=mask.T)
    assert pixel_error(problem.traces, found, wanted) < 1e-2
    assert not found.toarray()[~mask].any()


@pytest.mark.parametrize("penalty", [0.0, 20.0, np.linspace(0, 40, 7, dtype=np.float32)], ids=["0", "20", "each"])
def test_footprints_with_offset_penalty_known_light_and_kappa_of_each_pixel(penalty: Any) -> None:
    problem = Problem("chain", n_frames=150)
    rng = np.random.default_rng(4)
    offset = rng.normal(0, 5, N_PIXELS).astype(np.float32)
    kappa = rng.uniform(0.3, 2, N_PIXELS).astype(np.float32)
    light = sparse.csc_array(rng.random((2, N_PIXELS)).astype(np.float32) * (rng.random((2, N_PIXELS)) < 0.6))
    known = Known(light, rng.normal(0, 3, (2, 150)).astype(np.float32))
    movie = problem.movie + offset[:, None] + light.T @ known.traces
    found = robust_footprints(
        movie.astype(np.float32), problem.traces, masked(problem.dense, problem.dense > 0), kappa,
        offset=offset, known=known, penalty=penalty, **EXACT,
    )  # fmt: skip
    wanted = solve(problem.movie, problem.traces, kappa[:, None], penalty, allowed=problem.dense.T > 0)
    assert pixel_error(problem.traces, found, wanted) < 1e-2


def test_footprints_of_no_cell_and_of_a_silent_one() -> None:
    problem = Problem("apart")
    empty = robust_footprints(problem.movie, problem.traces[:0], problem.cells[:0], problem.kappa(0.7))
    assert empty.shape == (0, N_PIXELS)
    nowhere = sparse.csr_array(problem.cells.shape, dtype=np.float32)
    assert robust_footprints(problem.movie, problem.traces, nowhere, problem.kappa(0.7)).nnz == 0
    silent = problem.traces * np.array([[1], [0], [1]], np.float32)
    found = robust_footprints(problem.movie, silent, problem.cells, problem.kappa(0.7)).toarray()
    alone = robust_footprints(problem.movie, silent[[0]], problem.cells[[0]], problem.kappa(0.7)).toarray()
    np.testing.assert_allclose(found[[0]], alone, atol=1e-6)
    assert np.isfinite(found).all()


class Fixture:
    """The original's contaminated problem: 400 pixels, 300 frames, 6 cells and 2 hidden ones."""

    def __init__(self, folder: Path) -> None:
        given = loadmat(folder / "fix_in.mat")
        self.movie, self.traces = given["M"], given["T_true"]
        self.images = given["S"].T.copy()
        self.kappa, self.noise = float(given["kappa"].item()), float(given["noise"].item())
        self.admm = loadmat(folder / "fix_out.mat")["T_admm"]
        self.mask = self.images > 0


@pytest.fixture(scope="module")
def fixture(shared_data: Path) -> Fixture:
    folder = shared_data / "extract_reference"
    if not folder.is_dir():
        pytest.skip("shared/data has no extract_reference")
    return Fixture(folder)


ROUNDING = 1e-6  # relative, of an objective reached in single precision


@pytest.mark.parametrize("whitened", [False, True])
def test_six_steps_of_traces_are_never_above_a_hundred_of_admm(fixture: Fixture, whitened: bool) -> None:
    unit = fixture.noise if whitened else 1.0
    kappa = np.full(400, fixture.kappa / unit, np.float32)
    found, _ = robust_traces(
        (fixture.movie / unit).astype(np.float32), sparse.csr_array(fixture.images), kappa, n_steps=6
    )
    ours = objective(fixture.movie.T, fixture.images, found.T * unit, fixture.kappa)
    original = objective(fixture.movie.T, fixture.images, fixture.admm, fixture.kappa)
    again = solve_admm(
        fixture.movie.T.copy(), fixture.images, np.zeros((300, 6), np.float32), fixture.kappa, stop_early=False
    )
    compatible = objective(fixture.movie.T, fixture.images, again.coefficients, fixture.kappa)
    assert (ours <= original * (1 + ROUNDING)).all()
    assert (ours <= compatible * (1 + ROUNDING)).all()
    best = objective(
        fixture.movie.T, fixture.images, solve(fixture.movie.T, fixture.images, fixture.kappa), fixture.kappa
    )
    assert (ours <= best * (1 + ROUNDING)).all()


def test_six_steps_of_footprints_are_never_above_a_hundred_of_admm(fixture: Fixture) -> None:
    found = robust_footprints(
        fixture.movie / np.float32(fixture.noise), fixture.traces, masked(0 * fixture.images, fixture.mask),
        np.full(400, fixture.kappa / fixture.noise, np.float32), n_steps=6, tolerance=1e-3,
    )  # fmt: skip
    ours = objective(fixture.movie, fixture.traces, found.toarray().T * fixture.noise, fixture.kappa)
    theirs = solve_admm(
        fixture.movie, fixture.traces, np.zeros((400, 6), np.float32), fixture.kappa,
        mask=fixture.mask.T.astype(np.float32), stop_early=False,
    )  # fmt: skip
    original = objective(fixture.movie, fixture.traces, theirs.coefficients, fixture.kappa)
    assert (ours <= original * (1 + ROUNDING)).all()


STARTS = ["zeros", "one at zero", "double", "exchanged", "a frame late"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("share", [0.7, 1.5])
def test_six_steps_are_enough_from_any_start(fixture: Fixture, start: str, share: float) -> None:
    """The loss is flat where all of a cell's pixels are above kappa: a start there must not hold the solver."""
    truth = fixture.traces
    begin = {
        "zeros": 0 * truth,
        "one at zero": truth * (np.arange(6) > 0)[:, None],
        "double": 2 * truth,
        "exchanged": truth[[3, 0, 5, 1, 2, 4]],
        "a frame late": np.roll(truth, 1, axis=1),
    }[start]
    kappa = share * fixture.noise
    found, _ = robust_traces(
        fixture.movie / np.float32(fixture.noise), sparse.csr_array(fixture.images), np.full(400, share, np.float32),
        start=(begin / fixture.noise).astype(np.float32), n_steps=6, tolerance=0.02,
    )  # fmt: skip
    best = objective(fixture.movie.T, fixture.images, solve(fixture.movie.T, fixture.images, kappa), kappa)
    ours = objective(fixture.movie.T, fixture.images, found.T * fixture.noise, kappa)
    assert (ours <= best * (1 + 1e-5)).all()


@pytest.mark.parametrize("start", ["zeros", "weak", "double", "core"])
@pytest.mark.parametrize("share", [0.7, 1.5])
def test_six_steps_of_footprints_are_enough_from_any_start(fixture: Fixture, start: str, share: float) -> None:
    truth = fixture.images
    begin = {"zeros": 0 * truth, "weak": 0.8 * truth, "double": 2 * truth, "core": truth * (truth > 0.2)}[start]
    kappa = share * fixture.noise
    active = np.maximum(fixture.traces - 3 * np.float32(fixture.noise), 0)
    found = robust_footprints(
        fixture.movie / np.float32(fixture.noise), active, masked(begin / fixture.noise, fixture.mask),
        np.full(400, share, np.float32),
    )  # fmt: skip
    wanted = solve(fixture.movie, active, kappa, allowed=fixture.mask.T)
    best = objective(fixture.movie, active, wanted, kappa)
    ours = objective(fixture.movie, active, found.toarray().T * fixture.noise, kappa)
    assert (ours <= best * (1 + 1e-5)).all()
