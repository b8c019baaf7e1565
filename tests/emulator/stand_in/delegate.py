"""NumPy's functions on device arrays: the same walls as CuPy's, and queued on the current stream.

The shape of a result is found by running the function once on what memory holds now; its values by running it again
when its turn in the queue comes. A function whose result depends on the values in another way waits for the stream
first, as CuPy's does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from emulator.stand_in.array import device_array, ndarray, wrapped
from emulator.stand_in.machine import Queue, machine

#: Change their first argument and return nothing.
_IN_PLACE = {"copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis", "at", "sort_in_place", "fill"}
#: Say something about arrays without looking at their values.
_OF_SHAPES = {"shape", "ndim", "size", "result_type", "can_cast", "iscomplexobj", "isrealobj", "isscalar", "dtype",
              "broadcast_shapes", "issubdtype", "promote_types", "common_type", "min_scalar_type", "may_share_memory",
              "shares_memory", "finfo", "iinfo"}  # fmt: skip
#: Results whose shape, or whether there is one at all, depends on values.
_OF_VALUES = {"nonzero", "flatnonzero", "argwhere", "unique", "unique_all", "unique_counts", "unique_inverse",
              "unique_values", "union1d", "extract", "compress", "setdiff1d", "intersect1d", "setxor1d", "trim_zeros",
              "bincount", "count_nonzero", "allclose", "array_equal", "array_equiv", "histogram", "histogram2d",
              "histogramdd"}  # fmt: skip


class Delegated:
    """A function of NumPy or SciPy that takes and returns device arrays."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.__name__ = function, name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "workers" in kwargs:  # the threads of SciPy's transforms
            raise TypeError(f"{self.__name__}() got an unexpected keyword argument 'workers'")
        kwargs.pop("device", None)
        return call(self.function, self.__name__, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self.function, name)  # add.at, add.reduce, add.outer
        return Delegated(thing, name) if callable(thing) else thing


def call(function: Callable[..., Any], name: str, args: Any, kwargs: Any, *, synchronise: bool = False) -> Any:
    """Call a host function on device arrays, in the order of the current stream."""
    used: list[ndarray] = []
    host_args, host_kwargs = _to_host(args, used), _to_host(kwargs, used)
    if name in _OF_SHAPES:
        return function(*host_args, **host_kwargs)
    queue = machine().current_queue()
    for array in used:
        if array._memory.gpu is not queue.gpu:
            raise ValueError(
                f"Array device must be same as the current device: array device = {array.device.id} "
                f"while current = {queue.gpu.number}"
            )

    def run() -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # a GPU does not warn
            warnings.simplefilter("ignore")
            return function(*host_args, **host_kwargs)

    out = kwargs.get("out")
    if name in _IN_PLACE or out is not None:
        machine().submit(queue, run)
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if synchronise or name in _OF_VALUES or (name == "where" and len(args) == 1):
        machine().finish(queue)
        return _map(run(), lambda value: _finished(value, used))
    return _queued(run, queue, used)


def _queued(run: Callable[[], Any], queue: Queue, used: list[ndarray]) -> Any:
    plain = machine().is_plain(queue)
    if plain:
        machine().finish(queue)
    try:
        first = run()
    except Exception:  # noqa: BLE001 - perhaps only because of what memory holds before the queue has run
        machine().finish(queue)
        first, plain = run(), True
    if plain:
        return _map(first, lambda value: _finished(value, used))
    targets: list[np.ndarray | None] = []

    def place(value: Any) -> Any:
        view = _as_view(value, used)
        made = view
        if view is None and isinstance(value, np.ndarray | np.generic):
            made = device_array(np.shape(value), value.dtype, _order(value))
        targets.append(None if view is not None or made is None else made._host)
        return value if made is None else made

    result = _map(first, place)
    again = run if used else lambda: first  # without device input it is drawn or made once, on the host

    def fill() -> None:
        values: list[Any] = []
        _map(again(), values.append)
        for target, value in zip(targets, values, strict=True):
            if target is not None:
                if np.shape(value) != target.shape:
                    raise RuntimeError("the shape of a result depends on values: add the function to _OF_VALUES")
                target[...] = value

    if any(target is not None for target in targets):
        machine().submit(queue, fill)
    return result


def _finished(value: Any, used: list[ndarray]) -> Any:
    if isinstance(value, bool | float | complex | int):
        value = np.asarray(value)  # CuPy gives 0-d arrays where NumPy gives Python's numbers
    if not isinstance(value, np.ndarray | np.generic):
        return value
    view = _as_view(value, used)
    if view is not None:
        return view
    made = device_array(value.shape, value.dtype, _order(value))
    made._host[...] = value
    return made


def _as_view(value: Any, used: list[ndarray]) -> ndarray | None:
    if isinstance(value, np.ndarray):
        for array in used:
            if value is array._host:
                return array
            if np.may_share_memory(value, array._host):
                return wrapped(value, array._memory)
    return None


def _order(value: Any) -> str:
    return "F" if isinstance(value, np.ndarray) and value.flags.fnc else "C"


def _to_host(thing: Any, used: list[ndarray]) -> Any:
    if isinstance(thing, ndarray):
        used.append(thing)
        return thing._host
    if isinstance(thing, np.ndarray):
        raise TypeError(f"Unsupported type {type(thing)}")
    if isinstance(thing, dict):
        return {key: _to_host(value, used) for key, value in thing.items()}
    if type(thing) in (list, tuple):
        return type(thing)(_to_host(value, used) for value in thing)
    return thing


def _map(result: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(result, tuple) and hasattr(result, "_fields"):  # numpy.linalg's named results
        return type(result)(*(_map(value, change) for value in result))
    if isinstance(result, tuple | list):
        return type(result)(_map(value, change) for value in result)
    return change(result)
