"""``cupy.cuda``'s devices, streams and events on the simulated machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.stand_in.machine import Gpu, Queue, Ticket, machine


class CUDARuntimeError(RuntimeError):
    """``cupy.cuda.runtime.CUDARuntimeError``."""


class Device:
    """``cupy.cuda.Device``, by default the current one."""

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = machine().current.device if device is None else int(device)
        if not 0 <= self.id < len(machine().gpus):
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before: list[int] = []

    @property
    def gpu(self) -> Gpu:
        return machine().gpus[self.id]

    def __int__(self) -> int:
        return self.id

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._before.append(machine().current.device)
        return self.use()

    def __exit__(self, *_: object) -> None:
        machine().current.device = self._before.pop()

    def use(self) -> Device:
        machine().current.device = self.id
        return self

    def synchronize(self) -> None:
        self.gpu.synchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        return max(0, self.gpu.vram_bytes - self.gpu.total_bytes), self.gpu.vram_bytes

    @property
    def compute_capability(self) -> str:
        return self.gpu.compute_capability

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id + 1:02X}:00.0"

    @property
    def attributes(self) -> dict[str, int]:
        shared = SHARED_BYTES[self.compute_capability]
        return {
            "ComputeCapabilityMajor": int(self.compute_capability[:-1]),
            "ComputeCapabilityMinor": int(self.compute_capability[-1]),
            "MultiProcessorCount": 4,
            "WarpSize": 32,
            "MaxThreadsPerBlock": 1024,
            "MaxSharedMemoryPerBlock": 48 << 10,
            "MaxSharedMemoryPerBlockOptin": shared,
            "MaxSharedMemoryPerMultiprocessor": shared + 1024,
            "MaxThreadsPerMultiProcessor": 1024 if self.compute_capability == "75" else 2048,
            "L2CacheSize": 4 << 20,
        }


#: Most shared memory of a block, by compute capability (CUDA C++ Programming Guide, table of technical specifications).
SHARED_BYTES = {
    capability: kib << 10
    for capability, kib in {"75": 64, "80": 163, "86": 99, "89": 99, "90": 227, "100": 227, "120": 99}.items()
}


class Stream:
    """``cupy.cuda.Stream``; ``Stream.null`` is the null stream of the current device."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        if ptds:
            raise NotImplementedError("the stand-in has no per-thread default stream")
        self._queue = None if null else machine().current_gpu().new_queue(not non_blocking)
        self._before: list[tuple[int, Queue | None]] = []

    @property
    def queue(self) -> Queue:
        return machine().current_gpu().null if self._queue is None else self._queue

    @property
    def ptr(self) -> int:
        return 0 if self._queue is None else self._queue.number

    @property
    def device_id(self) -> int:
        return -1 if self._queue is None else self._queue.gpu.number

    @property
    def is_non_blocking(self) -> bool:
        return self._queue is not None and not self._queue.blocking

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return self.ptr

    def _of_current_device(self) -> Queue:
        if self.queue.gpu is not machine().current_gpu():
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the current "
                f"device ({machine().current.device})"
            )
        return self.queue

    def __enter__(self) -> Stream:
        queue, current = self._of_current_device(), machine().current
        self._before.append((queue.gpu.number, current.queues.get(queue.gpu.number)))
        return self.use()

    def __exit__(self, *_: object) -> None:
        number, before = self._before.pop()
        _make_current(number, before)

    def use(self) -> Stream:
        queue = self._of_current_device()
        _make_current(queue.gpu.number, None if self._queue is None else queue)
        return self

    @property
    def done(self) -> bool:
        return machine().poll(self.queue, self.queue.issued)

    def synchronize(self) -> None:
        machine().finish(self.queue)

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Queue a wait for what was recorded last; an event that was never recorded is not waited for."""
        machine().submit(self.queue, _nothing, [event.ticket] if event.ticket else [])

    def launch_host_func(self, callback: Callable[[Any], object], arg: Any) -> None:
        machine().submit(self.queue, lambda: callback(arg))

    def add_callback(self, callback: Callable[[Stream, int, Any], object], arg: Any) -> None:
        machine().submit(self.queue, lambda: callback(self, 0, arg))


def _make_current(device: int, queue: Queue | None) -> None:
    queues = machine().current.queues
    if queue is None:
        queues.pop(device, None)
    else:
        queues[device] = queue


def _nothing() -> None:
    pass


Stream.null = object.__new__(Stream)
Stream.null._queue, Stream.null._before = None, []


class Event:
    """``cupy.cuda.Event``."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.ticket: Ticket | None = None
        self.timed = not disable_timing

    def record(self, stream: Stream | None = None) -> None:
        queue = machine().current_queue() if stream is None else stream.queue
        self.ticket = machine().submit(queue, _nothing)

    @property
    def done(self) -> bool:
        return self.ticket is None or machine().poll(*self.ticket)

    def synchronize(self) -> None:
        if self.ticket is not None:
            machine().finish(*self.ticket)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the current stream of a device."""
    gpu = machine().current_gpu() if device_id < 0 else machine().gpus[device_id]
    queue = machine().current.queues.get(gpu.number)
    if queue is None:
        return Stream.null
    return stream_of(queue)


def stream_of(queue: Queue) -> Stream:
    """Return a handle of a stream."""
    stream: Stream = object.__new__(Stream)
    stream._queue, stream._before = queue, []
    return stream


def queue_of(pointer: int) -> Queue:
    """Return the queue of a stream's ``ptr``."""
    for gpu in machine().gpus:
        for queue in gpu.queues:
            if pointer and queue.number == pointer:
                return queue
    if pointer:
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return machine().current_gpu().null


def get_elapsed_time(start: Event, end: Event) -> float:
    """Return milliseconds between two events: 1, because no time passes here."""
    if not (start.timed and end.timed and start.ticket and end.ticket):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: an event without timing, or never recorded")
    if not (start.done and end.done):
        raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return 1.0
