"""MAT files of both versions: values come back in MATLAB's axes, and a write is whole or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, MissingFileError, ResultFileError, SettingsError
from gpucells.export import matlab, matlab5
from gpucells.export.matlab import field_name, streamed, write_mat
from gpucells.io.matlab import mat_version, open_mat

IMAGES = np.random.default_rng(0).random((5, 3, 4)).astype(np.float32)  # (n, height, width)
NAME = "Größe µm, 鼠"


def in_blocks() -> Iterator[NDArray[Any]]:
    for start in range(0, 5, 2):
        yield IMAGES[start : start + 2].transpose(0, 2, 1)


def everything() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "s": {
            "images": streamed((3, 4, 5), in_blocks, packed=True),
            "name": NAME,
            "flag": True,
            "mask": np.array([[True, False, True], [False, False, True]]),
            "cells": [1, "ab", [2.5, [3]], None, {"x": 1}],
            "none": None,
            "empty": "",
            "no_cells": [],
            "no_traces": np.zeros((0, 7), np.float32),
            "nested": {"row": np.arange(3), "small": np.int16(-4), "byte": np.uint8(3), "nan": np.nan},
            "1 b-c": 2,
        },
        "spread": sparse.random_array((6, 4), density=0.3, rng=rng),
        "bare": sparse.csc_array((3, 2)),
        "big": rng.random((2, 3, 4)),
    }


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_values_come_back_as_matlab_has_them(tmp_path: Path, version: matlab.Version) -> None:
    path = tmp_path / "a.mat"
    write_mat(path, everything(), version=version)
    assert mat_version(path) == version
    with open_mat(path) as file:
        assert sorted(file.names()) == ["bare", "big", "s", "spread"]
        assert set(file.fields("s.nested")) == {"row", "small", "byte", "nan"}
        assert file.fields("big") == []
        assert file.shape("s.images") == (3, 4, 5)
        assert file.shape("s.no_traces") == (0, 7)
        s = file.read("s")
        np.testing.assert_array_equal(s["images"], IMAGES.transpose(1, 2, 0))
        np.testing.assert_array_equal(np.concatenate(list(file.slabs("s.images"))), IMAGES.transpose(0, 2, 1))
        assert list(file.slabs("s.no_traces")) == [] or all(not block.size for block in file.slabs("s.no_traces"))
        np.testing.assert_array_equal(file.read("big"), everything()["big"])
        np.testing.assert_array_equal(file.read("spread").toarray(), everything()["spread"].toarray())
        assert file.read("bare").shape == (3, 2)
    assert s["name"] == NAME
    assert s["mask"].dtype == bool
    np.testing.assert_array_equal(s["mask"], [[True, False, True], [False, False, True]])
    assert s["flag"].item() is True
    one, text, (number, (inner,)), none, struct = s["cells"]
    assert (one.item(), text, number.item(), inner.item(), none.shape) == (1, "ab", 2.5, 3, (0, 0))
    assert struct["x"].item() == 1
    assert s["none"].shape == (0, 0)
    assert s["empty"] == ""
    assert s["no_cells"] == []
    assert s["nested"]["row"].shape == (1, 3)
    assert s["nested"]["small"].item() == -4
    assert np.isnan(s["nested"]["nan"].item())
    assert s["x1_b_c"].item() == 2


def test_auto_is_5_while_everything_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "small.mat", everything())
    assert mat_version(tmp_path / "small.mat") == "5"
    needed = matlab5.total_bytes(matlab._struct(everything()))
    monkeypatch.setattr(matlab, "V5_LIMIT_BYTES", needed)
    write_mat(tmp_path / "just.mat", everything())
    assert mat_version(tmp_path / "just.mat") == "5"
    monkeypatch.setattr(matlab, "V5_LIMIT_BYTES", needed - 1)
    write_mat(tmp_path / "large.mat", everything())
    assert mat_version(tmp_path / "large.mat") == "7.3"
    with pytest.raises(SettingsError, match="less than 2 GB"):
        write_mat(tmp_path / "no.mat", everything(), version="5")
    assert not (tmp_path / "no.mat").exists()


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    for version in ("5", "7.3"):
        events: list[Any] = []
        write_mat(tmp_path / f"{version}.mat", {"x": np.zeros((100, 100))}, version=version, progress=events.append)
        assert events[-1].done == pytest.approx(events[-1].total, rel=0.01)


def test_names_that_matlab_takes() -> None:
    assert field_name("a-b c") == "a_b_c"
    assert field_name("_x") == "x_x"
    assert field_name("µm") == "x_m"
    assert field_name("") == "x"
    assert len(field_name("y" * 100)) == matlab.NAME_LENGTH
    assert field_name("a", {"a": 0, "a_2": 0}) == "a_3"


def test_values_without_a_place_are_refused(tmp_path: Path) -> None:
    for value in (object(), np.zeros(2, complex), np.array(["x"])):
        with pytest.raises(InputError, match="has no place in a MAT file"):
            write_mat(tmp_path / "a.mat", {"x": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_existing_file_is_kept_and_a_failed_one_never_appears(tmp_path: Path, version: matlab.Version) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"precious")
    with pytest.raises(ResultFileError, match="exists already"):
        write_mat(path, {"x": 1}, version=version)

    def breaks() -> Iterator[NDArray[Any]]:
        yield IMAGES[:2].transpose(0, 2, 1)
        raise OSError(28, "No space left on device")

    with pytest.raises(ResultFileError, match="disk is full"):
        write_mat(path, {"x": {"y": streamed((3, 4, 5), breaks, packed=True)}}, overwrite=True, version=version)
    assert path.read_bytes() == b"precious"
    assert [one.name for one in tmp_path.iterdir()] == ["a.mat"]


CHILD = """
import resource, sys
import numpy as np
from gpucells.errors import ResultFileError
from gpucells.export.matlab import write_mat
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
values = np.random.default_rng(0).random((1000, 1000))
try:
    write_mat(sys.argv[1], {"output": {"traces": values, "more": values}}, version=sys.argv[2])
