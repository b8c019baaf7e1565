"""One thread a device: who takes what, and how all end where one does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numba
import pytest

from gpucells.errors import DeviceError
from gpucells.tiles.workers import Stopped, Tasks, require_safe_threads, work_on_each

DEVICES = ("cuda:0", "cuda:1", "cuda:2")


def test_each_piece_is_taken_once_and_in_order() -> None:
    tasks, all_here = Tasks(range(300)), threading.Barrier(3)
    taken: dict[str, list[int]] = {}

    def work(device: str) -> None:
        all_here.wait(10)
        taken[device] = []
        for number in tasks:
            taken[device].append(number)
            time.sleep(0)

    work_on_each(DEVICES, tasks, work)
    assert sorted(number for numbers in taken.values() for number in numbers) == list(range(300))
    assert all(numbers == sorted(numbers) for numbers in taken.values())
    assert taken.keys() == set(DEVICES)


def test_one_device_works_in_the_callers_thread() -> None:
    threads = []
    work_on_each(("cpu",), Tasks([]), lambda _: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba has one thread")
def test_threads_of_compiled_loops_are_shared_out() -> None:
    before, seen = numba.get_num_threads(), []
    try:
        numba.set_num_threads(2)
        work_on_each(DEVICES[:2], Tasks([]), lambda _: seen.append(numba.get_num_threads()))
        assert (seen, numba.get_num_threads()) == ([1, 1], 2)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_the_first_error_ends_the_others_and_comes_out_as_it_is(kind: Any) -> None:
    tasks, error = Tasks(iter(range(10**9))), kind("theirs")
    ended = []

    def work(device: str) -> None:
        try:
            for number in tasks:
                if number == 5:
                    raise error
                while number > 5:  # in the middle of a piece
                    tasks.check()
                    time.sleep(0.001)
        finally:
            ended.append(device)

    with pytest.raises(kind) as caught:
        work_on_each(DEVICES, tasks, work)
    assert caught.value is error
    assert sorted(ended) == list(DEVICES)


def test_nothing_is_taken_after_an_error() -> None:
    tasks = Tasks("ab")
    assert next(tasks) == "a"
    tasks.stop(ValueError("theirs"))
    tasks.stop(ValueError("a later one"))
    with pytest.raises(Stopped):
        next(tasks)
    assert str(tasks.error) == "theirs"


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal cannot be sent to a process of one's own on Windows")
def test_ctrl_c_ends_all(hears_ctrl_c: None) -> None:
    tasks, all_here, ended = Tasks(range(3)), threading.Barrier(3), []

    def work(device: str) -> None:
        for number in tasks:
            all_here.wait(10)
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            try:
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    tasks.check()
                    time.sleep(0.001)
            finally:
                ended.append(device)

    with pytest.raises(KeyboardInterrupt):
        work_on_each(DEVICES, tasks, work)
    assert sorted(ended) == list(DEVICES)


def test_threads_that_cannot_be_shared_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    require_safe_threads()
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    with pytest.raises(DeviceError, match="several GPUs") as caught:
        require_safe_threads()
    assert "one GPU" in caught.value.hint
