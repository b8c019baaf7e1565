"""NPY files, written by NumPy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError
from gpucells.io import raw


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stored", ["u1", ">u2", "i2", "f2", "f4", ">f8"])
def test_reads_what_numpy_saved(
    tmp_path: Path, frames: NDArray[Any], order: str, stored: str, require_equal: Callable[..., None]
) -> None:
    """Either memory order, either byte order."""
    path = tmp_path / "m.npy"
    values = (frames % 251).astype(stored)
    np.save(path, np.asarray(values, order=order))  # type: ignore[call-overload]
    with gpucells.open_movie(path) as movie:
        require_equal(movie, values.astype(movie.dtype))
        assert movie.files == (str(path),)


def test_reads_a_real_movie(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Sixty frames of a two-photon movie."""
    np.save(tmp_path / "m.npy", real_frames)
    with gpucells.open_movie(tmp_path / "m.npy") as movie:
        require_equal(movie, real_frames)


@pytest.mark.parametrize("run_bytes", [1, 1 << 40])
@pytest.mark.parametrize("order", ["C", "F"])
def test_both_ways_of_reading_agree(
    tmp_path: Path, real_frames: NDArray[Any], run_bytes: int, order: str, monkeypatch: pytest.MonkeyPatch,
    require_equal: Callable[..., None],
) -> None:  # fmt: skip
    """Runs read in place and boxes copied from mapped pages, in blocks, give the same numbers."""
    monkeypatch.setattr(raw, "_RUN_BYTES", run_bytes)
    monkeypatch.setattr(raw, "_MAPPED_BYTES", 7 * 30 * 40 * 2)
    np.save(tmp_path / "m.npy", np.asarray(real_frames, order=order))  # type: ignore[call-overload]
    with gpucells.open_movie(tmp_path / "m.npy") as movie:
        require_equal(movie, real_frames)


@pytest.mark.parametrize(("order", "n_whole"), [("C", 8), ("F", 8)])
def test_a_cut_file(
    tmp_path: Path, frames: NDArray[Any], order: str, n_whole: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that counts the whole entries of the slowest dimension, or those entries with a warning."""
    path = tmp_path / "m.npy"
    stored = frames if order == "C" else np.asfortranarray(frames.transpose(1, 2, 0))
    axes = "TYX" if order == "C" else "YXT"
    np.save(path, stored)
    path.write_bytes(path.read_bytes()[: 128 + 8 * 7 * 10 * 2 + 5])
    with pytest.raises(InputError, match="8 of 12 frames are whole"):
        gpucells.open_movie(path, axes=axes)
    with caplog.at_level(logging.WARNING), gpucells.open_movie(path, axes=axes, allow_truncated=True) as movie:
        np.testing.assert_array_equal(movie.read(), frames[:n_whole])
    assert "ends early" in caplog.text


def test_pickles_damaged_headers_and_zero_frames(tmp_path: Path, frames: NDArray[Any]) -> None:
    """A pickle is never loaded; the rest is an error with the reason."""
    path = tmp_path / "m.npy"
    np.save(path, np.array([{"Ly": 512}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickles are never loaded"):
        gpucells.open_movie(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': nonsense}")
    with pytest.raises(InputError, match="damaged NPY header"):
        gpucells.open_movie(path)
    np.save(path, frames[:0])
    with pytest.raises(InputError, match="zero frames"):
        gpucells.open_movie(path)
