"""Puts the stand-in where ``import cupy`` finds it.

    with installed(vram_bytes=64 << 20, n_devices=2, order=3) as cupy:
        ...

Add a name that the project comes to need in :func:`_cupy`, ``_CUDA`` or, for a part of SciPy, ``_SCIPY``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from emulator.stand_in import runtime, streams
from emulator.stand_in.array import device_array, ndarray, upload
from emulator.stand_in.delegate import Delegated
from emulator.stand_in.kernels import RawKernel, RawModule
from emulator.stand_in.machine import Machine, OutOfMemoryError, _installed, machine

_PREFIXES = ("cupy", "cupyx", "array_api_compat.cupy")
_SCIPY = ("ndimage", "special", "signal", "linalg", "fft", "interpolate")


class _DelegatedModule(ModuleType):
    """A module whose functions are those of a host library, on device arrays."""

    def __init__(self, name: str, library: str, **own: Any) -> None:
        super().__init__(name)
        self.__dict__.update(own, _library=library)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        library = importlib.import_module(self._library)
        if name == "__all__":
            own = {key for key in self.__dict__ if not key.startswith("_")}
            return sorted(own | {key for key in dir(library) if not key.startswith("_") and hasattr(self, key)})
        try:
            thing = getattr(library, name)
        except AttributeError:
            raise AttributeError(f"the stand-in for {self.__name__} has no {name!r}") from None
        if isinstance(thing, ModuleType):
            raise AttributeError(f"the stand-in for {self.__name__} has no {name!r}")
        if callable(thing) and not isinstance(thing, type):
            thing = Delegated(thing, name)
            setattr(self, name, thing)
        return thing


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, blocking: bool = False, **_: Any) -> ndarray:
    """``cupy.asarray``: a device array of the current device."""
    if isinstance(a, ndarray) and a._memory.gpu is machine().current_gpu() and dtype in (None, a.dtype) and not order:
        return a
    return array(a, dtype, copy=False, order=order or "K", blocking=blocking)


def array(
    a: Any, dtype: Any = None, copy: bool | None = True, order: str = "K", ndmin: int = 0, **keys: Any
) -> ndarray:
    """``cupy.array``."""
    if isinstance(a, ndarray) and a._memory.gpu is machine().current_gpu():
        made = a.astype(a.dtype if dtype is None else dtype, order=order, copy=bool(copy))
    elif isinstance(a, ndarray):  # of another device
        with a.device:
            host = a.get()
        made = upload(np.asarray(host, dtype), order)
    elif isinstance(a, list | tuple) and any(isinstance(part, ndarray) for part in a):
        made = Delegated(np.stack, "stack")([asarray(part, dtype) for part in a])
    else:
        made = upload(np.array(a, dtype, order=order, ndmin=ndmin), order)  # a copy, as CuPy stages one
    if keys.get("blocking"):
        machine().finish(machine().current_queue())
    return made


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """``cupy.ascontiguousarray``."""
    made = asarray(a, dtype)
    return made if made.flags.c_contiguous else made.copy(order="C")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    """``cupy.asnumpy``."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    host = np.asarray(a, order=order)  # type: ignore[call-overload]
    if out is None:
        return host
    out[...] = host
    return out


def empty(shape: Any, dtype: Any = float, order: str = "C", **_: Any) -> ndarray:
    """``cupy.empty``, of NaN."""
    return device_array(shape, dtype, order)


def empty_like(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None, **_: Any) -> ndarray:
    """``cupy.empty_like``, of NaN."""
    order = "F" if order == "F" or (order in "KA" and a.flags.fnc) else "C"
    return device_array(a.shape if shape is None else shape, a.dtype if dtype is None else dtype, order)


def get_array_module(*arrays: Any) -> Any:
    """``cupy.get_array_module``."""
    return sys.modules["cupy"] if any(isinstance(a, ndarray) for a in arrays) else np


