"""Zarr folders and zip files, written by zarr in both formats."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError, MissingDependencyError

zarr = pytest.importorskip("zarr", reason="needs the extra gpucells[zarr]")


@pytest.mark.parametrize("version", [2, 3])
def test_an_array(tmp_path: Path, real_frames: NDArray[Any], version: int, require_equal: Callable[..., None]) -> None:
    """Both formats, chunks that do not divide the shape, attributes."""
    path = tmp_path / "m.zarr"
    array = zarr.create_array(
        path, shape=real_frames.shape, dtype=real_frames.dtype, chunks=(16, 13, 40), zarr_format=version
    )
    array[:] = real_frames
    array.attrs.update({"frame_rate_hz": 15.0, "scale": 0.5, "offset": 1})
    with gpucells.open_movie(path) as movie:
        assert (movie.frame_rate_hz, movie.files) == (15.0, (str(path),))
        require_equal(movie, real_frames.astype(np.float32) * 0.5 + 1)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("stored", ["u1", ">u2", "f2", ">f4"])
def test_types(
    tmp_path: Path, frames: NDArray[Any], version: int, stored: str, require_equal: Callable[..., None]
) -> None:
    """Either byte order, half precision."""
    values = (frames % 251).astype(stored)
    zarr.create_array(tmp_path / "m.zarr", data=values, zarr_format=version)
    with gpucells.open_movie(tmp_path / "m.zarr") as movie:
        require_equal(movie, values.astype(movie.dtype))


@pytest.mark.parametrize("version", [2, 3])
def test_groups(tmp_path: Path, frames: NDArray[Any], version: int, require_equal: Callable[..., None]) -> None:
    """The movie of a group is found as in HDF5; axes as everywhere."""
    path = tmp_path / "m.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=version)
    root.create_array("session/raw", data=frames.transpose(2, 1, 0))
    root.create_array("times", data=np.arange(12.0))
    root.attrs["frame_rate_hz"] = 7.5
    with gpucells.open_movie(path, axes="XYT") as movie:
        assert movie.frame_rate_hz == 7.5
        require_equal(movie, frames)
    root.create_array("other", data=frames)
    with pytest.raises(InputError, match="2 datasets") as caught:
        gpucells.open_movie(path)
    assert "dataset='session/raw'" in caught.value.hint
    with gpucells.open_movie(path, dataset="other") as movie:
        require_equal(movie, frames)


def test_a_zip_file(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """A Zarr array in one file."""
    store = zarr.storage.ZipStore(tmp_path / "m.zarr.zip", mode="w")
    zarr.create_array(store, data=frames)
    store.close()
    with gpucells.open_movie(tmp_path / "m.zarr.zip") as movie:
        require_equal(movie, frames)


def test_a_lost_chunk_reads_as_the_fill_value(tmp_path: Path, frames: NDArray[Any]) -> None:
    """What the format says, and the documentation of this reader."""
    path = tmp_path / "m.zarr"
    zarr.create_array(path, data=frames, chunks=(4, 7, 10), zarr_format=2, fill_value=9)
    (path / "1.0.0").unlink()
    with gpucells.open_movie(path) as movie:
        read = movie.read()
    assert (read[4:8] == 9).all()
    np.testing.assert_array_equal(read[8:], frames[8:])


def test_damage_and_a_missing_package(tmp_path: Path, frames: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken metadata, a chunk that is cut, zarr not installed."""
    path = tmp_path / "m.zarr"
    zarr.create_array(path, data=frames, chunks=(4, 7, 10), zarr_format=2)
    (path / "1.0.0").write_bytes((path / "1.0.0").read_bytes()[:-20])
    with gpucells.open_movie(path) as movie, pytest.raises(InputError, match="cannot be read"):
        movie.read()
    (path / ".zarray").write_text("{")
    with pytest.raises(InputError, match="cannot be opened as Zarr"):
        gpucells.open_movie(path)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingDependencyError, match=r"gpucells\[zarr\]"):
        gpucells.open_movie(path)
