"""Blocks of a movie on their way to a GPU: disk, pinned memory, device, each busy with another block.

While the device works on one block, the next is copied to it by a stream of its own, and the one after that is read.
Two buffers take turns on each side; events say when a buffer may be filled again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key")


def using(device: str) -> AbstractContextManager[Any]:
    """Make a device the current one of this thread: ``"cpu"`` (nothing to do) or ``"cuda:N"``."""
    if device == "cpu":
        return nullcontext()
    import cupy

    context: AbstractContextManager[Any] = cupy.cuda.Device(int(device.partition(":")[2]))
    return context


def read_ahead(blocks: Iterable[Key]) -> Iterator[Key]:
    """Pass blocks on, and read the next one in a thread of its own meanwhile.

    Parameters
    ----------
    blocks : iterable
        Read by that thread alone.
    """
    source, end = iter(blocks), object()
    with ThreadPoolExecutor(1, thread_name_prefix="gpucells-read") as pool:
        pending = pool.submit(next, source, end)
        while (block := pending.result()) is not end:
            pending = pool.submit(next, source, end)
            yield block  # type: ignore[misc]


class _Buffer:
    """Memory for one block on both sides, and what says when it is free."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.copied, self.used = cupy.cuda.Event(disable_timing=True), cupy.cuda.Event(disable_timing=True)
        self._pinned: Any = None
        self._device: Any = None

    def fill(self, frames: NDArray[Any], stream: Any) -> Any:
        """Queue the copy of a block on ``stream``; returns the device array, which the current stream may read."""
        self.copied.synchronize()  # the host's side is free
        if self._device is None or self._device.nbytes < frames.nbytes:
            self.used.synchronize()
            self._pinned = self._cupy.cuda.alloc_pinned_memory(frames.nbytes)
            self._device = self._cupy.empty(frames.nbytes, np.uint8)
            self.used.record()  # whoever had this memory before is done when the current stream is
        host = np.frombuffer(self._pinned, frames.dtype, frames.size).reshape(frames.shape)
        host[...] = frames
        target = self._device[: frames.nbytes].view(frames.dtype).reshape(frames.shape)
        stream.wait_event(self.used)
        target.set(host, stream=stream)
        self.copied.record(stream)
        self._cupy.cuda.get_current_stream().wait_event(self.copied)
        return target


def upload(blocks: Iterable[tuple[Key, NDArray[Any]]]) -> Iterator[tuple[Key, Any]]:
    """Pass blocks on as arrays of the current device.

    What is done with a block must be queued on the current stream before the next block is asked for, and its array
    not be kept: the memory is that of a block to come.

    Parameters
    ----------
    blocks : iterable of tuple
        Anything, and a NumPy array with at least one sample.

    Yields
    ------
    tuple
        The same, the array on the device.
    """
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    buffers = [_Buffer(cupy) for _ in range(2)]
    try:
        for index, (key, frames) in enumerate(read_ahead(blocks)):
            buffer = buffers[index % 2]
            yield key, buffer.fill(frames, stream)
            buffer.used.record()
    finally:
        stream.synchronize()  # pinned memory goes back when nobody reads it