def _on_host(check: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **keys: check(*(asnumpy(a) if isinstance(a, ndarray) else a for a in args), **keys)


def _module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__path__ = []
    made.__dict__.update(contents)
    return made


_CUDA = {
    "Device": streams.Device,
    "Stream": streams.Stream,
    "ExternalStream": lambda ptr, device_id=-1: streams.stream_of(streams.queue_of(ptr)),
    "Event": streams.Event,
    "get_current_stream": streams.get_current_stream,
    "get_elapsed_time": streams.get_elapsed_time,
    "get_device_id": runtime.getDevice,
    "is_available": lambda: True,
    "alloc": runtime.alloc,
    "using_allocator": runtime.using_allocator,
    "alloc_pinned_memory": runtime.alloc_pinned_memory,
    "MemoryPool": runtime.MemoryPool,
    "PinnedMemoryPool": runtime.PinnedMemoryPool,
    "PinnedMemoryPointer": runtime.PinnedMemoryPointer,
}


def _cupy() -> dict[str, ModuleType]:
    """Return the stand-in's modules by name."""
    pool, pinned_pool = runtime.MemoryPool(), runtime.PinnedMemoryPool()
    made: dict[str, ModuleType] = {
        "cupy.cuda.runtime": runtime,
        "cupy.cuda.memory": _module("memory", OutOfMemoryError=OutOfMemoryError),
        "cupy.cuda.device": _module("device", Device=streams.Device),
        "cupy.cuda.stream": _module("stream", Stream=streams.Stream, Event=streams.Event),
        "cupy.cuda.driver": _module("driver", CUDADriverError=streams.CUDARuntimeError),
        "cupy.linalg": _DelegatedModule("cupy.linalg", "numpy.linalg"),
        "cupy.fft": _DelegatedModule("cupy.fft", "numpy.fft"),
        "cupy.random": _DelegatedModule("cupy.random", "numpy.random"),
        "cupy.testing": _module(
            "cupy.testing",
            **{name: _on_host(getattr(np.testing, name)) for name in np.testing.__all__ if name.startswith("assert_")},
        ),
    }
    made["cupy.cuda"] = _module("cupy.cuda", **_CUDA)
    made["cupy"] = _DelegatedModule(
        "cupy",
        "numpy",
        __version__="14.0.0+emulated",
        **{made.__name__: made for made in (ndarray, RawModule, RawKernel, asarray, array, ascontiguousarray)},
        **{made.__name__: made for made in (asnumpy, empty, empty_like, get_array_module)},
        asanyarray=asarray,
        is_available=lambda: True,
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pinned_pool,
    )
    for name in _SCIPY:
        made[f"cupyx.scipy.{name}"] = _DelegatedModule(f"cupyx.scipy.{name}", f"scipy.{name}")
    made["cupyx.scipy"] = _module("cupyx.scipy", get_array_module=get_array_module)
    made["cupyx"] = _module("cupyx", empty_pinned=runtime.empty_pinned, zeros_pinned=runtime.zeros_pinned)
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    return made


@contextmanager
def installed(**settings: Any) -> Iterator[Any]:
    """Install the stand-in as ``cupy`` and ``cupyx``, and put back what was there.

    Parameters
    ----------
    **settings
        Of :class:`emulator.stand_in.machine.Machine`: ``n_devices``, ``vram_bytes`` (of each), ``order`` (0 at once and
        forward, 1 as late as can be and in reverse, above at random), ``sanitize``, ``compute_capability``.

    Yields
    ------
    module
        The stand-in; its attribute ``machine`` is the simulated machine.
    """
    before = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    for name in before:
        del sys.modules[name]
    modules = _cupy()
    sys.modules.update(modules)
    _installed.append(Machine(**settings))
    modules["cupy"].machine = _installed[-1]  # type: ignore[attr-defined]
    try:
        yield modules["cupy"]
        for gpu in _installed[-1].gpus:
            gpu.synchronize()  # what was queued and never waited for fails here, where it fails
    finally:
        _installed.pop()
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        _forget_array_api()


def _is_ours(name: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in _PREFIXES)


def _forget_array_api() -> None:
    """The package array_api_compat keeps its module for CuPy as an attribute too."""
    package = sys.modules.get("array_api_compat")
    kept = sys.modules.get("array_api_compat.cupy")
    if package is not None and kept is None and "cupy" in vars(package):
        del package.cupy  # type: ignore[attr-defined]
