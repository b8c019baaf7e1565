"""Pickled dictionaries and arrays of NumPy's ``.npy``, such as suite2p's, read without running anything they name.

A pickle is a program: it may call whatever it can import. Here it can import nothing. Each name that it asks for is
looked up in a closed list, whose entries are methods of ours that only note down what they are given; arrays and
numbers are then made from the noted bytes by :func:`numpy.frombuffer`, of plain types alone. NumPy's own functions for
unpickling are not called: they trust the flags in a file. Everything else is refused by name, before it is called.
What remains is that a hostile file may ask for much memory. See ``docs/decisions/0010-suite2p-pickles.md``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError

_KINDS = "biufcSU"  # types whose bytes are their values; of objects ("O") the list is taken


def read_pickled_npy(path: Path) -> Any:
    """Read a ``.npy`` file of any plain array, or of objects that are dictionaries, lists, numbers, text and arrays.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    numpy.ndarray or list or object
        An array of numbers or text as such; an array of objects as nested lists, or, where it has no dimension, the
        object itself.

    Raises
    ------
    InputError
        It is damaged, or its pickle asks for anything but plain data: nothing of it was run.
    """
    try:
        with path.open("rb") as file:
            if not _header(file).hasobject:
                return np.load(path, allow_pickle=False)
            return _plain(_Reader(file).load())
    except _RefusedError as error:
        raise InputError(
            f"{path} asks for {error}, which is no plain data: refused, nothing was run",
            "a pickle may run any code, so only numbers, text, arrays, lists and dictionaries are read; if you trust "
            "the file, load it yourself and save it again without that",
        ) from None
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}", "check the path and its rights"
        ) from error
    except RecursionError:
        raise InputError(f"{path} is nested too deeply", "it is damaged or hostile") from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise InputError(f"{path} is damaged: {error!r}", "copy it again") from error


class _RefusedError(Exception):
    """The name that a pickle asked for."""


def _header(file: IO[bytes]) -> np.dtype[Any]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[2]


class _Type:
    """What a pickle says of a dtype."""

    __slots__ = ("code", "state")

    def __init__(self, code: Any) -> None:
        self.code, self.state = code, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def made(self) -> np.dtype[Any]:
        """Make it: a plain type alone, in the byte order that the state says."""
        code = str(self.code)
        if code[:1] not in (*_KINDS, "O") or not code[1:].isdigit():
            raise _RefusedError(f"an array of {code!r}")
        found = np.dtype(code)
        order = self.state[1] if len(self.state) > 1 else "|"
        return found.newbyteorder(">") if order == ">" else found


class _Array:
    """What a pickle says of an array."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def made(self) -> Any:
        """Make it; of objects, nested lists."""
        _, shape, kind, by_columns, data = self.state
        order: Literal["C", "F"] = "F" if by_columns else "C"
        if kind.made().hasobject:
            return _nested([_plain(item) for item in data], shape, order)
        return _from_bytes(data, kind.made()).reshape(shape, order=order).copy()


class _Scalar:
    """What a pickle says of a NumPy number."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: _Type, data: Any) -> None:
        self.kind, self.data = kind, data

    def made(self) -> Any:
        """Make it, as Python's number or text."""
        return _from_bytes(self.data, self.kind.made())[0].item()


def _from_bytes(data: Any, kind: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(data, str):  # protocol 2 has no bytes
        data = data.encode("latin1")
    if kind.itemsize == 0:
        return np.zeros(1, kind)
    found = np.frombuffer(bytes(data), kind)
    return found if kind.isnative else found.astype(kind.newbyteorder("="))


def _nested(items: list[Any], shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    if len(items) != int(np.prod(shape)):
        raise InputError(f"the file is damaged: {len(items)} objects in an array of {shape}", "copy it again")
    if len(shape) == 0:
        return items[0]
    if len(shape) == 1:
        return items
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape, order=order).tolist()


def _plain(value: Any) -> Any:
    """Put arrays and numbers in the place of what was noted of them."""
    if isinstance(value, _Array | _Scalar):
        return value.made()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, str | bytes | bytearray | int | float | complex | None):
        return value
    if isinstance(value, _Type):
        return str(value.code)
    raise _RefusedError(f"a {type(value).__name__} as a value")


class _Reader(pickle.Unpickler):
    """Python's reader of pickles, to whom a closed list of names is known.

    They are given as bound methods, which have no state that a pickle could set; a class would have.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name.

        Raises
        ------
        _RefusedError
            It is not on the list.
        """
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "dtype"): self._type,
            ("numpy", "ndarray"): self._array,
            ("_codecs", "encode"): self._encoded,  # how protocol 2 writes bytes
        }
        for package in ("builtins", "__builtin__"):  # how protocols 2 and 3 write sets and empty bytes
            known[package, "set"] = self._set
            known[package, "bytes"] = self._bytes
        for package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
            known[f"{package}.multiarray", "_reconstruct"] = self._array
            known[f"{package}.multiarray", "scalar"] = self._scalar
            known[f"{package}.numeric", "_frombuffer"] = self._buffer  # protocol 5
        for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"):
            known["pathlib", kind] = known["pathlib._local", kind] = self._joined
        if (module, name) not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[module, name]

    def _type(self, code: Any, *flags: Any) -> _Type:
        return _Type(code)

    def _array(self, *described: Any) -> _Array:
        return _Array()

    def _scalar(self, kind: _Type, data: Any = b"") -> _Scalar:
        return _Scalar(kind, data)

    def _buffer(self, data: Any, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
        found = _Array()
        found.state = 1, shape, kind, order == "F", data
        return found

    def _encoded(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding != "latin1":
            raise _RefusedError(f"text in {encoding!r}")
        return text.encode("latin1")

    def _set(self, items: list[Any]) -> set[Any]:
        return set(items)

    def _bytes(self) -> bytes:
        return b""

    def _joined(self, *parts: str) -> str:
        return str(Path(*parts))
