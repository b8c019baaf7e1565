"""MAT files of versions 5, 7 and 7.3: their variables, in MATLAB's order of axes.

A place in a file is written as in MATLAB: ``output.info.version``. A file of version 7.3 (HDF5) is read array by array
and block by block; of an older one a whole variable is unpacked when its first field is asked for.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import GpucellsError, MissingFileError, ResultFileError

if TYPE_CHECKING:
    import h5py

BLOCK_BYTES = 32 << 20
_HEAD = 520
_HDF5 = b"\x89HDF\r\n\x1a\n"


class MatFile(Protocol):
    """An open MAT file."""

    def names(self) -> list[str]:
        """Return the names of the variables."""

    def fields(self, place: str) -> list[str]:
        """Return the fields of a struct; none where there is no struct at that place."""

    def shape(self, place: str) -> tuple[int, ...]:
        """Return MATLAB's size of an array."""

    def read(self, place: str) -> Any:
        """Return a value: dict, str, list (cell array), SciPy's sparse matrix, or an array in MATLAB's axes."""

    def slabs(self, place: str) -> Iterator[NDArray[Any]]:
        """Give the blocks of an array, ``(k, …)``: axes reversed, cut along the first, one after another."""


class UnreadableError(Exception):
    """What a MAT file holds, and only MATLAB can read."""


def mat_version(path: Path) -> str:
    """Return ``"5"`` (also for MATLAB's 7), ``"7.3"``, ``"4"``, or nothing for what is no MAT file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return ""
    if head[:6] == b"MATLAB" or (head[124:128] in (b"\x00\x01IM", b"\x01\x00MI") and _HDF5 not in head):
        return "7.3" if head[512:520] == _HDF5 else "5"
    # Version 4 has no signature: five integers, the first a type of up to four digits, the last a name's length.
    words = np.frombuffer(head[:20], "<i4") if len(head) >= 20 else np.zeros(0)
    likely = len(words) == 5 and 0 <= words[0] < 5000 and 0 < words[4] < 64 and words[3] in (0, 1) and min(words) >= 0
    return "4" if likely and head[20 : 20 + int(words[4]) - 1].isascii() and path.suffix.lower() == ".mat" else ""


@contextmanager
def open_mat(path: str | os.PathLike[str]) -> Iterator[MatFile]:
    """Open a MAT file for reading.

    Parameters
    ----------
    path : path-like
        Of version 5, 7 or 7.3.

    Yields
    ------
    MatFile
        Open until the block ends; errors within the block are explained too.

    Raises
    ------
    MissingFileError
        There is no such file.
    ResultFileError
        It is damaged, of version 4, no MAT file; or lacks what was asked for.
    """
    from scipy.io.matlab import MatReadError

    name = Path(path)
    if not name.is_file():
        raise MissingFileError(f"there is no file {name}")
    version = mat_version(name)
    if version == "4":
        raise ResultFileError(f"{name} is a MAT file of version 4", "save it again in MATLAB: save(file, '-v7')")
    if not version:
        raise ResultFileError(f"{name} is no MAT file", "give a file that MATLAB's save wrote")
    try:
        if version == "5":
            yield _Mat5(name)
            return
        import h5py

        with name.open("rb") as stream, h5py.File(stream, "r") as file:  # no lock stands in the way on network disks
            yield _Mat73(file)
    except GpucellsError:
        raise
    except UnreadableError as error:
        raise ResultFileError(f"{name}: {error.args[0]}", error.args[1]) from error
    except KeyError as error:
        raise ResultFileError(f"{name} has no {error.args[0]}", "it is not whole, or of another kind") from error
    except (
        OSError,
        ValueError,
        TypeError,
        IndexError,
        EOFError,
        NotImplementedError,
        zlib.error,
        MatReadError,
    ) as error:
        raise ResultFileError(f"{name} cannot be read as a MAT file: {error}", "it is damaged or cut off") from error


def is_mat_with(path: Path, names: set[str]) -> bool:
    """Say whether a file is a MAT file with one of these variables; never raises."""
    if not path.is_file() or mat_version(path) not in ("5", "7.3"):
        return False
    try:
        with open_mat(path) as file:
            return bool(names.intersection(file.names()))
    except GpucellsError:
        return False


def _missing(place: str) -> KeyError:
    return KeyError(place)


def _is_object(kind: str) -> UnreadableError:
    return UnreadableError(
        f"it holds an object of MATLAB's class {kind}, which only MATLAB can read",
        "load it there and save plain arrays, such as full(output.spatial_weights)",
    )


class _Mat5:
    """Version 5 and 7, by SciPy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: tuple[str, Any] = ("", None)

    def names(self) -> list[str]:
        from scipy.io import whosmat

        with self._path.open("rb") as stream:
            return [str(name) for name, *_ in whosmat(stream)]

    def fields(self, place: str) -> list[str]:
        found = self._at(place)
        return list(found.dtype.names or ()) if isinstance(found, np.ndarray) and found.size else []

    def shape(self, place: str) -> tuple[int, ...]:
        return tuple(self._array(place).shape)

    def read(self, place: str) -> Any:
        return _plain(self._at(place))

    def slabs(self, place: str) -> Iterator[NDArray[Any]]:
        reversed_axes = self._array(place).T
        for rows in _slices(reversed_axes.shape, reversed_axes.dtype.itemsize):
            yield reversed_axes[rows]

    def _array(self, place: str) -> NDArray[Any]:
        found = self.read(place)
        if not isinstance(found, np.ndarray):
            raise UnreadableError(f"{place} is no array", "it is of another kind")
        return found

    def _at(self, place: str) -> Any:
        root, *steps = place.split(".")
        found = self._variable(root)
        for step in steps:
            if not isinstance(found, np.ndarray) or step not in (found.dtype.names or ()) or not found.size:
                raise _missing(place)
            found = found.ravel()[0][step]
        return found

    def _variable(self, name: str) -> Any:
        from scipy.io import loadmat

        if self._held[0] != name:
            self._held = ("", None)  # what was held goes before the next comes
            with self._path.open("rb") as stream:
                found = loadmat(stream, variable_names=[name], mat_dtype=True)
            if name not in found:
                raise _missing(name)
            self._held = (name, found[name])
        return self._held[1]


