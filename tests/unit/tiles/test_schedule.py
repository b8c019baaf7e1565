"""Tiles on several simulated GPUs: the result of one, wherever they are solved."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import sparse

from gpucells.device.arrays import to_host
from gpucells.device.stage_clock import StageClock
from gpucells.model.components import Components, Rejected
from gpucells.progress import Event
from gpucells.settings import RunSettings
from gpucells.tiles import plan as plan_module
from gpucells.tiles.plan import make_plan
from gpucells.tiles.schedule import solve_tiles
from gpucells.tiles.working_movie import ingest

SHAPE, N_FRAMES = (48, 60), 43
IMAGE_BYTES = 4 * SHAPE[0] * SHAPE[1] * N_FRAMES
MEMORY = 40 * IMAGE_BYTES
N_PLANNED = 2


class Mean:
    """Stands for a method: each pixel's mean, from two copies of the tile, once all devices have a tile."""

    went_on: ClassVar[list[int]] = []  # devices that were not stopped within their tile

    def __init__(self, cupy: Any, method: Any, n_devices: int) -> None:
        self.cupy, self.model = cupy, method.model
        self.title = method.title
        self.began = threading.Barrier(n_devices)
        self.begun: set[int] = set()
        self.fails_on: int | None = None

    def solve(self, movie: Any, inside: Any, nodes: Any, *others: Any) -> Components:
        device = movie.device.id
        if device not in self.begun:
            self.begun.add(device)
            self.began.wait(20)
        report = others[2]
        report("refine", 1, 1, "rounds")
        if self.fails_on is not None:
            if device == self.fails_on:
                raise RuntimeError("theirs")
            for _ in range(5_000):  # five seconds
                report("refine", 1, 1, "rounds")
                time.sleep(0.001)
            self.went_on.append(device)
        assert self.cupy.cuda.Device().id == device
        copies = [movie + k for k in range(2)]
        mean = to_host(copies[0].mean(axis=2)).ravel()
        none, nobody = sparse.csr_array((0, inside.size), dtype=np.float32), np.zeros((0, N_FRAMES), np.float32)
        field = np.zeros((nodes.n_nodes, N_FRAMES), np.float32)
        return Components(none, nobody, mean, mean, mean, field, {}, Rejected(none, nobody, (), {}))


def solved_on(
    cupy: Any, movie: Any, monkeypatch: pytest.MonkeyPatch, *devices: str, fails_on: int | None = None
) -> SimpleNamespace:
    """Solve the tiles planned for two devices on these."""
    monkeypatch.setattr(plan_module, "choose_devices", lambda _: ("cuda:0", "cuda:1"))
    plan = make_plan(movie, "extract", RunSettings(cell_diameter_px=3), {"downsample_time_by": 1})
    assert len(plan.tiles) == N_PLANNED
    plan = replace(plan, devices=devices, method=Mean(cupy, plan.method, len(devices)))  # type: ignore[arg-type]
    plan.method.fails_on = fails_on  # type: ignore[attr-defined]
    told: list[Event] = []
    clock = StageClock(told.append, *devices)
    working, summary = ingest(movie, plan.tiles, 1, lambda *_: None)
    with working:
        tiles, parts, correlation = solve_tiles(
            plan, working, summary, clock, lambda tile, _: to_host(tile.max(axis=2))
        )
    baseline = np.full(SHAPE, np.nan, np.float32)
    for tile, part in zip(tiles, parts, strict=True):
        baseline[tile.core_rows, tile.core_columns] = part.baseline.reshape(tile.shape)[tile.core_within]
    warnings = [warning for part in parts for warning in part.warnings]
    return SimpleNamespace(
        baseline=baseline, correlation=correlation, told=told, warnings=warnings, tiles=tiles, costs=clock.costs
    )


@pytest.fixture
def movie(as_movie: Any) -> Any:
    return as_movie(np.random.default_rng(0).integers(100, 1000, (N_FRAMES, *SHAPE)).astype(np.uint16))


def in_order(order: int) -> dict[str, Any]:
    return {"n_devices": 2, "vram_bytes": MEMORY, "order": order}


@pytest.mark.parametrize("emulated_settings", [in_order(0), in_order(1), in_order(5)], ids=str)
def test_two_gpus_give_what_one_gives(emulated_cupy: Any, movie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = solved_on(emulated_cupy, movie, monkeypatch, "cuda:0")
    assert emulated_cupy.machine.gpus[1].peak_bytes == 0
    two = solved_on(emulated_cupy, movie, monkeypatch, "cuda:0", "cuda:1")
    for first, second in ((one.baseline, two.baseline), (one.correlation, two.correlation)):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(two.baseline, movie.read().mean(axis=0), rtol=1e-6)
    assert one.tiles == two.tiles
    assert not two.warnings
    assert {(event.stage, event.device) for event in one.told} == {
        (f"refine, tile {tile} of 2", "cuda:0") for tile in (1, 2)
    }
    assert {event.stage for event in two.told} == {f"refine, tile {tile} of 2" for tile in (1, 2)}
    assert {event.device for event in two.told} == {"cuda:0", "cuda:1"}
    assert min(gpu.peak_bytes for gpu in emulated_cupy.machine.gpus) > 2 * IMAGE_BYTES / N_PLANNED
    assert all(cost.device_peak_bytes > IMAGE_BYTES / N_PLANNED for cost in two.costs)


@pytest.mark.parametrize("emulated_settings", [in_order(0), in_order(5)], ids=str)
def test_a_gpu_whose_memory_runs_out_splits_its_tile_alone(
    emulated_cupy: Any, movie: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = solved_on(emulated_cupy, movie, monkeypatch, "cuda:0", "cuda:1")
    with emulated_cupy.cuda.Device(1):
        emulated_cupy.get_default_memory_pool().free_all_blocks()
        others = emulated_cupy.empty(MEMORY - int(1.7 * IMAGE_BYTES), np.uint8)  # somebody else's
    monkeypatch.setattr(plan_module, "device_budget_bytes", lambda *_: MEMORY)
    split = solved_on(emulated_cupy, movie, monkeypatch, "cuda:0", "cuda:1")
    (warning,) = split.warnings
    assert warning.startswith("cuda:1 ran out of memory at a tile of")
    assert len(split.tiles) == N_PLANNED + 1
    np.testing.assert_allclose(split.baseline, whole.baseline, rtol=1e-6)
    np.testing.assert_allclose(split.correlation, whole.correlation, atol=1e-3)
    assert others.nbytes


@pytest.mark.parametrize("emulated_settings", [in_order(0)], ids=str)
@pytest.mark.parametrize("fails_on", [0, 1])
def test_an_error_on_one_gpu_ends_the_other_within_its_tile(
    emulated_cupy: Any, movie: Any, monkeypatch: pytest.MonkeyPatch, fails_on: int
) -> None:
    with pytest.raises(RuntimeError, match="theirs"):
        solved_on(emulated_cupy, movie, monkeypatch, "cuda:0", "cuda:1", fails_on=fails_on)
    assert not Mean.went_on
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gpucells-device")]
