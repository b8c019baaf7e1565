"""MAT files for MATLAB: nested values and arrays that are made a block at a time, as version 5 or 7.3.

MATLAB keeps the first axis closest together, so an array of MATLAB's shape [h w n] is, in the file of either version,
what NumPy has as (n, w, h) in C order. That is how blocks are given here: axes reversed, cut along the first. Neither
version then ever needs a whole array.

Version 5 (MATLAB calls it 7 where it is compressed, as it is here) is read by everything, and holds less than 2 GB a
variable; 7.3 is HDF5, and has no such limit.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, SettingsError
from gpucells.io.atomic_file import written_atomically
from gpucells.progress import Event, ProgressSink, silent

Version = Literal["auto", "5", "7.3"]
#: MATLAB's own limit of a variable is 2 GB; here all variables of a file stay below together, headers included.
V5_LIMIT_BYTES = 2**31 - 2**16
NAME_LENGTH = 63  # MATLAB's namelengthmax
_CLASSES = {"float32": "single", "float64": "double"} | {
    name: name for size in (8, 16, 32, 64) for name in (f"int{size}", f"uint{size}")
}


@dataclass(frozen=True)
class Array:
    """Numbers, logicals or characters.

    Parameters
    ----------
    kind : str
        MATLAB's class: ``single``, ``uint8``, ``logical``, ``char``, …
    shape : tuple of int
        In MATLAB's order, two axes or more.
    dtype : numpy.dtype
        As stored: logicals are uint8, characters uint16 (UTF-16).
    blocks : callable
        Makes the blocks, one after another: ``(k, …)``, axes reversed, cut along the first.
    packed : bool
        Whether compressing is worth the time, one piece of the first (reversed) axis at a time.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[NDArray[Any]]]
    packed: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes as stored, before compression."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Struct:
    """A scalar struct."""

    fields: dict[str, Value]


@dataclass(frozen=True)
class CellRow:
    """A cell array of one row."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix of doubles, the only kind beside logical that MATLAB has."""

    matrix: sparse.csc_array


Value: TypeAlias = Array | Struct | CellRow | Sparse


def streamed(
    shape: tuple[int, ...], blocks: Callable[[], Iterator[NDArray[Any]]], packed: bool = False, dtype: Any = np.float32
) -> Array:
    """Return an array that is made while it is written.

    Parameters
    ----------
    shape : tuple of int
        In MATLAB's order, such as ``(height, width, n_cells)``.
    blocks : callable
        Returns an iterator of blocks ``(k, …)``: axes reversed, cut along the first, such as ``(k, width, height)``.
    packed : bool
        Whether compressing is worth the time.
    dtype : dtype
        Of the blocks.
    """
    return Array(_CLASSES[np.dtype(dtype).name], shape, np.dtype(dtype), blocks, packed)


def write_mat(
    path: str | os.PathLike[str],
    variables: Mapping[str, Any],
    overwrite: bool = False,
    version: Version = "auto",
    progress: ProgressSink = silent,
) -> None:
    """Write variables to a MAT file, whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to make.
    variables : dict
        Name to value: dict -> struct, str -> char, bool -> logical, list or tuple -> cell, None or an empty dict ->
        ``[]``, numbers -> double, NumPy arrays -> arrays of their type (of one axis: a row), SciPy's sparse -> sparse,
        and what :func:`streamed` returns.
    overwrite : bool
        Whether an existing file may be replaced.
    version : {"auto", "5", "7.3"}
        ``auto`` is 5 where everything together is below :data:`V5_LIMIT_BYTES`.
    progress : ProgressSink
        Told of every block.

    Raises
    ------
    ResultFileError
        It exists, its folder is missing or cannot be written to, or the disk is full. Nothing is left behind.
    SettingsError
        Version 5 cannot hold that much.
    InputError
        A value is of a type that has no place in MATLAB.
    """
    with written_atomically(path, overwrite) as stream:
        write_mat_to(stream, variables, version, progress)


