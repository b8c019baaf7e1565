"""The robust regression of frames on a GPU: beside the CPU's body, both against the float64 objective and answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.one_sided_huber import objective, solve
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

from gpucells.ops import robust_traces, robust_traces_cuda
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.pixel_tiles import PixelTiles

SHAPE = (13, 21)
N_PIXELS = SHAPE[0] * SHAPE[1]
RNG = np.random.default_rng(8)
LAYOUTS: dict[str, Any] = {
    "one": [(6, 10)],
    "chain": [(5, 2 + 2.5 * i) for i in range(7)],  # up to four on a pixel
    "crowd": [(3, 3), (6, 12), *((6 + 4.5 * np.sin(a), 12 + 4.5 * np.cos(a)) for a in np.arange(11) * 2 * np.pi / 11)],
    "many": [(10 * i + i * j % 3, 9 * j + i * j % 5) for i in range(7) for j in range(9)],
    "none": [],
}
ROUNDING = 1e-6  # relative, of an objective reached in single precision
EXACT: dict[str, Any] = {"n_steps": 40, "tolerance": 1e-6}


class Problem:
    """A contaminated movie of one layout on a smooth field, in units of the noise."""

    def __init__(self, layout: str, n_frames: int, with_field: bool, shape: tuple[int, int] = SHAPE) -> None:
        rng, n_pixels = np.random.default_rng(1), shape[0] * shape[1]
        self.cells = footprints(shape, LAYOUTS[layout], 2.0)
        traces = transients(rng, self.cells.shape[0], max(n_frames, 1), 20, rate=0.1)[:, :n_frames]
        self.offset = rng.normal(0, 3, n_pixels).astype(np.float32)
        self.kappa = rng.uniform(0.5, 1.5, n_pixels).astype(np.float32)
        self.field = self.gain = None
        components = self.cells
        self.movie = pixel_movie(rng, self.cells, traces, contamination=0.05)
        if with_field:
            axes = (np.linspace(0, n - 1, gaps + 1) for n, gaps in zip(shape, (2, 3), strict=True))
            self.field = Bilinear.between(slice(0, shape[0]), slice(0, shape[1]), *axes)
            self.gain = (rng.uniform(0.5, 1.5, n_pixels) * (rng.random(n_pixels) < 0.95)).astype(np.float32)
            hats = self.field.images() * self.gain
            components = sparse.vstack([self.cells, hats])
            self.movie += hats.T @ rng.normal(0, 4, (self.field.n_nodes, n_frames)).astype(np.float32)
        self.dense = components.toarray().astype(float)
        self.movie = (self.movie + self.offset[:, None]).astype(np.float32)
        self.traces = np.zeros((len(self.dense), n_frames), np.float32)
        self.traces[: len(traces)] = traces

    def solve(self, cupy: Any = None, **options: Any) -> tuple[Any, Any]:
        movie = self.movie if cupy is None else cupy.asarray(self.movie)
        given = {"offset": self.offset, "field": self.field, "gain": self.gain} | options
        return robust_traces.robust_traces(movie, self.cells, self.kappa, **given)

    def objective(self, x: Any, penalty: Any = 0.0) -> Any:
        covered = self.dense.any(axis=0)
        data = (self.movie.astype(float) - self.offset[:, None])[covered].T
        return objective(data, self.dense[:, covered], x.T, self.kappa[covered], penalty)

    def difference(self, x: Any, y: Any) -> float:
        """Largest, in units of a trace's standard error where no other component is near."""
        return float((np.abs(x - y) * np.linalg.norm(self.dense, axis=1)[:, None]).max(initial=0))


OPTIONS: dict[str, dict[str, Any]] = {
    "cold": {},
    "no bound": {"lower": -np.inf},
    "penalty": {"penalty": 2.0, "lower": 0.5},
    "warm": {"lower": -np.inf, "start": True},
    "unchecked": {"lower": -np.inf, "start": True, "check": False, "n_steps": 7},
}


