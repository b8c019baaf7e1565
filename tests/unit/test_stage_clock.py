"""What stages take, and what is told of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gpucells.device.stage_clock import StageClock
from gpucells.progress import Event, silent


def test_stages_are_timed_in_order() -> None:
    clock = StageClock(silent, "cpu")
    with clock.stage("sleep"):
        time.sleep(0.05)
    with clock.stage("work"):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            sum(range(1000))
    sleep, work = clock.costs
    assert (sleep.stage, work.stage) == ("sleep", "work")
    assert sleep.wall_s >= 0.05
    assert sleep.cpu_s < 0.04
    assert work.cpu_s >= 0.05
    assert 10**6 < sleep.peak_bytes <= work.peak_bytes


def test_a_name_that_comes_again_adds_to_its_first() -> None:
    clock = StageClock(silent, "cpu")
    for name in ("a", "b", "a"):
        with clock.stage(name):
            time.sleep(0.01)
    assert [cost.stage for cost in clock.costs] == ["a", "b"]
    assert clock.costs[0].wall_s >= 0.02


def test_a_stage_that_fails_is_timed_too() -> None:
    clock = StageClock(silent, "cpu")
    with pytest.raises(KeyboardInterrupt), clock.stage("a"):
        raise KeyboardInterrupt
    assert [cost.stage for cost in clock.costs] == ["a"]


def test_stages_of_several_threads_add_up_to_the_time_that_passed() -> None:
    clock, both = StageClock(silent, "cpu"), threading.Barrier(2)

    def work(name: str) -> None:
        with clock.stage(name):
            both.wait()
            time.sleep(0.1)
            both.wait()

    before = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, "ab"))
    passed = time.perf_counter() - before
    first, second = clock.costs
    assert 0.1 <= first.wall_s + second.wall_s <= passed
    assert min(first.wall_s, second.wall_s) >= 0.05


def test_threads_tell_one_after_the_other() -> None:
    inside: list[int] = []

    def sink(event: Event) -> None:
        inside.append(1)
        time.sleep(0.001)
        most.append(len(inside))
        inside.pop()

    most: list[int] = []
    clock = StageClock(sink, "cpu")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda done: clock.tell("a", done, 40, "cells"), range(40)))
    assert most == [1] * 40


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2}])
def test_a_stage_knows_what_the_fullest_gpu_holds(emulated_cupy: Any) -> None:
    clock = StageClock(silent, "cuda:0", "cuda:1")
    with clock.stage("a"):
        first = emulated_cupy.zeros(1 << 20, np.uint8)
        with emulated_cupy.cuda.Device(1):
            second = emulated_cupy.zeros(3 << 20, np.uint8)
    del second
    with emulated_cupy.cuda.Device(1):
        emulated_cupy.get_default_memory_pool().free_all_blocks()
    for name in "ab":
        with clock.stage(name):
            assert first.nbytes == 1 << 20
    assert [cost.device_peak_bytes for cost in clock.costs] == [3 << 20, 1 << 20]
    clock.devices = ("cuda:7",)  # lost: not the error that is to be seen
    with pytest.raises(ValueError, match="theirs"), clock.stage("c"):
        raise ValueError("theirs")


def test_events_name_the_device() -> None:
    told: list[Event] = []
    clock = StageClock(told.append, "cuda:0", "cuda:1")
    clock.tell("read movie", 3, 10, "frames")
    clock.tell("refine", 1, 2, "rounds", "cuda:1")
    assert told == [Event("read movie", 3, 10, "frames", "cuda:0"), Event("refine", 1, 2, "rounds", "cuda:1")]
