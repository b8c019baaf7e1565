"""Which format, which errors: what does not depend on one format."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError, MissingFileError


def test_content_counts_and_the_name_does_not(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Each format under the suffix of another."""
    np.save(tmp_path / "m.npy", frames)
    (tmp_path / "m.npy").rename(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.h5", frames, photometric="minisblack")
    with h5py.File(tmp_path / "c.avi", "w") as file:
        file["mov"] = frames
    for name in ("a.tif", "b.h5", "c.avi"):
        with gpucells.open_movie(tmp_path / name) as movie:
            np.testing.assert_array_equal(movie.read(), frames)
            assert movie.source == str(tmp_path / name)


def test_paths_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, a pattern without a match, forbidden, a broken link."""
    with pytest.raises(MissingFileError, match="does not exist"):
        gpucells.open_movie(tmp_path / "none.tif")
    with pytest.raises(FileNotFoundError):
        gpucells.open_movie("none.tif")
    with pytest.raises(MissingFileError, match="no file matches"):
        gpucells.open_movie(tmp_path / "*.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "nowhere.tif")
    with pytest.raises(MissingFileError):
        gpucells.open_movie(tmp_path / "link.tif")
    (tmp_path / "link.tif").unlink()
    (tmp_path / "a.tif").write_bytes(b"II*\0")

    def forbidden(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(MissingFileError, match="Permission denied"):
        gpucells.open_movie(tmp_path / "a.tif")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_folder(tmp_path: Path) -> None:
    """Permission is the reason given."""
    (tmp_path / "locked").mkdir(mode=0o000)
    with pytest.raises(MissingFileError, match="permission denied"):
        gpucells.open_movie(tmp_path / "locked")


def test_folders_and_lists_without_one_movie(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Empty, only notes, several formats, a folder in a list."""
    with pytest.raises(InputError, match="an empty list"):
        gpucells.open_movie([])
    with pytest.raises(InputError, match="no movie file among its 0 entries"):
        gpucells.open_movie(tmp_path)
    (tmp_path / "notes.txt").write_text("-")
    with pytest.raises(InputError, match="no movie file among its 1 entries"):
        gpucells.open_movie(tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        gpucells.open_movie([tmp_path])
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, frames[0])
    np.save(tmp_path / "c.npy", frames)
    with pytest.raises(InputError, match="several kinds: 2 TIFF, 1 NPY"):
        gpucells.open_movie(tmp_path)


def test_files_that_are_no_movie(tmp_path: Path, frames: NDArray[Any]) -> None:
    """The message has the first bytes, the hint the formats, or what to do with a known other kind."""
    cases: dict[str, tuple[bytes, str, str]] = {
        "empty.tif": (b"", "is empty", "copy"),
        "text.csv": (b"time,frame\n1,2\n", "b'time,fra'", "TIFF, HDF5"),
        "old.mat": (b"MATLAB 5.0 MAT-file, Platform", "version 5 to 7", "-v7.3"),
        "x.bin": (b"\1\2\3\4", "shape and type", "shape=(-1, height, width)"),
    }
    for name, (content, message, hint) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            gpucells.open_movie(tmp_path / name)
        assert message in caught.value.message
        assert hint in caught.value.hint
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("a.npy", b"-")
    with pytest.raises(InputError, match="zip file"):
        gpucells.open_movie(tmp_path / "m.npz")


def test_given_metadata_must_make_sense(frames: NDArray[Any], tmp_path: Path) -> None:
    """A rate or a size is positive; a movie that is passed is given back with what is new."""
    for options in ({"frame_rate_hz": 0}, {"frame_rate_hz": float("nan")}, {"pixel_size_um": -1.0}):
        with pytest.raises(InputError, match="not a positive number"):
            gpucells.open_movie(frames, **options)
    movie = gpucells.open_movie(frames, frame_rate_hz=5)
    again = gpucells.open_movie(movie, pixel_size_um=1.5)
    assert (again.frame_rate_hz, again.pixel_size_um, again.reader) == (5.0, 1.5, movie.reader)
    np.save(tmp_path / "m.npy", frames)
    with pytest.raises(InputError, match="says its type"):
        gpucells.open_movie(tmp_path / "m.npy", dtype="u1")


def test_each_format_brings_only_its_own_package(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Opening an NPY file imports neither h5py, nor tifffile, nor zarr, nor av."""
    np.save(tmp_path / "m.npy", frames)
    code = (
        "import sys, gpucells; gpucells.open_movie(sys.argv[1]).read(slice(0, 2)); "
        "print([m for m in ('h5py', 'tifffile', 'zarr', 'av', 'pynwb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.npy")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