def check(cuda: Any, problem: Problem, name: str, n_steps: int) -> None:
    """Compare the two bodies with one another, and what they reached by the float64 objective."""
    chosen = {"n_steps": n_steps, "tolerance": 1e-4} | OPTIONS[name]
    if chosen.get("start"):
        chosen["start"] = (problem.traces * 1.2 + 1).astype(np.float32)
    penalty = chosen.get("penalty", 0.0)
    on_gpu, loss = problem.solve(cuda, **chosen)
    on_cpu, of_cpu = problem.solve(**chosen)
    assert (on_gpu.dtype, on_gpu.shape, loss.dtype, loss.shape) == (
        on_cpu.dtype, on_cpu.shape, of_cpu.dtype, of_cpu.shape,
    )  # fmt: skip
    reached, wanted = problem.objective(on_gpu, penalty), problem.objective(on_cpu, penalty)
    assert (reached <= wanted * (1 + ROUNDING)).all()
    assert (on_gpu >= chosen.get("lower", 0)).all()
    assert problem.difference(on_gpu, on_cpu) < 2e-2
    if chosen.get("check", True):
        np.testing.assert_allclose(loss, reached, rtol=ROUNDING)


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
@pytest.mark.parametrize("name", OPTIONS)
def test_agrees_with_the_cpu_and_the_float64_objective(cuda: Any, with_field: bool, name: str) -> None:
    check(cuda, Problem("chain", 43, with_field), name, 20)


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
@pytest.mark.parametrize("name", ["no bound", "penalty"])
def test_agrees_where_a_pixel_has_a_dozen_cells(emulated_cupy: Any, with_field: bool, name: str) -> None:
    problem = Problem("crowd", 20, with_field)
    tiles = PixelTiles.of(OverlapGraph.of(problem.cells, problem.field, problem.gain))
    assert 0 < tiles.crowded.sum() < tiles.n_tiles
    check(emulated_cupy, problem, name, 60)


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
def test_agrees_with_the_float64_answer(emulated_cupy: Any, with_field: bool) -> None:
    problem = Problem("one", 37, with_field)
    data = (problem.movie.astype(float) - problem.offset[:, None]).T
    wanted = solve(data, problem.dense, problem.kappa, lower=-np.inf)
    on_gpu, _ = problem.solve(emulated_cupy, lower=-np.inf, **EXACT)
    assert problem.difference(on_gpu, wanted.T) < 5e-3


def test_kappa_by_cell_and_frame(cuda: Any) -> None:
    problem = Problem("crowd", 45, with_field=False)
    scale = RNG.uniform(0.3, 3, problem.traces.shape).astype(np.float32)
    for start in (None, problem.traces):
        on_gpu, loss = problem.solve(cuda, kappa_scale=scale, start=start, n_steps=30, tolerance=1e-4)
        on_cpu, wanted = problem.solve(kappa_scale=scale, start=start, n_steps=30, tolerance=1e-4)
        np.testing.assert_allclose(loss, wanted, rtol=ROUNDING)
        assert problem.difference(on_gpu, on_cpu) < 0.1
        weights = problem.dense.sum(axis=0) + 1e-6
        kappa = np.maximum(problem.kappa * (scale.T @ problem.dense) / weights, 1e-12)
        exact = objective((problem.movie - problem.offset[:, None]).T, problem.dense, on_gpu.T, kappa)
        covered = problem.dense.any(axis=0)
        outside = objective((problem.movie - problem.offset[:, None]).T[:, ~covered], np.zeros((13, (~covered).sum())),
                            on_gpu.T, kappa[:, ~covered])  # fmt: skip
        np.testing.assert_allclose(loss, exact - outside, rtol=1e-5)


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
@pytest.mark.parametrize("n_frames", [0, 1, 32, 33])
def test_few_frames(emulated_cupy: Any, with_field: bool, n_frames: int) -> None:
    problem = Problem("chain", n_frames, with_field)
    on_gpu, loss = problem.solve(emulated_cupy, n_steps=30)
    on_cpu, wanted = problem.solve(n_steps=30)
    assert on_gpu.shape == on_cpu.shape == (len(problem.dense), n_frames)
    np.testing.assert_allclose(loss, wanted, rtol=ROUNDING)


