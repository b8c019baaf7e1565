"""Blocks on their way to a device: every order of streams gives the same, and no wait is one too many."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from emulator.stand_in.install import installed

from gpucells.device.upload import read_ahead, upload, using

SEEDS = range(14)
FRAMES = [np.random.default_rng(k).integers(0, 99, (n, 6)).astype(np.uint16) for k, n in enumerate((5, 5, 7, 2, 5, 9))]


def doubled(cupy: Any) -> list[np.ndarray]:
    """What comes back of each block when it is doubled on the device; asked for at the end."""
    results = []
    for key, frames in upload(enumerate(FRAMES)):
        results.append((key, frames.astype(np.float32) * 2))
        del frames
    return [array.get() for _, array in results]


def answers() -> set[bytes]:
    found = set()
    for seed in SEEDS:
        with installed(order=seed) as cupy:
            found.add(b"".join(array.tobytes() for array in doubled(cupy)))
    return found


RIGHT = b"".join((2 * frames.astype(np.float32)).tobytes() for frames in FRAMES)


def test_every_order_of_streams_gives_the_same(emulator: None) -> None:
    assert answers() == {RIGHT}


@pytest.mark.parametrize("forgotten", ["Stream.wait_event", "Event.record", "Event.synchronize"])
def test_each_wait_is_needed(emulator: None, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    from emulator.stand_in import streams

    owner, name = forgotten.split(".")
    monkeypatch.setattr(getattr(streams, owner), name, lambda *_: None)
    assert len(answers() | {RIGHT}) > 1


def test_the_reader_is_at_most_one_block_ahead() -> None:
    read: list[int] = []
    step = threading.Semaphore(0)

    def blocks() -> Any:
        for k in range(4):
            read.append(k)
            step.release()
            yield k

    for k in read_ahead(blocks()):
        if k < 3:
            assert step.acquire(timeout=10)
        assert len(read) <= k + 2
    assert read == [0, 1, 2, 3]


def test_what_goes_wrong_in_reading_comes_out() -> None:
    def blocks() -> Any:
        yield 1
        raise OSError("disk")

    seen = read_ahead(blocks())
    assert next(seen) == 1
    with pytest.raises(OSError, match="disk"):
        next(seen)


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2}])
def test_a_device_is_made_the_current_one(emulated_cupy: Any) -> None:
    with using("cuda:1"):
        assert emulated_cupy.cuda.Device().id == 1
    with using("cpu"):
        assert emulated_cupy.cuda.Device().id == 0
