"""``cupy.cuda.runtime``, memory pools and pinned memory: what is spoken to by address and number."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from emulator.stand_in.array import MemoryPointer, pool_memory
from emulator.stand_in.machine import POISON, Gpu, Queue, machine
from emulator.stand_in.streams import CUDARuntimeError, Device, queue_of

memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 2, 3
_pinned: dict[int, weakref.ref[PinnedMemoryPointer]] = {}


class PinnedMemoryPointer(bytearray):
    """What ``cupy.cuda.alloc_pinned_memory`` returns: a buffer, larger than asked for as CuPy's are."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(bytes([POISON]) * (-(-n_bytes // 512) * 512))
        _pinned[self.ptr] = weakref.ref(self)

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))

    def size(self) -> int:
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(size)


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """``cupyx.empty_pinned``."""
    count = int(np.prod(shape))
    flat = np.frombuffer(PinnedMemoryPointer(count * np.dtype(dtype).itemsize), dtype, count)
    return flat.reshape(shape, order=order)


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """``cupyx.zeros_pinned``."""
    made = empty_pinned(shape, dtype, order)
    made.fill(0)
    return made


class MemoryPool:
    """``cupy.cuda.MemoryPool``, as far as asked of the default one: that of the current device."""

    @property
    def _gpu(self) -> Gpu:
        return machine().current_gpu()

    def malloc(self, size: int) -> MemoryPointer:
        return pool_memory(size)

    def used_bytes(self) -> int:
        return self._gpu.used_bytes

    def total_bytes(self) -> int:
        return self._gpu.total_bytes

    def free_bytes(self) -> int:
        return self._gpu.total_bytes - self._gpu.used_bytes

    def n_free_blocks(self) -> int:
        return sum(map(len, self._gpu.free.values()))

    def free_all_blocks(self, stream: Any = None) -> None:
        self._gpu.free_all_blocks()

    def get_limit(self) -> int:
        return self._gpu.limit_bytes

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self._gpu.limit_bytes = int(fraction * self._gpu.vram_bytes) if fraction is not None else int(size or 0)


class PinnedMemoryPool:
    """``cupy.cuda.PinnedMemoryPool``, which keeps nothing here."""

    def free_all_blocks(self) -> None:
        pass

    def n_free_blocks(self) -> int:
        return 0


def alloc(size: int) -> MemoryPointer:
    return (machine().current.allocator or pool_memory)(size)


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """``cupy.cuda.using_allocator``, of this thread."""
    current = machine().current
    before, current.allocator = current.allocator, allocator
    try:
        yield
    finally:
        current.allocator = before


def _bytes_at(pointer: int, n_bytes: int, on_device: bool) -> np.ndarray:
    """Return the memory at an address, of a device or of the host."""
    if on_device:
        places = [(at, block.bytes) for gpu in machine().gpus for at, block in list(gpu.alive.items())]
    else:
        buffers = [(at, reference()) for at, reference in list(_pinned.items())]
        places = [(at, np.frombuffer(buffer, np.uint8)) for at, buffer in buffers if buffer is not None]
    for at, memory in places:
        if at <= pointer < at + memory.size:
            if pointer + n_bytes > at + memory.size:
                raise CUDARuntimeError("cudaErrorInvalidValue: a copy beyond the end of an allocation")
            return memory[pointer - at : pointer - at + n_bytes]
    if on_device:
        raise CUDARuntimeError("cudaErrorInvalidValue: no memory of a device is at that address")
    return np.frombuffer((ctypes.c_uint8 * n_bytes).from_address(pointer), np.uint8)


def _copy(dst: int, src: int, size: int, kind: int, queue: Queue) -> None:
    target = _bytes_at(dst, size, kind in (memcpyHostToDevice, memcpyDeviceToDevice))
    source = _bytes_at(src, size, kind in (memcpyDeviceToHost, memcpyDeviceToDevice))
    machine().counts["copies"] += 1
    machine().submit(queue, lambda: np.copyto(target, source))
    if any(isinstance(memory.base, ctypes.Array) for memory in (target, source)):
        machine().finish(queue)  # pageable: CUDA may wait here, and nobody keeps that memory alive for a later copy


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    _copy(dst, src, size, kind, queue_of(stream))


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    queue = machine().current_gpu().null
    _copy(dst, src, size, kind, queue)
    machine().finish(queue)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    target = _bytes_at(ptr, size, on_device=True)
    machine().submit(queue_of(stream), lambda: target.fill(value))


def streamSynchronize(stream: int) -> None:
    machine().finish(queue_of(stream))


def deviceSynchronize() -> None:
    machine().current_gpu().synchronize()


def getDeviceCount() -> int:
    return len(machine().gpus)


def getDevice() -> int:
    return machine().current.device


def setDevice(device: int) -> None:
    Device(device).use()


def memGetInfo() -> tuple[int, int]:
    return Device().mem_info


def runtimeGetVersion() -> int:
    return 12090


def driverGetVersion() -> int:
    return 12090


def getDeviceProperties(device: int) -> dict[str, Any]:
    chosen = Device(device)
    facts = chosen.attributes
    return {
        "name": b"emulated GPU",
        "totalGlobalMem": chosen.gpu.vram_bytes,
        "major": facts["ComputeCapabilityMajor"],
        "minor": facts["ComputeCapabilityMinor"],
        "multiProcessorCount": facts["MultiProcessorCount"],
        "sharedMemPerBlock": facts["MaxSharedMemoryPerBlock"],
        "sharedMemPerBlockOptin": facts["MaxSharedMemoryPerBlockOptin"],
        "warpSize": 32,
    }