def test_a_field_alone_one_pixel_and_nothing_covered(emulated_cupy: Any) -> None:
    problem = Problem("none", 40, with_field=True)
    (on_gpu, loss), (on_cpu, wanted) = problem.solve(emulated_cupy, lower=-np.inf), problem.solve(lower=-np.inf)
    assert problem.difference(on_gpu, on_cpu) < 1e-2
    np.testing.assert_allclose(loss, wanted, rtol=ROUNDING)
    movie, kappa = np.arange(5, dtype=np.float32)[None] - 1, np.ones(1, np.float32)
    single, _ = robust_traces.robust_traces(
        emulated_cupy.asarray(movie), sparse.csr_array(np.ones((1, 1), np.float32)), kappa
    )
    np.testing.assert_allclose(single, np.maximum(movie, 0), atol=1e-6)
    empty = sparse.csr_array((2, 1), dtype=np.float32)
    nowhere, lost = robust_traces.robust_traces(emulated_cupy.asarray(movie), empty, kappa, penalty=1.0)
    assert nowhere.shape == (2, 5)
    assert not nowhere.any()
    assert not lost.any()
    none, lost = robust_traces.robust_traces(emulated_cupy.asarray(movie), empty[:0], kappa)
    assert none.shape == (0, 5)
    assert lost.shape == (5,)


def test_no_step_is_the_start_and_its_loss(emulated_cupy: Any) -> None:
    problem = Problem("chain", 40, with_field=True)
    for start in (None, problem.traces - 1):
        on_gpu, loss = problem.solve(emulated_cupy, start=start, n_steps=0)
        np.testing.assert_array_equal(on_gpu, 0 * problem.traces if start is None else np.maximum(start, 0))
        np.testing.assert_allclose(loss, problem.objective(on_gpu), rtol=ROUNDING)


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
def test_an_image_of_many_tiles(emulated_cupy: Any, with_field: bool) -> None:
    problem = Problem("many", 33, with_field, (61, 75))
    graph = OverlapGraph.of(problem.cells, problem.field, problem.gain)
    assert PixelTiles.of(graph).n_tiles > 20
    (on_gpu, loss), (on_cpu, wanted) = (
        problem.solve(cupy, graph=graph, lower=-np.inf) for cupy in (emulated_cupy, None)
    )
    np.testing.assert_allclose(loss, wanted, rtol=ROUNDING)
    assert problem.difference(on_gpu, on_cpu) < 2e-2


@pytest.mark.parametrize("with_field", [False, True], ids=["cells", "field"])
def test_chunks_give_the_same_bits(emulated_cupy: Any, monkeypatch: pytest.MonkeyPatch, with_field: bool) -> None:
    problem = Problem("chain", 70, with_field)
    scale = None if with_field else RNG.uniform(0.5, 2, problem.traces.shape).astype(np.float32)
    options = {"start": problem.traces, "kappa_scale": scale, "n_steps": 2}
    whole, loss = problem.solve(emulated_cupy, **options)
    monkeypatch.setattr(robust_traces_cuda, "PARTIAL_BYTES", 1)  # one block of frames at once
    parts, again = problem.solve(emulated_cupy, **options)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(again, loss)
    copied = emulated_cupy.machine.counts["to_host"]
    problem.solve(emulated_cupy, **options)
    copied = emulated_cupy.machine.counts["to_host"] - copied
    monkeypatch.setattr(robust_traces_cuda, "FREE_SHARE", 0.0)
    before = emulated_cupy.machine.counts["to_host"]
    parts, again = problem.solve(emulated_cupy, **options)
    assert emulated_cupy.machine.counts["to_host"] - before == 3 * copied  # 70 frames are three blocks
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(again, loss)


def test_small_arrays_may_be_on_either_side_and_inputs_are_left_alone(emulated_cupy: Any) -> None:
    problem = Problem("chain", 40, with_field=False)
    wanted, _ = problem.solve(emulated_cupy, start=problem.traces)
    movie = emulated_cupy.asarray(problem.movie)
    kappa, offset, start = (emulated_cupy.asarray(a) for a in (problem.kappa, problem.offset, problem.traces))
    found, loss = robust_traces.robust_traces(movie, problem.cells, kappa, offset=offset, start=start)
    assert isinstance(found, np.ndarray)
    assert isinstance(loss, np.ndarray)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(movie.get(), problem.movie)
    np.testing.assert_array_equal(start.get(), problem.traces)


def test_sanitizers_find_nothing(sanitized_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("crowd", 11, with_field=True)
    graph = OverlapGraph.of(problem.cells, problem.field, problem.gain)
    assert 0 < PixelTiles.of(graph).crowded.sum() < PixelTiles.of(graph).n_tiles
    monkeypatch.setattr(robust_traces, "SWEEPS", 2)
    start = problem.traces + 1
    found, loss = problem.solve(sanitized_cuda, n_steps=1, start=start, graph=graph, check=False)
    np.testing.assert_allclose(loss, problem.objective(start), rtol=ROUNDING)
    assert (problem.objective(found) < loss).all()
