"""Bare numbers: raw files, suite2p's data.bin, CaImAn's memory maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError


def test_raw_with_shape_and_type(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """A given shape, or -1 for the frames that fit, of any name, byte order and dimension order."""
    path = tmp_path / "recording.sbx"
    real_frames.astype(">u2").tofile(path)
    for shape in ((60, 30, 40), (-1, 30, 40)):
        with gpucells.open_movie(path, shape=shape, dtype=">u2") as movie:
            require_equal(movie, real_frames)
    real_frames.transpose(2, 1, 0).tofile(path)
    with gpucells.open_movie(path, shape=(40, 30, 60), dtype="u2", axes="XYT") as movie:
        require_equal(movie, real_frames)


def test_suite2p_asks_for_the_frame_size(
    tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """ops.npy is a pickle and stays closed; the hint says what to pass, and that then works, also for the folder."""
    values = (real_frames // 2).astype(np.int16)
    values.tofile(tmp_path / "data.bin")
    np.save(tmp_path / "ops.npy", np.array({"Ly": 30, "Lx": 40}, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="shape and type are not known") as caught:
        gpucells.open_movie(tmp_path / "data.bin")
    assert "ops.npy" in caught.value.hint
    assert "shape=(-1, Ly, Lx), dtype='int16'" in caught.value.hint
    for path in (tmp_path / "data.bin", tmp_path):
        with gpucells.open_movie(path, shape=(-1, 30, 40), dtype="int16") as movie:
            require_equal(movie, values)


def test_sizes_that_do_not_fit(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Too short is a cut file, too long a wrong shape, and a shape must be one."""
    path = tmp_path / "m.bin"
    path.write_bytes(frames.tobytes()[:-3])
    with pytest.raises(InputError, match="11 of 12 frames"):
        gpucells.open_movie(path, shape=(12, 7, 10), dtype="u2")
    with pytest.raises(InputError, match="11 of 12 frames"):
        gpucells.open_movie(path, shape=(-1, 7, 10), dtype="u2")
    with gpucells.open_movie(path, shape=(-1, 7, 10), dtype="u2", allow_truncated=True) as movie:
        np.testing.assert_array_equal(movie.read(), frames[:11])
    with pytest.raises(InputError, match=r"takes 140"):
        gpucells.open_movie(path, shape=(1, 7, 10), dtype="u2")
    for shape in ((-1, -1, 10), (12, 0, 10), (12, -1, 10)):
        with pytest.raises(InputError, match="not a stored shape"):
            gpucells.open_movie(path, shape=shape, dtype="u2")
    with pytest.raises(InputError, match="shape and type"):
        gpucells.open_movie(path, dtype="u2")
    path.write_bytes(b"ab")
    with pytest.raises(InputError, match="0 of 1 frames"):
        gpucells.open_movie(path, shape=(-1, 7, 10), dtype="u2", allow_truncated=True)


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("ending", ["", "_"])
def test_caiman_memory_maps(
    tmp_path: Path, real_frames: NDArray[Any], order: str, ending: str, require_equal: Callable[..., None]
) -> None:
    """Written as CaImAn documents it: float32 (pixels, frames), pixels in Fortran order of (d1, d2)."""
    path = tmp_path / f"Yr_d1_30_d2_40_d3_1_order_{order}_frames_60{ending}.mmap"
    matrix = np.stack([frame.astype(np.float32).ravel(order="F") for frame in real_frames], axis=1)
    mapped = np.memmap(path, np.float32, "w+", shape=(1200, 60), order=order)  # type: ignore[call-overload]
    mapped[:] = matrix
    mapped.flush()
    with gpucells.open_movie(path) as movie:
        assert movie.dtype == np.float32
        require_equal(movie, real_frames.astype(np.float32))


def test_caiman_maps_that_are_cut(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Frame after frame, the whole ones can be read; trace after trace, none is whole."""
    by_frame = tmp_path / "m_d1_7_d2_10_d3_1_order_F_frames_12.mmap"
    by_frame.write_bytes(frames.astype("<f4").tobytes()[:-4])
    with pytest.raises(InputError, match="11 of 12"):
        gpucells.open_movie(by_frame)
    with gpucells.open_movie(by_frame, allow_truncated=True) as movie:
        assert movie.n_frames == 11
    by_trace = by_frame.rename(tmp_path / "m_d1_7_d2_10_d3_1_order_C_frames_12.mmap")
    with pytest.raises(InputError, match="its name says"):
        gpucells.open_movie(by_trace, allow_truncated=True)
    with pytest.raises(InputError, match="leave it out"):
        gpucells.open_movie(by_trace, axes="TYX")
