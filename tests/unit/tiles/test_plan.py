"""What a run will do: averaging, tiles, memory, and what is refused before anything is done."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import gpucells
from gpucells.errors import DeviceError, DeviceMemoryError, InputError, SettingsError
from gpucells.settings import RunSettings
from gpucells.tiles import plan as plan_module
from gpucells.tiles.plan import FEWEST_FRAMES, make_plan


@pytest.fixture(scope="module")
def simulated() -> Any:
    return gpucells.simulate_movie("two_photon", shape=(300, 64, 64), seed=0)


def planned(movie: Any, values: dict[str, Any] | None = None, **run: Any) -> plan_module.Plan:
    return make_plan(gpucells.open_movie(movie), "extract", RunSettings.from_values(run), values or {})


def test_what_is_not_given_is_estimated(simulated) -> None:
    plan = planned(simulated.movie)
    assert 2 * plan.radius_px == pytest.approx(12, rel=0.2)  # cells were drawn 12 px wide
    assert plan.factor == 2  # of a decay of 8 frames, and about 5 are wanted
    assert len(plan.tiles) == 1
    assert plan.device == "cpu"
    record = plan.record(RunSettings.from_values({}))
    assert record["estimated"] == {"cell_diameter_px": 2 * plan.radius_px, "downsample_time_by": 2}
    assert {"run", "extract", "estimated"} == record.keys()


def test_slow_transients_are_averaged() -> None:
    slow = gpucells.simulate_movie("two_photon", shape=(600, 64, 64), seed=0, decay_s=2.0, event_rate_hz=0.05)
    assert planned(slow.movie).factor in (3, 4)  # 20 frames keep about 5


def test_what_is_given_is_taken(simulated) -> None:
    plan = planned(simulated.movie, {"downsample_time_by": 5}, cell_diameter_px=9)
    assert (plan.radius_px, plan.factor) == (4.5, 5)
    assert planned(simulated.movie, {"downsample_time_by": 200}).factor == 300 // FEWEST_FRAMES


def test_noise_is_the_movies_at_the_full_rate() -> None:
    rng = np.random.default_rng(0)
    spread = np.linspace(2, 6, 20)
    movie = (100 + spread[:, None] * rng.normal(size=(600, 20, 20))).astype(np.float32)
    plan = planned(movie, cell_diameter_px=6)
    np.testing.assert_allclose(plan.noise.mean(axis=1), spread, rtol=0.1)


def test_a_long_movie_is_not_read_whole(simulated, monkeypatch) -> None:
    monkeypatch.setattr("gpucells.tiles.look.BYTES", 60 * 4 * 64 * 64)
    movie = gpucells.open_movie(simulated.movie)
    read: list[int] = []
    original = type(movie).read

    def counting(self: Any, frames: slice = slice(None), *box: Any) -> Any:
        result = original(self, frames, *box)
        read.append(len(result))
        return result

    monkeypatch.setattr(type(movie), "read", counting)
    make_plan(movie, "extract", RunSettings.from_values({}), {})
    assert read == [60]  # in a row: three blocks of 20 would each be too short to see a transient


def test_lines_say_what_would_be_done_with_sizes_in_bytes(simulated) -> None:
    plan = planned(simulated.movie, {"downsample_time_by": 2}, memory_bytes=2 * 10**9)
    text = "\n".join(plan.lines())
    for part in (
        "array: 300 frames of 64 x 64, uint16, 2,457,600 bytes",
        "EXTRACT (Inan et al. 2021) on cpu",
        "2 frames into one: 150 frames",
        "whole image; the largest 4,096 pixels, 3,072,000 bytes",
        "2,000,000,000 bytes at most",
    ):
        assert part in text
    tiled = planned(simulated.movie, {"downsample_time_by": 2}, cell_diameter_px=6, memory_bytes=4 * 2_000_000)
    assert re.search(
        r"tiles +4 tiles, halo included; the largest 2,209 pixels, 1,656,750 bytes", "\n".join(tiled.lines())
    )
    dim = planned(np.random.default_rng(0).normal(size=(40, 16, 16)))
    assert [line for line in dim.lines() if line.startswith("warning     no ")]


def test_tiles_fit_the_memory(simulated) -> None:
    with pytest.raises(DeviceMemoryError, match="smallest tile") as caught:
        planned(simulated.movie, memory_bytes=10**6)
    assert "--memory" in caught.value.hint


MIB = 1 << 20


@pytest.mark.parametrize("emulated_settings", [{"vram_bytes": 16 * MIB}])
def test_tiles_fit_the_gpus_memory_too(simulated, emulated_cupy, monkeypatch) -> None:
    monkeypatch.setattr(plan_module, "choose_devices", lambda request: ("cuda:0",))
    values, run = {"downsample_time_by": 2}, {"cell_diameter_px": 6, "memory_bytes": 2 * 10**9}
    whole = planned(simulated.movie, values, **run)
    assert len(whole.tiles) == 1
    assert whole.lines()[-1] == "GPU memory  15,099,494 bytes at most; the largest tile takes 9,625,600 bytes"
    tiled = planned(simulated.movie, values, **run, device_memory_bytes=6 * MIB)
    assert len(tiled.tiles) == 4
    assert tiled.lines()[-1] == "GPU memory  6,291,456 bytes at most; the largest tile takes 5,191,150 bytes"
    assert tiled.halo_px == 15
    assert tiled.record(RunSettings(device_memory_bytes=5))["run"]["device_memory_bytes"] == 5  # type: ignore[index]
    with pytest.raises(DeviceMemoryError, match="smallest tile") as caught:
        planned(simulated.movie, values, **run, device_memory_bytes=MIB // 8)
    assert "--device-memory" in caught.value.hint


@pytest.mark.parametrize("emulated_settings", [{"vram_bytes": 16 * MIB, "n_devices": 3}])
def test_tiles_fit_the_smallest_gpu_and_every_gpu_gets_one(simulated, emulated_cupy, monkeypatch) -> None:
    monkeypatch.setattr(plan_module, "choose_devices", lambda request: ("cuda:0", "cuda:2"))
    with emulated_cupy.cuda.Device(2):
        somebody_elses = emulated_cupy.zeros(4 * MIB, np.uint8)
    plan = planned(simulated.movie, {"downsample_time_by": 2}, cell_diameter_px=6, memory_bytes=2 * 10**9)
    assert (plan.device, plan.devices) == ("cuda:0,2", ("cuda:0", "cuda:2"))
    assert plan.device_room is not None
    assert plan.device_room.n_bytes == int(0.9 * 12 * MIB)
    assert len(plan.tiles) == 2
    assert plan.lines()[-1] == (
        "GPU memory  11,324,620 bytes at most of each of 2 GPUs; the largest tile takes 7,068,800 bytes"
    )
    assert somebody_elses.nbytes


def test_threads_that_cannot_be_shared_are_told_before_the_movie_is_read(simulated, monkeypatch) -> None:
    monkeypatch.setattr(plan_module, "choose_devices", lambda request: ("cuda:0", "cuda:1"))
    monkeypatch.setattr("numba.threading_layer", lambda: "workqueue")
    with pytest.raises(DeviceError, match="workqueue"):
        planned(simulated.movie)


def test_a_gpus_memory_does_not_matter_on_the_cpu(simulated) -> None:
    plan = planned(simulated.movie, device="cpu", device_memory_bytes=5)
    assert (len(plan.tiles), plan.device_room) == (1, None)
    assert not [line for line in plan.lines() if line.startswith("GPU")]


@pytest.mark.parametrize("n_frames", [1, FEWEST_FRAMES - 1])
def test_too_few_frames(simulated, n_frames: int) -> None:
    with pytest.raises(InputError, match=f"array has {n_frames} frames"):
        planned(simulated.movie[:n_frames])
    assert planned(simulated.movie[:FEWEST_FRAMES]).factor == 1


@pytest.mark.parametrize("value", [0, 55, np.nan, np.inf])
def test_nothing_that_varies(value: float) -> None:
    with pytest.raises(InputError, match="no pixel of 40 frames varies"):
        planned(np.full((40, 16, 16), value, np.float32))


def test_unknown_names_are_refused(simulated) -> None:
    movie = gpucells.open_movie(simulated.movie)
    run = RunSettings.from_values({})
    with pytest.raises(SettingsError, match="unknown method"):
        make_plan(movie, "cmnf", run, {})
    with pytest.raises(SettingsError, match="unknown setting 'max_itr'"):
        make_plan(movie, "extract", run, {"max_itr": 3})
    with pytest.raises(DeviceError):
        make_plan(movie, "extract", run.changed(device="cuda:7"), {})