except ResultFileError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of file size are Linux's")
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, version: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "a.mat"), version], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "larger than the system or file system allows" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_cut_off_file_is_a_clear_error(tmp_path: Path, version: matlab.Version, share: float) -> None:
    path = tmp_path / "a.mat"
    write_mat(path, {"x": {"traces": np.random.default_rng(0).random((50, 200))}}, version=version)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ResultFileError, match=r"a\.mat (cannot be read|has no x)"), open_mat(path) as file:
        file.read("x.traces")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no file"), open_mat(tmp_path / "none.mat"):
        pass
    (tmp_path / "text.mat").write_text("hello, this is no MAT file at all")
    with pytest.raises(ResultFileError, match="is no MAT file"), open_mat(tmp_path / "text.mat"):
        pass
    scipy.io.savemat(tmp_path / "old.mat", {"traces": np.zeros((3, 4))}, format="4")
    assert mat_version(tmp_path / "old.mat") == "4"
    with pytest.raises(ResultFileError, match="version 4") as caught, open_mat(tmp_path / "old.mat"):
        pass
    assert "-v7" in caught.value.hint
    for version in ("5", "7.3"):
        write_mat(tmp_path / "a.mat", {"x": {"y": 1}}, overwrite=True, version=version)
        with pytest.raises(ResultFileError, match=r"has no x\.z"), open_mat(tmp_path / "a.mat") as file:
            file.read("x.z")
        with pytest.raises(ResultFileError, match="x is no array"), open_mat(tmp_path / "a.mat") as file:
            file.shape("x")


def test_objects_of_matlab_are_named(tmp_path: Path) -> None:
    """MATLAB stores an object as references into a part of the file that only it can read."""
    path = tmp_path / "a.mat"
    write_mat(path, {"output": {"x": 1}}, version="7.3")
    with h5py.File(path, "r+") as file:
        item = file.create_dataset("output/spatial_weights", data=np.zeros((1, 6), np.uint32))
        item.attrs["MATLAB_class"] = np.bytes_("ndSparse")
        item.attrs["MATLAB_object_decode"] = np.int32(3)
    for ask in ("read", "shape"):
        with pytest.raises(ResultFileError, match="ndSparse") as caught, open_mat(path) as opened:
            getattr(opened, ask)("output.spatial_weights")
        assert "full(" in caught.value.hint
