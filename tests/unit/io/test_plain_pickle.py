"""Pickles in .npy files: plain data is read, everything else is refused and nothing runs."""

from __future__ import annotations

import datetime
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError
from gpucells.io.plain_pickle import read_pickled_npy

PLAIN = {
    "number": np.float32(2.5),
    "truth": np.bool_(True),
    "text": np.str_("µm"),
    "complex": np.complex64(1j),
    "array": np.arange(3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "other end": np.arange(3, dtype=">f4"),
    "texts": np.array(["x", "é"]),
    "empty": np.zeros((0, 3), np.float32),
    "list": [1, (2, 3), {4}, None, b"12", b""],
    "objects": np.array([{"q": np.ones(2)}, None], object),
    "square": np.array([[1, "a"], [None, 2]], object),
    "path": Path("/a/b"),
}


def save(path: Path, value: Any, protocol: int = 4) -> Path:
    array = np.empty((), object)
    array[()] = value
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(array, file, protocol=protocol)
    return path


def save_bytes(path: Path, pickled: bytes) -> Path:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickled)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_is_read(tmp_path: Path, protocol: int) -> None:
    found = read_pickled_npy(save(tmp_path / "a.npy", PLAIN, protocol))
    assert list(found) == list(PLAIN)
    for name in ("array", "by columns", "other end", "texts", "empty"):
        np.testing.assert_array_equal(found[name], PLAIN[name])
        assert found[name].dtype == PLAIN[name].dtype.newbyteorder("=")
    assert [type(found[name]) for name in ("number", "truth", "text", "complex")] == [float, bool, str, complex]
    assert (found["number"], found["truth"], found["text"], found["complex"]) == (2.5, True, "µm", 1j)
    assert found["list"] == PLAIN["list"]
    np.testing.assert_array_equal(found["objects"][0]["q"], np.ones(2))
    assert found["objects"][1] is None
    assert found["square"] == [[1, "a"], [None, 2]]
    assert found["path"] == str(Path("/a/b"))


def test_as_numpy_saves_it(tmp_path: Path) -> None:
    np.save(tmp_path / "stat.npy", np.array([{"a": 1}, {"a": 2}], object))
    assert read_pickled_npy(tmp_path / "stat.npy") == [{"a": 1}, {"a": 2}]
    np.save(tmp_path / "plain.npy", np.arange(4))
    np.testing.assert_array_equal(read_pickled_npy(tmp_path / "plain.npy"), np.arange(4))


class Calls:
    """Pickled as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


class Own(np.ndarray):
    """An array of a class that is not NumPy's."""


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("inside", [lambda x: x, lambda x: {"a": [x]}, lambda x: np.array([{"a": x}, 1], object)])
@pytest.mark.parametrize(
    ("named", "call"),
    [
        ("system", lambda mark: Calls(os.system, f"touch {mark}")),
        ("eval", lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')")),
        ("open", lambda mark: Calls(open, str(mark), "w")),
        ("getattr", lambda mark: Calls(getattr, "a", "upper")),
        ("save", lambda mark: Calls(np.save, str(mark), 1)),
        ("date", lambda mark: datetime.date(2020, 1, 1)),
        ("Own", lambda mark: np.zeros(2).view(Own)),
        ("'V8'", lambda mark: np.zeros(2, [("a", "i4"), ("b", "f4")])),
        ("print", lambda mark: print),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, protocol: int, inside: Any, named: str, call: Any) -> None:
    mark = tmp_path / "mark"
    path = save(tmp_path / "a.npy", inside(call(mark)), protocol)
    with pytest.raises(InputError, match=rf"asks for .*{named}.*refused, nothing was run"):
        read_pickled_npy(path)
    assert not mark.exists()


def test_flags_of_a_forged_type_are_not_believed(tmp_path: Path) -> None:
    """Bytes that a dtype's state calls no objects would be taken for pointers by NumPy's own reader."""
    with pytest.raises(InputError, match="16 objects in an array of"):
        read_pickled_npy(save_bytes(tmp_path / "a.npy", pickle.dumps(Forged(), 2)))


class Forged:
    """An array of two objects, whose contents are sixteen bytes, and whose dtype says that it has no objects."""

    def __reduce__(self) -> Any:
        kind = Built(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
        return Built(
            np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (2,), kind, False, b"A" * 16)
        ).parts


class Built:
    """Pickled as a call and a state."""

    def __init__(self, function: Any, arguments: Any, state: Any) -> None:
        self.parts = function, arguments, state

    def __reduce__(self) -> Any:
        return self.parts


def test_nothing_of_ours_can_be_changed(tmp_path: Path) -> None:
    """BUILD with a state of attributes sets them on whatever it finds, a class or a function too."""
    before = read_pickled_npy(save(tmp_path / "good.npy", PLAIN))
    for state in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x0c\x00\x00\x00__setstate__Nsx\x86"):
        for name in (b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"):
            with pytest.raises(InputError):
                read_pickled_npy(save_bytes(tmp_path / "a.npy", b"\x80\x02" + name + state + b"b."))
    after = read_pickled_npy(save(tmp_path / "good.npy", PLAIN))
    assert str(before) == str(after)


@pytest.mark.parametrize("cut", [0, 6, 100, 140, -1])
def test_damaged_files_say_so(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path / "a.npy", PLAIN)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="damaged"):
        read_pickled_npy(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_pickled_npy(tmp_path / "none.npy")


def test_lists_within_themselves_end(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="nested too deeply"):
        read_pickled_npy(save(tmp_path / "a.npy", endless))
