"""How much of a GPU's memory a run may take, a limit that is kept, and what is done where it runs out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gpucells.device.upload import using

#: Share of a GPU's free memory that arrays are planned for (as httomo does); the rest is for compiled kernels, the
#: libraries' own memory, and gaps in the pool.
SHARE = 0.9
#: What the errors of the runtime, the driver, and the libraries (cuBLAS, cuSOLVER, cuFFT, …) say where memory ran out.
_CODES = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "ALLOC_FAILED")


def device_budget_bytes(device: str, most_bytes: int | None = None) -> int:
    """Return the bytes that new arrays may take on a GPU.

    Parameters
    ----------
    device : str
        ``"cuda:N"``.
    most_bytes : int, optional
        What the user allows.

    Returns
    -------
    int
        Nine tenths of what is free, of the device and in CuPy's pool, and no more than the pool's own limit
        (``CUPY_GPU_MEMORY_LIMIT``) and ``most_bytes`` leave.
    """
    with _pool_of(device) as (cupy, pool):
        free, _ = cupy.cuda.Device().mem_info
        allowed = [int(SHARE * (free + pool.free_bytes()))]
        if pool.get_limit():
            allowed.append(pool.get_limit() - pool.used_bytes())
    if most_bytes is not None:
        allowed.append(most_bytes)
    return max(0, min(allowed))


@contextmanager
def on_device(device: str, most_bytes: int | None) -> Iterator[None]:
    """Make a device the current one, and let no more of its memory be taken than ``most_bytes`` (None: no limit).

    Parameters
    ----------
    device : str
        ``"cpu"``, where nothing is done, or ``"cuda:N"``.
    most_bytes : int or None
        As :func:`limited_memory` takes it.
    """
    with using(device), limited_memory(device, most_bytes):
        yield


@contextmanager
def limited_memory(device: str, most_bytes: int | None) -> Iterator[None]:
    """Let the arrays made inside take no more than that of a GPU; what is there already does not count.

    CUDA's own memory (its context, compiled kernels: some hundreds of MB) comes on top.

    Parameters
    ----------
    device : str
        ``"cpu"``, where nothing is done, or ``"cuda:N"``.
    most_bytes : int or None
        None is no limit.
    """
    if device == "cpu" or most_bytes is None:
        yield
        return
    with _pool_of(device) as (cupy, pool):
        pool.free_all_blocks()
        before = pool.get_limit()
        limit = pool.used_bytes() + most_bytes
        pool.set_limit(size=min(limit, before or limit))

    def allocate(n_bytes: int) -> Any:
        try:
            return pool.malloc(n_bytes)
        except cupy.cuda.memory.OutOfMemoryError:  # the pool gives back what it keeps at the device's end, not at this
            pool.free_all_blocks()
            return pool.malloc(n_bytes)

    try:
        with cupy.cuda.using_allocator(allocate):
            yield
    finally:
        with _pool_of(device) as (_, pool):
            pool.set_limit(size=before)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error, or what it was raised from, is a GPU's lack of memory; the host's is none.

    Parameters
    ----------
    error : BaseException
        Of CuPy, or ours raised from one.
    """
    cupy = sys.modules.get("cupy")
    seen: BaseException | None = error
    while seen is not None:
        if cupy is not None and isinstance(seen, cupy.cuda.memory.OutOfMemoryError):
            return True
        if any(code in str(seen) for code in _CODES):
            return True
        seen = seen.__cause__
    return False


def held_bytes(device: str) -> int:
    """Return what CuPy's pool holds of a GPU's memory, in use or kept for later.

    Parameters
    ----------
    device : str
        ``"cpu"``, which holds none, or ``"cuda:N"``.
    """
    if device == "cpu" or "cupy" not in sys.modules:
        return 0
    # Asked where a stage ends, also by an error: a GPU that is lost must not hide that one.
    with suppress(Exception), _pool_of(device) as (_, pool):
        return int(pool.total_bytes())
    return 0


def free_pools(device: str) -> None:
    """Give back what CuPy keeps for later of a GPU's memory and of pinned host memory, after what is in no use.

    Parameters
    ----------
    device : str
        ``"cuda:N"``. Without CuPy in this process there is nothing to give back.
    """
    gc.collect()  # arrays in cycles, as an exception's frames are
    if "cupy" not in sys.modules:
        return
    with _pool_of(device) as (cupy, pool):
        pool.free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


@contextmanager
def _pool_of(device: str) -> Iterator[tuple[Any, Any]]:
    """Give CuPy and its pool, which speaks of the device that is the current one inside."""
    import cupy

    with using(device):
        yield cupy, cupy.get_default_memory_pool()
