"""Streams of the stand-in: right code gives one answer in every order, code that forgets to wait does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator.fixtures import ORDERS
from emulator.launch import LaunchError
from emulator.stand_in.install import installed

pytestmark = pytest.mark.usefixtures("emulator")

FOLDER = Path(__file__).parent / "kernels"
CLEAN = (FOLDER / "clean.cu").read_text(encoding="utf-8")
FAULTS = (FOLDER / "faults.cu").read_text(encoding="utf-8")
MOVIE = np.random.default_rng(3).random((6, 40), np.float32)
SEEDS = (0, 1, *range(2, 20))


def add_one(cupy: Any) -> Any:
    module = cupy.RawModule(code=CLEAN, options=("-std=c++17", f"-I{FOLDER}"))
    return module.get_function("add_one")


def double_buffered(cupy: Any, forget: str = "") -> np.ndarray:
    """Send the movie through two buffers: host, upload stream, work stream, download stream, host."""
    kernel, n = add_one(cupy), MOVIE.shape[1]
    up, work, down = (cupy.cuda.Stream(non_blocking=True) for _ in range(3))
    pinned = [np.frombuffer(cupy.cuda.alloc_pinned_memory(4 * n), np.float32, n) for _ in range(2)]
    inputs, outputs = ([cupy.empty(n, np.float32) for _ in range(2)] for _ in range(2))
    uploaded, computed, downloaded = ([cupy.cuda.Event() for _ in range(2)] for _ in range(3))
    results = np.zeros_like(MOVIE)
    for k, frame in enumerate(MOVIE):
        b = k % 2
        if forget != "host waits before it fills a buffer again":
            uploaded[b].synchronize()
        pinned[b][:] = frame
        if forget != "upload waits until its buffer was read":
            up.wait_event(computed[b])
        inputs[b].set(pinned[b], stream=up)
        uploaded[b].record(up)
        if forget != "work waits for the upload":
            work.wait_event(uploaded[b])
        if forget != "work waits until its output was taken":
            work.wait_event(downloaded[b])
        with work:
            kernel((2,), (32,), (inputs[b], outputs[b], np.int32(n)))
        computed[b].record(work)
        if forget != "download waits for the work":
            down.wait_event(computed[b])
        outputs[b].get(stream=down, out=results[k], blocking=False)
        downloaded[b].record(down)
    if forget != "host waits for the end":
        down.synchronize()
    return results.copy()


def answers(run: Callable[[Any], np.ndarray], seeds: tuple[int, ...] = SEEDS) -> set[bytes]:
    found = set()
    for seed in seeds:
        with installed(order=seed) as cupy:
            found.add(run(cupy).tobytes())
    return found


def test_right_double_buffering_gives_one_answer() -> None:
    assert answers(double_buffered) == {(MOVIE + 1).tobytes()}


@pytest.mark.parametrize(
    "forget",
    [
        "host waits before it fills a buffer again",
        "upload waits until its buffer was read",
        "work waits for the upload",
        "work waits until its output was taken",
        "download waits for the work",
        "host waits for the end",
    ],
)
def test_a_missing_wait_gives_other_answers(forget: str) -> None:
    found = answers(lambda cupy: double_buffered(cupy, forget))
    assert (MOVIE + 1).tobytes() in found, "in some order it happens to be right: such is this fault"
    assert len(found) > 1


def freed_too_early(cupy: Any, wait: bool) -> np.ndarray:
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.asarray(MOVIE)
    cupy.cuda.Stream.null.synchronize()
    with stream:
        y = x * 2
    if wait:
        cupy.cuda.get_current_stream().wait_event(stream.record())
    del x
    other = cupy.zeros(MOVIE.shape, np.float32)  # its memory
    assert not other.get().any()
    stream.synchronize()
    return y.get()


def test_memory_freed_while_another_stream_uses_it_is_given_out_again() -> None:
    assert answers(lambda cupy: freed_too_early(cupy, wait=True)) == {(MOVIE * 2).tobytes()}
    found = answers(lambda cupy: freed_too_early(cupy, wait=False))
    assert len(found) > 1


def null_and_other(cupy: Any, non_blocking: bool) -> np.ndarray:
    stream = cupy.cuda.Stream(non_blocking=non_blocking)
    x = cupy.asarray(MOVIE)  # on the null stream
    with stream:
        x *= 2
    y = x + 1  # on the null stream
    return y.get()


def test_the_null_stream_waits_for_blocking_streams_alone() -> None:
    assert answers(lambda cupy: null_and_other(cupy, non_blocking=False)) == {(MOVIE * 2 + 1).tobytes()}
    assert len(answers(lambda cupy: null_and_other(cupy, non_blocking=True))) > 1


def test_events_and_streams_can_be_asked(cupy_in_any_order: Any) -> None:
    cuda = cupy_in_any_order.cuda
    stream, never = cuda.Stream(non_blocking=True), cuda.Event()
    assert never.done
    stream.wait_event(never)  # no wait, as in CUDA
    seen: list[str] = []
    start = stream.record()
    stream.launch_host_func(seen.append, "called")
    event = stream.record()
    while not event.done:
        pass
    assert seen == ["called"]
    assert stream.done
    assert cuda.get_elapsed_time(start, event) > 0
    assert cuda.get_current_stream() == cuda.Stream.null
    with stream:
        assert cuda.get_current_stream() == stream
    assert stream.is_non_blocking
    assert cuda.get_current_stream().ptr == 0


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2}])
def test_each_device_has_its_own_current_stream(cupy_in_any_order: Any) -> None:
    cuda = cupy_in_any_order.cuda
    stream = cuda.Stream()
    with cuda.Device(1), pytest.raises(RuntimeError, match="does not match with the current"), stream:
        pass
    with stream, cuda.Device(1):
        assert cuda.get_current_stream().ptr == 0


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2}])
def test_a_thread_for_each_device(cupy_in_any_order: Any) -> None:
    cupy = cupy_in_any_order
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        with cupy.cuda.Device(number):
            for _ in range(5):
                results[number] = double_buffered(cupy)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results[0], MOVIE + 1)
    np.testing.assert_array_equal(results[1], MOVIE + 1)


def test_launches_are_checked_as_strictly_as_the_emulator_does(emulated_cupy: Any) -> None:
    kernel = add_one(emulated_cupy)
    x = emulated_cupy.zeros(40, np.float32)
    for wrong, error, message in [
        ((x, MOVIE[0], np.int32(40)), TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        ((x, x, 40), TypeError, "takes i4, not int64"),
        ((x, x.astype(float), np.int32(40)), TypeError, "the array is of float64"),
        ((x, x), TypeError, "takes 3 arguments, not 2"),
    ]:
        with pytest.raises(error, match=message):
            kernel((2,), (32,), wrong)
    with pytest.raises(TypeError, match="must be tuples"):
        kernel(2, (32,), (x, x, np.int32(40)))
    with pytest.raises(ValueError, match=r"C\+\+ standard"):
        emulated_cupy.RawModule(code=CLEAN, name_expressions=["transpose<float, 8>"])
    assert kernel.max_threads_per_block == 1024
    assert emulated_cupy.machine.counts["launches"] == 0


@pytest.mark.parametrize("order", ORDERS)
def test_a_kernels_fault_is_raised_at_the_latest_when_it_is_waited_for(order: int) -> None:
    with installed(order=order) as cupy:
        kernel = cupy.RawKernel(FAULTS, "write_beyond_global")
        x = cupy.zeros(64, np.float32)
        with pytest.raises(LaunchError, match="written out of bounds"):  # noqa: PT012 - where it is raised is free
            kernel((1,), (64,), (x, np.int32(64)))
            cupy.cuda.Device().synchronize()
    with pytest.raises(LaunchError, match="trap"), installed(order=order) as cupy:  # noqa: PT012 - as above
        cupy.cuda.Stream()
        cupy.RawKernel(FAULTS, "trap")((1,), (64,), (cupy.zeros(64, np.float32), np.int32(64)))


@pytest.mark.parametrize("sanitize", ["address", "thread"])
def test_host_code_runs_under_a_sanitizer(sanitize: str, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer(sanitize)
    with installed(sanitize=sanitize) as cupy:
        x = cupy.asarray(MOVIE[0])
        add_one(cupy)((2,), (32,), (x, x, np.int32(40)))
        np.testing.assert_array_equal(x.get(), MOVIE[0] + 1)


def test_a_kernel_that_is_kept_follows_the_next_stand_in() -> None:
    """A loader keeps its kernels; order and device are those of the launch."""
    with installed(compute_capability="90") as cupy:
        kernel = add_one(cupy)
    with installed(order=1, compute_capability="75") as cupy:
        x = cupy.asarray(MOVIE[0])
        kernel((2,), (32,), (x, x, np.int32(40)))
        np.testing.assert_array_equal(x.get(), MOVIE[0] + 1)
        assert cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"] == 64 << 10
        kernel.max_dynamic_shared_size_bytes = 65 << 10
        with pytest.raises(LaunchError, match="65536 bytes shared"):
            kernel((2,), (32,), (x, x, np.int32(40)))
