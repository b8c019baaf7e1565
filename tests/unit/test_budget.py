"""What a run may take of a GPU's memory, the limit that is kept, and what counts as its end."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from gpucells.device import budget
from gpucells.errors import KernelError

MIB = 1 << 20
SMALL = pytest.mark.parametrize("emulated_settings", [{"vram_bytes": 100 * MIB, "n_devices": 2}])


@SMALL
def test_the_budget_is_most_of_what_is_free_on_the_device_and_in_the_pool(emulated_cupy: Any) -> None:
    cupy, pool = emulated_cupy, emulated_cupy.get_default_memory_pool()
    assert budget.device_budget_bytes("cuda:0") == 90 * MIB
    kept, dropped = cupy.zeros(20 * MIB, np.uint8), cupy.zeros(30 * MIB, np.uint8)
    del dropped
    assert (pool.used_bytes(), pool.free_bytes()) == (20 * MIB, 30 * MIB)
    assert budget.device_budget_bytes("cuda:0") == int(0.9 * 80 * MIB)
    assert budget.device_budget_bytes("cuda:1") == 90 * MIB
    assert budget.device_budget_bytes("cuda:0", 7 * MIB) == 7 * MIB
    assert budget.device_budget_bytes("cuda:0", 99 * MIB) == int(0.9 * 80 * MIB), "more than there is"
    pool.set_limit(size=50 * MIB)  # as CUPY_GPU_MEMORY_LIMIT does
    assert budget.device_budget_bytes("cuda:0") == 30 * MIB
    pool.set_limit(size=5 * MIB)
    assert budget.device_budget_bytes("cuda:0") == 0
    assert kept.nbytes == 20 * MIB


def _fail_within(device: str, most_bytes: int) -> None:
    with budget.limited_memory(device, most_bytes):
        raise ValueError("theirs")


@SMALL
def test_a_given_limit_is_kept(emulated_cupy: Any) -> None:
    cupy, pool = emulated_cupy, emulated_cupy.get_default_memory_pool()
    mine = cupy.zeros(10 * MIB, np.uint8)
    with budget.limited_memory("cuda:0", 8 * MIB):
        cupy.zeros(8 * MIB, np.uint8)
        cupy.zeros(5 * MIB, np.uint8)  # what the pool keeps of the array before makes room
        assert pool.total_bytes() == 15 * MIB
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="limit set to: 18,874,368"):
            cupy.zeros(9 * MIB, np.uint8)
        with cupy.cuda.Device(1):
            cupy.zeros(50 * MIB, np.uint8)  # is not spoken of
    assert pool.get_limit() == 0
    with pytest.raises(ValueError, match="theirs"):
        _fail_within("cuda:0", 8 * MIB)
    assert pool.get_limit() == 0
    assert cupy.zeros(60 * MIB, np.uint8).nbytes + mine.nbytes == 70 * MIB


@SMALL
def test_a_limit_that_was_there_stays(emulated_cupy: Any) -> None:
    pool = emulated_cupy.get_default_memory_pool()
    pool.set_limit(size=4 * MIB)
    with budget.limited_memory("cuda:0", 8 * MIB):
        assert pool.get_limit() == 4 * MIB
    with budget.limited_memory("cuda:0", 2 * MIB):
        assert pool.get_limit() == 2 * MIB
    with budget.limited_memory("cuda:0", None), budget.limited_memory("cpu", 1 * MIB):
        assert pool.get_limit() == 4 * MIB
    assert pool.get_limit() == 4 * MIB


def test_pools_are_freed_of_what_only_a_cycle_holds(emulated_cupy: Any) -> None:
    pool = emulated_cupy.get_default_memory_pool()
    cycle = [emulated_cupy.zeros(MIB, np.uint8)]
    cycle.append(cycle)
    del cycle
    budget.free_pools("cuda:0")
    assert pool.total_bytes() == 0


def test_on_the_cpu_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with budget.limited_memory("cpu", 5):
        budget.free_pools("cuda:0")


@pytest.mark.parametrize(
    ("error", "is_lack"),
    [
        (RuntimeError("cudaErrorMemoryAllocation: out of memory"), True),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUFFT_ALLOC_FAILED"), True),
        (MemoryError("Unable to allocate 3 GiB for an array"), False),  # the host's
        (RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, is_lack: bool) -> None:
    assert budget.is_out_of_memory(error) == is_lack
    ours = KernelError("cannot be compiled")
    ours.__cause__ = error
    assert budget.is_out_of_memory(ours) == is_lack


def test_cupys_own_error_counts(emulated_cupy: Any) -> None:
    with pytest.raises(MemoryError) as caught:
        emulated_cupy.empty(1 << 40, np.uint8)
    assert budget.is_out_of_memory(caught.value)
