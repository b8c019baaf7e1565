"""The device array: memory of one GPU that the host reaches by copies alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from emulator.stand_in import streams
from emulator.stand_in.machine import POISON, Memory, Queue, machine

_METHODS = {  # of NumPy's array, delegated under the same name
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip", "compress", "conj",
    "copy", "cumprod", "cumsum", "diagonal", "dot", "fill", "flatten", "max", "mean", "min", "nonzero", "prod", "put",
    "ravel", "repeat", "reshape", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace",
    "transpose", "var", "view",
}  # fmt: skip
_ATTRIBUTES = {"T", "dtype", "flags", "imag", "itemsize", "nbytes", "ndim", "real", "shape", "size", "strides", "mT"}


class MemoryPointer:
    """``array.data``: an address on a device, and what keeps it alive."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self.offset = mem, offset

    @property
    def ptr(self) -> int:
        return 0 if self.mem.block is None else int(self.mem.block.bytes.ctypes.data) + self.offset

    @property
    def device(self) -> streams.Device:
        return streams.Device(self.mem.gpu.number)

    def __add__(self, n_bytes: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.offset + n_bytes)

    def __int__(self) -> int:
        return self.ptr


def pool_memory(n_bytes: int) -> MemoryPointer:
    """Return memory of the current device's pool."""
    return MemoryPointer(machine().current_gpu().allocate(n_bytes), 0)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """``cupy.ndarray``.

    Parameters
    ----------
    shape, dtype, memptr, strides, order
        As CuPy's; without ``memptr`` new memory, which holds NaN until it is written.
    """

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _host: np.ndarray
    _memory: Memory

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: MemoryPointer | None = None, strides: Any = None, order: str = "C"
    ) -> None:
        kind = np.dtype(dtype)
        if kind.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {kind}")
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        n_bytes = math.prod(shape) * kind.itemsize
        if memptr is None:
            memptr = (machine().current.allocator or pool_memory)(n_bytes)
        self._memory = memptr.mem
        raw = np.empty(0, np.uint8) if memptr.mem.block is None else memptr.mem.block.bytes
        self._host = np.ndarray(shape, kind, raw, memptr.offset if raw.size else 0, strides, order)

    def __getattr__(self, name: str) -> Any:
        if name in _ATTRIBUTES:
            value = getattr(self._host, name)
            return wrapped(value, self._memory) if isinstance(value, np.ndarray) else value
        if name in _METHODS:
            from emulator.stand_in.delegate import call

            def method(*args: Any, **kwargs: Any) -> Any:
                return call(getattr(np.ndarray, name), name, (self, *args), kwargs)

            return method
        raise AttributeError(f"the stand-in's ndarray has no {name!r}")

    @property
    def data(self) -> MemoryPointer:
        block = self._memory.block
        return MemoryPointer(self._memory, self._host.ctypes.data - block.bytes.ctypes.data if block else 0)

    @property
    def device(self) -> streams.Device:
        return streams.Device(self._memory.gpu.number)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from emulator.stand_in.delegate import call

        return call(getattr(ufunc, method), ufunc.__name__ if method == "__call__" else method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from emulator.stand_in.delegate import call

        return call(function, function.__name__, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        from emulator.stand_in.delegate import call

        key, masks = _device_key(key)
        return call(lambda array, at: array[at], "getitem", (self, key), {}, synchronise=masks)

    def __setitem__(self, key: Any, value: Any) -> None:
        from emulator.stand_in.delegate import call

        call(np.ndarray.__setitem__, "put", (self, _device_key(key)[0], value), {})

    def sort(self, *args: Any, **kwargs: Any) -> None:
        from emulator.stand_in.delegate import call

        call(np.ndarray.sort, "sort_in_place", (self, *args), kwargs)

    def get(
        self,
        stream: streams.Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        """Copy to the host: queued on the stream, and waited for if ``blocking``."""
        if out is None:
            out = np.empty_like(self._host, order=order, subok=False)
            out.reshape(-1, order="A").view(np.uint8).fill(POISON)
        elif not isinstance(out, np.ndarray):
            raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
        elif out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError(f"{out.dtype}{out.shape} cannot be obtained from {self.dtype}{self.shape}")
        queue, source, target = self._queue(stream), self._host, out
        machine().counts["to_host"] += 1
        machine().submit(queue, lambda: np.copyto(target, source))
        if blocking:
            machine().finish(queue)
        return out

    def set(self, arr: np.ndarray, stream: streams.Stream | None = None) -> None:
        """Copy from the host: queued on the stream, so that ``arr`` is read when its turn comes."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self._host.flags.c_contiguous or self._host.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        target = self._host
        machine().counts["to_device"] += 1
        machine().submit(self._queue(stream), lambda: np.copyto(target, arr))

    def _queue(self, stream: streams.Stream | None) -> Queue:
        return machine().current_queue(self._memory.gpu) if stream is None else stream.queue

    def item(self, *args: int) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __repr__(self) -> str:
        return repr(self.get())


def wrapped(host: np.ndarray, memory: Memory) -> ndarray:
    """Return a device array that is a view of device memory."""
    array: ndarray = object.__new__(ndarray)
    array._host, array._memory = host, memory
    return array


def device_array(shape: Any, dtype: Any, order: str = "C") -> ndarray:
    """Return a new device array of the current device and stream, unwritten."""
    return ndarray(shape, dtype, order=order)


def upload(host: np.ndarray, order: str | None = None) -> ndarray:
    """Copy a host array that nobody changes any more to the current device."""
    order = "F" if order == "F" or (order in (None, "K", "A") and host.flags.fnc) else "C"
    made = device_array(host.shape, host.dtype, order)
    target = made._host
    machine().counts["to_device"] += 1
    machine().submit(machine().current_queue(), lambda: np.copyto(target, host))
    return made


def _device_key(key: Any) -> tuple[Any, bool]:
    """Return an index as CuPy takes it, host arrays uploaded, and whether there is a mask in it."""
    parts = key if isinstance(key, tuple) else (key,)
    made = tuple(upload(np.array(part)) if isinstance(part, np.ndarray | list) else part for part in parts)
    masks = any(isinstance(part, ndarray) and part.dtype == bool for part in made)
    return (made if isinstance(key, tuple) else made[0]), masks