def _plain(value: Any) -> Any:
    from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

    if isinstance(value, MatlabObject | MatlabOpaque | MatlabFunction):
        raise _is_object(str(getattr(value, "classname", "") or "that it names inside"))
    if sparse.issparse(value):
        return sparse.csc_array(value)
    if isinstance(value, np.ndarray) and value.dtype.names:
        return {name: _plain(value.ravel()[0][name]) for name in value.dtype.names} if value.size else {}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_plain(item) for item in value.ravel(order="F")]
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return "\n".join(str(row) for row in value.ravel())
    return value


class _Mat73:
    """Version 7.3, by h5py: axes are reversed there."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def names(self) -> list[str]:
        return [name for name in self._file if not name.startswith("#")]

    def fields(self, place: str) -> list[str]:
        import h5py

        found = self._at(place)
        return list(found) if isinstance(found, h5py.Group) and "MATLAB_sparse" not in found.attrs else []

    def shape(self, place: str) -> tuple[int, ...]:
        item = self._dataset(place)
        return tuple(int(n) for n in item[...].ravel()) if "MATLAB_empty" in item.attrs else item.shape[::-1]

    def read(self, place: str) -> Any:
        return self._value(self._at(place))

    def slabs(self, place: str) -> Iterator[NDArray[Any]]:
        item = self._dataset(place)
        if "MATLAB_empty" in item.attrs:
            return
        for rows in _slices(item.shape, item.dtype.itemsize):
            yield item[rows]

    def _at(self, place: str) -> h5py.Group | h5py.Dataset:
        inside = "/" + place.replace(".", "/")
        if inside not in self._file:
            raise _missing(place)
        return self._file[inside]

    def _dataset(self, place: str) -> h5py.Dataset:
        import h5py

        item = self._at(place)
        if "MATLAB_object_decode" in item.attrs:
            raise _is_object(_text(item.attrs.get("MATLAB_class", "")))
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf":
            raise UnreadableError(f"{place} is no array", "it is of another kind")
        return item

    def _value(self, item: h5py.Group | h5py.Dataset) -> Any:
        import h5py

        kind = _text(item.attrs.get("MATLAB_class", ""))
        if "MATLAB_object_decode" in item.attrs:
            raise _is_object(kind)
        if "MATLAB_sparse" in item.attrs:
            return _sparse(item)
        if isinstance(item, h5py.Group):
            return {name: self._value(child) for name, child in item.items()}
        if "MATLAB_empty" in item.attrs:
            shape = tuple(int(n) for n in item[...].ravel())
            return {"char": "", "cell": []}.get(kind, np.zeros(shape, _dtype(kind)))
        if item.dtype.kind == "O":
            return [self._value(self._file[reference]) for reference in item[...].ravel()]
        values = np.asarray(item[...])
        if kind == "char":
            rows = np.atleast_2d(values.T).astype("<u2")
            return "\n".join(row.tobytes().decode("utf-16-le", "replace") for row in rows)
        return values.T.astype(bool) if kind == "logical" else values.T


def _sparse(group: h5py.Group) -> sparse.csc_array:
    indptr = group["jc"][...].astype(np.int64)
    empty = "data" not in group
    data = np.zeros(0) if empty else group["data"][...]
    rows = np.zeros(0, np.int64) if empty else group["ir"][...].astype(np.int64)
    return sparse.csc_array((data, rows, indptr), shape=(int(group.attrs["MATLAB_sparse"]), len(indptr) - 1))


def _dtype(kind: str) -> str:
    return {"single": "f4", "logical": "?"}.get(kind, kind if kind.lstrip("u").startswith("int") else "f8")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _slices(shape: tuple[int, ...], item_bytes: int) -> Iterator[slice]:
    if not all(shape):
        return
    step = max(1, BLOCK_BYTES // (int(np.prod(shape[1:], dtype=np.int64)) * item_bytes))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