def write_mat_to(
    stream: BinaryIO, variables: Mapping[str, Any], version: Version = "auto", progress: ProgressSink = silent
) -> None:
    """Write variables to an open file.

    Parameters
    ----------
    stream : file
        Empty; of :func:`gpucells.io.atomic_file.written_atomically`.
    variables, version, progress
        As of :func:`write_mat`.
    """
    from gpucells.export.matlab5 import total_bytes, write_5
    from gpucells.export.matlab73 import write_73

    tree = _struct(variables)
    needed = total_bytes(tree)
    if version == "5" and needed > V5_LIMIT_BYTES:
        raise SettingsError(
            f"a MAT file of version 5 holds less than 2 GB, and this is {needed / 1e9:.1f} GB",
            "write version 7.3, or fewer cells",
        )
    tell = _Progress(progress, needed)
    if version == "7.3" or needed > V5_LIMIT_BYTES:
        write_73(stream, tree, tell)
    else:
        write_5(stream, tree, tell)


def header(version: str, more: str = "") -> bytes:
    """Return the text that a MAT file begins with, 116 bytes."""
    now = datetime.datetime.now(datetime.UTC).strftime("%a %b %d %H:%M:%S %Y")
    return f"MATLAB {version} MAT-file, Platform: gpucells, Created on: {now}{more}".encode("ascii").ljust(116)


def field_name(name: str, taken: Mapping[str, Any] = {}) -> str:
    """Make a name that MATLAB accepts: letters, digits and underscores, a letter first, and not one of ``taken``."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    plain = (plain if plain[:1].isalpha() else f"x{plain}")[:NAME_LENGTH]
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain[: NAME_LENGTH - 6]}_{number}"
    return found


class _Progress:
    """Adds up bytes."""

    def __init__(self, sink: ProgressSink, total: int) -> None:
        self._sink, self._total, self._done = sink, total, 0

    def __call__(self, n_bytes: int) -> None:
        self._done += n_bytes
        self._sink(Event("write", self._done / 1e6, self._total / 1e6, "MB"))


def _struct(values: Mapping[str, Any]) -> Struct:
    found: dict[str, Value] = {}
    for name, value in values.items():
        found[field_name(str(name), found)] = _value(value)
    return Struct(found)


def _value(value: Any) -> Value:
    found: Value
    if isinstance(value, Array):
        found = value
    elif value is None or (isinstance(value, Mapping) and not value):
        found = _array(np.zeros((0, 0)))
    elif isinstance(value, Mapping):
        found = _struct(value)
    elif isinstance(value, str):
        found = _text(value)
    elif isinstance(value, list | tuple):
        found = CellRow(tuple(_value(item) for item in value))
    elif sparse.issparse(value):
        matrix = sparse.csc_array(value, dtype=np.float64)
        matrix.sum_duplicates()  # and sorts, as MATLAB needs it
        found = Sparse(matrix)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _array(np.asarray(value, np.float64))
    elif isinstance(value, np.ndarray | np.generic | bool):
        found = _array(np.asarray(value))
    else:
        raise InputError(f"a value of type {type(value).__name__} has no place in a MAT file: {value!r:.80}")
    return found


def _array(value: NDArray[Any]) -> Array:
    if value.dtype == np.float16:
        value = value.astype(np.float32)
    kind = "logical" if value.dtype == np.bool_ else _CLASSES.get(value.dtype.name)
    if kind is None:
        raise InputError(f"an array of {value.dtype} has no place in a MAT file")
    if kind == "logical":
        value = value.astype(np.uint8)
    value = value.reshape((1,) * (2 - value.ndim) + value.shape).astype(value.dtype.newbyteorder("<"), copy=False)
    return Array(kind, value.shape, value.dtype, lambda: iter((value.T,)))


def _text(value: str) -> Array:
    units = np.frombuffer(value.encode("utf-16-le", "surrogatepass"), "<u2")
    shape = (1, len(units)) if len(units) else (0, 0)
    return Array("char", shape, units.dtype, lambda: iter((units.reshape(shape[::-1]),)))
