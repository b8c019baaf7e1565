"""Tiles on a device with little memory: they fit, more of them are planned, or they are split on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.device.budget import device_budget_bytes, limited_memory
from gpucells.errors import DeviceMemoryError
from gpucells.model.components import Components, Rejected
from gpucells.postprocess.join import join_tiles
from gpucells.tiles import frames as frames_module
from gpucells.tiles import working_movie as working_module
from gpucells.tiles.grid import DEVICE_BYTES_PER_SAMPLE, Room, Tile, plan_tiles
from gpucells.tiles.recovery import SplittingSolver
from gpucells.tiles.working_movie import WorkingMovie, ingest

SHAPE, N_FRAMES, HALO = (48, 60), 43, 5
IMAGE_BYTES = 4 * SHAPE[0] * SHAPE[1] * N_FRAMES


class Solver:
    """Stands for a method: it uploads the tile, needs ``n_copies`` of it at once, and says each pixel's mean."""

    def __init__(self, cupy: Any, working: WorkingMovie, n_copies: int) -> None:
        self.cupy, self.working, self.n_copies = cupy, working, n_copies
        self.tried: list[tuple[int, int]] = []
        self.held_before: list[int] = []

    def __call__(self, tile: Tile) -> Components:
        self.tried.append(tile.shape)
        self.held_before.append(self.cupy.get_default_memory_pool().total_bytes())
        movie = self.cupy.empty((*tile.shape, self.working.n_frames), np.float32)
        self.working.read(tile, movie)
        copies = [movie + k for k in range(self.n_copies)]
        mean = to_host(movie.mean(axis=2)).ravel()
        del copies
        none, nobody = sparse.csr_array((0, tile.n_pixels), dtype=np.float32), np.zeros((0, N_FRAMES), np.float32)
        rejected = Rejected(none, nobody, (), {})
        return Components(none, nobody, mean, mean, mean, np.zeros((1, N_FRAMES), np.float32), {}, rejected)


@pytest.fixture
def movie(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """In blocks of five frames and pieces of a few rows: small beside a tile."""
    monkeypatch.setattr(frames_module.frames_per_block, "__defaults__", (1, 5 * 4 * SHAPE[0] * SHAPE[1], None))
    monkeypatch.setattr(working_module, "BLOCK_BYTES", IMAGE_BYTES // 10)
    return np.random.default_rng(0).integers(100, 1000, (N_FRAMES, *SHAPE)).astype(np.uint16)


def solve(cupy: Any, movie: Any, n_copies: int) -> tuple[Solver, list[Tile], list[Tile], Components]:
    """Plan, read, solve, join: what was tried, planned and done, and the whole image's mean."""
    room = Room(device_budget_bytes("cuda:0"), DEVICE_BYTES_PER_SAMPLE, "--device-memory")
    planned = plan_tiles(SHAPE, N_FRAMES, HALO, Room(10**9), room)
    working, _ = ingest(movie, planned, 1, lambda *_: None)
    solved = []
    with working:
        solve_one = Solver(cupy, working, n_copies)
        splitting = SplittingSolver(solve_one, SHAPE, HALO, "cuda:0")
        for tile in planned:
            solved += splitting.solve(tile)
            working.release(tile)
    tiles, parts = [tile for tile, _ in solved], [part for _, part in solved]
    hats = sparse.csr_array(np.ones((1, SHAPE[0] * SHAPE[1]), np.float32))
    return solve_one, planned, tiles, join_tiles(tiles, parts, SHAPE, 1.0, hats)


def memory(share: float, order: int = 0) -> dict[str, Any]:
    return {"vram_bytes": int(share * IMAGE_BYTES), "order": order}


@pytest.mark.parametrize(
    ("emulated_settings", "n_copies", "n_planned", "n_solved"),
    [
        pytest.param(memory(2), 0, 1, 1, id="fits"),
        pytest.param(memory(1), 0, 2, 2, id="needs tiles"),
        pytest.param(memory(2), 1, 1, 2, id="too large, recovers"),
        pytest.param(memory(2, order=3), 1, 1, 2, id="too large, recovers, in another order"),
        pytest.param(memory(1), 2, 2, 8, id="needs tiles, and those are too large"),
    ],
)
def test_whatever_the_limit_the_result_is_the_same(
    emulated_cupy: Any, movie: Any, as_movie: Any, caplog: Any, n_copies: int, n_planned: int, n_solved: int
) -> None:
    solver, planned, tiles, whole = solve(emulated_cupy, as_movie(movie), n_copies)
    assert (len(planned), len(tiles)) == (n_planned, n_solved)
    np.testing.assert_allclose(whole.baseline.reshape(SHAPE), movie.mean(axis=0), rtol=1e-6)
    failed = len(solver.tried) - len(tiles)
    assert bool(failed) == (n_solved > n_planned)
    assert len(whole.warnings) == len(caplog.messages) == failed
    assert all("cuda:0 ran out of memory at a tile of" in said for said in (*whole.warnings, *caplog.messages))
    if failed:
        assert f"{planned[0].shape[0]} x {planned[0].shape[1]} pixels" in whole.warnings[0]
        assert solver.held_before[1] == 0, "what a failed attempt had made is given back before the next"
        assert sorted(solver.tried, reverse=True)[:failed] == solver.tried[:failed], "no size is tried twice in vain"


@pytest.mark.parametrize("emulated_settings", [memory(0.2)])
def test_where_nothing_fits_it_is_said(emulated_cupy: Any, movie: Any, as_movie: Any) -> None:
    with pytest.raises(
        DeviceMemoryError, match=r"cuda:0 ran out of memory .* smallest .*: Out of memory alloc"
    ) as caught:
        solve(emulated_cupy, as_movie(movie), 20)
    assert "--device-memory" in caught.value.hint


@pytest.mark.parametrize("emulated_settings", [memory(8)])
def test_a_given_limit_is_kept_by_splitting(emulated_cupy: Any, movie: Any, as_movie: Any) -> None:
    with limited_memory("cuda:0", int(1.5 * IMAGE_BYTES)):
        _, planned, tiles, whole = solve(emulated_cupy, as_movie(movie), 1)
    assert (len(planned), len(tiles)) == (1, 2)
    np.testing.assert_allclose(whole.baseline.reshape(SHAPE), movie.mean(axis=0), rtol=1e-6)
    assert emulated_cupy.machine.gpus[0].peak_bytes <= 1.5 * IMAGE_BYTES


def test_other_errors_are_not_swallowed() -> None:
    def fail(tile: Tile) -> Components:
        raise MemoryError("Unable to allocate an array")

    (tile,) = plan_tiles(SHAPE, N_FRAMES, HALO, Room(10**9))
    with pytest.raises(MemoryError, match="Unable"):
        SplittingSolver(fail, SHAPE, HALO, "cuda:0").solve(tile)
