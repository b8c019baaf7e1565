"""What stages take, and what is told of them."""

from __future__ import annotations

import time

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


def test_events_name_the_device() -> None:
    told: list[Event] = []
    StageClock(told.append, "cuda:0").tell("read movie", 3, 10, "frames")
    assert told == [Event("read movie", 3, 10, "frames", "cuda:0")]
