"""The stand-in's memory: counted, limited, kept in a pool, NaN until written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

MIB = 1 << 20
SMALL = pytest.mark.parametrize("emulated_settings", [{"vram_bytes": 4 * MIB}])


@SMALL
def test_memory_runs_out(cupy_in_any_order: Any) -> None:
    cupy = cupy_in_any_order
    pool = cupy.get_default_memory_pool()
    x = cupy.zeros(3 * MIB, np.uint8)
    assert (pool.used_bytes(), pool.free_bytes()) == (3 * MIB, 0)
    assert cupy.cuda.Device().mem_info == cupy.cuda.runtime.memGetInfo() == (MIB, 4 * MIB)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating 2,097,152 bytes"):
        cupy.zeros(2 * MIB, np.uint8)
    with pytest.raises(MemoryError):
        x + x  # a result is memory too
    view = x[:10]
    del x
    assert pool.used_bytes() == 3 * MIB, "a view keeps all of it"
    del view
    assert (pool.used_bytes(), pool.free_bytes()) == (0, 3 * MIB)
    cupy.zeros(2 * MIB, np.uint8)  # the pool gives back what it keeps before it gives up
    assert pool.total_bytes() <= 2 * MIB


def test_the_pool_keeps_and_gives_back(emulated_cupy: Any) -> None:
    pool = emulated_cupy.get_default_memory_pool()
    first = emulated_cupy.zeros(1000, np.uint8)
    at = first.data.ptr
    assert (pool.used_bytes(), at % 512) == (1024, 0)
    del first
    second = emulated_cupy.empty(1024, np.uint8)
    assert second.data.ptr == at
    del second
    pool.free_all_blocks()
    assert (pool.total_bytes(), pool.n_free_blocks()) == (0, 0)
    pool.set_limit(size=600)
    with pytest.raises(MemoryError, match="limit set to: 600 bytes"):
        emulated_cupy.zeros(1000, np.uint8)
    assert emulated_cupy.zeros(0).data.ptr == 0
    assert emulated_cupy.machine.gpus[0].peak_bytes == 1024


def test_a_pool_at_its_limit_keeps_what_it_has(emulated_cupy: Any) -> None:
    """As CuPy's, which gives back only at the device's end; an allocator of one's own can."""
    pool = emulated_cupy.get_default_memory_pool()
    pool.set_limit(size=MIB)
    emulated_cupy.empty(MIB, np.uint8)
    with pytest.raises(emulated_cupy.cuda.memory.OutOfMemoryError, match=r"allocated so far: 1,048,576 bytes, limit"):
        emulated_cupy.empty(MIB // 2, np.uint8)

    def allocate(n_bytes: int) -> Any:
        pool.free_all_blocks()
        return pool.malloc(n_bytes)

    with emulated_cupy.cuda.using_allocator(allocate):
        assert emulated_cupy.empty(MIB // 2, np.uint8).size == MIB // 2
    assert pool.total_bytes() == MIB // 2


def test_unwritten_memory_is_nan_also_when_it_was_used_before(cupy_in_any_order: Any) -> None:
    x = cupy_in_any_order.ones(100)
    at = x.data.ptr
    del x
    y = cupy_in_any_order.empty(100)
    assert y.data.ptr == at
    assert np.isnan(y.get()).all()


def test_pinned_memory_is_larger_than_asked_for(emulated_cupy: Any) -> None:
    import cupyx

    memory = emulated_cupy.cuda.alloc_pinned_memory(100)
    buffer = np.frombuffer(memory, np.float32, 25)
    assert np.isnan(buffer).all()
    assert memory.size() == 512
    assert memory.ptr == buffer.ctypes.data
    assert cupyx.empty_pinned((3, 4), np.uint16).shape == (3, 4)
    assert not cupyx.zeros_pinned(5).any()
    emulated_cupy.get_default_pinned_memory_pool().free_all_blocks()


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2, "vram_bytes": MIB}])
def test_each_device_has_its_own(emulated_cupy: Any) -> None:
    pool = emulated_cupy.get_default_memory_pool()
    x = emulated_cupy.zeros(MIB, np.uint8)
    with emulated_cupy.cuda.Device(1):
        assert pool.used_bytes() == 0
        y = emulated_cupy.zeros(MIB // 2, np.uint8)
    assert pool.used_bytes() == x.nbytes == 2 * y.nbytes


def test_copies_by_address(cupy_in_any_order: Any) -> None:
    runtime, stream = cupy_in_any_order.cuda.runtime, cupy_in_any_order.cuda.Stream(non_blocking=True)
    memory = cupy_in_any_order.cuda.alloc_pinned_memory(400)
    host = np.frombuffer(memory, np.float32, 100)
    host[:] = np.arange(100)
    x = cupy_in_any_order.empty(100, np.float32)
    runtime.memcpyAsync(x.data.ptr, memory.ptr, 400, runtime.memcpyHostToDevice, stream.ptr)
    back = np.zeros(50, np.float32)
    runtime.memcpyAsync(back.ctypes.data, x.data.ptr + 200, 200, runtime.memcpyDeviceToHost, stream.ptr)
    stream.synchronize()
    np.testing.assert_array_equal(back, np.arange(50, 100))
    for wrong in [(x.data.ptr, memory.ptr, 600), (memory.ptr, memory.ptr, 4), (x.data.ptr + 512, memory.ptr, 4)]:
        with pytest.raises(runtime.CUDARuntimeError):
            runtime.memcpyAsync(*wrong, runtime.memcpyHostToDevice, stream.ptr)
