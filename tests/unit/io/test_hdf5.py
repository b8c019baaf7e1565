"""HDF5 files, written by h5py, and the real and simulated movies of shared/data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError, MissingDependencyError
from gpucells.io.hdf5 import list_datasets

REAL = ["real_1p_ca1.h5", "real_1p_pfc_tiny.h5", "real_2p_mouse_small.h5", "real_2p_tiny.h5"]


@pytest.mark.parametrize("name", REAL)
def test_real_movies(shared_data: Path, name: str) -> None:
    """Shape, type and samples as h5py has them."""
    with h5py.File(shared_data / name) as file, gpucells.open_movie(shared_data / name) as movie:
        stored = file["movie"]
        assert (movie.shape, movie.dtype, movie.frame_rate_hz) == (stored.shape, stored.dtype, None)
        box = (slice(90, 110), slice(3, 17), slice(5, 21))
        np.testing.assert_array_equal(movie.read(*box), stored[box])


def test_scale_offset_and_frame_rate_of_a_simulated_movie(shared_data: Path) -> None:
    """Value = raw x scale + offset; the file has datasets of truth beside the movie."""
    path = shared_data / "sim_2p_crowded.h5"
    with h5py.File(path) as file, gpucells.open_movie(path) as movie:
        stored = file["movie"]
        assert (movie.frame_rate_hz, movie.scale) == (10.0, stored.attrs["scale"])
        assert movie.dtype == np.float32
        expected = stored[5:9] * stored.attrs["scale"] + stored.attrs["offset"]
        np.testing.assert_allclose(movie.read(slice(5, 9)), expected, rtol=1e-6)
    with gpucells.open_movie(path, frame_rate_hz=12.5, pixel_size_um=2) as movie:
        assert (movie.frame_rate_hz, movie.pixel_size_um) == (12.5, 2.0)


@pytest.mark.parametrize("name", ["1", "mov", "images", "Movie", "movie", "data"])
def test_known_names(tmp_path: Path, frames: NDArray[Any], name: str, require_equal: Callable[..., None]) -> None:
    """A known name at the root is the movie, whatever else of three dimensions the file has."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["aaa"] = frames[::-1]
        file[name] = frames
        file["group/data"] = frames[:3]
    with gpucells.open_movie(tmp_path / "m.h5") as movie:
        require_equal(movie, frames)


def test_the_only_one_of_three_dimensions(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Found in a group, behind a link, between tables and text; a link that leads up or nowhere is passed over."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["exp/plane0/raw"] = frames
        file["exp/times"] = np.arange(12.0)
        file["exp/note"] = "text"
        file["exp/empty"] = h5py.Empty("f4")
        file["exp/up"] = h5py.SoftLink("/exp")
        file["exp/gone"] = h5py.SoftLink("/nowhere")
    with gpucells.open_movie(tmp_path / "m.h5") as movie:
        np.testing.assert_array_equal(movie.read(), frames)
    with h5py.File(tmp_path / "m.h5") as file:
        assert set(list_datasets(file)) == {"exp/plane0/raw", "exp/times", "exp/note"}


def test_several_none_and_a_wrong_name_list_the_candidates(tmp_path: Path, frames: NDArray[Any]) -> None:
    """The hint has what to pass."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["b/c"], file["flat"] = frames, frames, frames[0]
    with pytest.raises(InputError, match="2 datasets that could be") as caught:
        gpucells.open_movie(path)
    assert "dataset='a' (12, 7, 10) uint16; dataset='b/c'" in caught.value.hint
    with gpucells.open_movie(path, dataset="/b/c") as movie:
        assert movie.n_frames == 12
    with pytest.raises(InputError, match="no dataset 'mov'"):
        gpucells.open_movie(path, dataset="mov")
    with pytest.raises(InputError, match="2 dimensions"):
        gpucells.open_movie(path, dataset="flat")
    with h5py.File(path, "w") as file:
        file["movie"], file["mov"] = frames, frames
    with pytest.raises(InputError, match="2 datasets"):
        gpucells.open_movie(path)
    with h5py.File(path, "w") as file:
        file["movie"] = frames[0]
    with pytest.raises(InputError, match="no dataset of three dimensions") as caught:
        gpucells.open_movie(path)
    assert "dataset='movie' (7, 10)" in caught.value.hint
    with h5py.File(path, "w"):
        pass
    with pytest.raises(InputError, match="no dataset of three dimensions"):
        gpucells.open_movie(path)


def test_matlab_order(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """h5write leaves no mark and needs axes; save -v7.3 marks its variables, and puts 512 bytes before the file."""
    seen_by_h5py = frames.transpose(0, 2, 1)  # MATLAB's (height, width, frames), dimensions reversed
    with h5py.File(tmp_path / "h5write.h5", "w") as file:
        file["mov"] = seen_by_h5py
    with gpucells.open_movie(tmp_path / "h5write.h5", axes="TXY") as movie:
        require_equal(movie, frames)
    path = tmp_path / "saved.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["mov"] = seen_by_h5py
        file["mov"].attrs["MATLAB_class"] = np.bytes_("uint16")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    with gpucells.open_movie(path) as movie:
        require_equal(movie, frames)
    with gpucells.open_movie(path, axes="TYX") as movie:
        require_equal(movie, seen_by_h5py)


@pytest.mark.parametrize("stored", ["u1", ">u2", "i2", "f2", ">f4", "f8"])
def test_types_and_chunks(
    tmp_path: Path, frames: NDArray[Any], stored: str, require_equal: Callable[..., None]
) -> None:
    """Compressed chunks that fit neither the frame nor the length."""
    values = (frames % 251).astype(stored)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=values, chunks=(5, 4, 3), compression="gzip", shuffle=True)
    with gpucells.open_movie(tmp_path / "m.h5") as movie:
        require_equal(movie, values.astype(movie.dtype))


def test_attributes(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Those of the dataset before those of the file; nonsense is passed over."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["mov"] = frames
        file.attrs.update({"fps": 20, "pixel_size_um": "unknown"})
        file["mov"].attrs.update({"frame_rate_hz": np.array([30.0]), "scale": np.nan})
    with gpucells.open_movie(path) as movie:
        assert (movie.frame_rate_hz, movie.pixel_size_um, movie.scale, movie.offset) == (30.0, None, 1.0, 0.0)
        assert (movie.source, movie.files) == (str(path), (str(path),))


def test_cut_damaged_and_zero_frames(tmp_path: Path, frames: NDArray[Any]) -> None:
    """HDF5 cannot be read in part; damage inside shows when the frames are read."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("mov", data=np.repeat(frames, 20, axis=1), chunks=(4, 140, 10), compression="gzip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="ends early"):
        gpucells.open_movie(path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["mov"] = frames[:0]
    with pytest.raises(InputError, match="zero frames"):
        gpucells.open_movie(tmp_path / "x.h5")
    path.write_bytes(whole)
    with h5py.File(path) as file:
        chunk = file["mov"].id.get_chunk_info(2)
    path.write_bytes(whole[: chunk.byte_offset] + bytes(chunk.size) + whole[chunk.byte_offset + chunk.size :])
    with gpucells.open_movie(path) as movie:
        movie.read(slice(0, 8))
        with pytest.raises(InputError, match="frames 8 to 11 cannot be read"):
            movie.read(slice(8, 12))


def test_a_filter_that_is_not_installed(tmp_path: Path, frames: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the number of the filter and the package that brings it."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=frames, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(MissingDependencyError, match="hdf5plugin"):
        gpucells.open_movie(tmp_path / "m.h5")


def test_reading_frame_by_frame_decompresses_each_chunk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk cache holds what one frame touches, and is in force: HDF5 keeps that of a handle opened before."""
    path = tmp_path / "m.h5"
    values = np.random.default_rng(0).integers(0, 99, (32, 256, 256), np.uint16)
    with h5py.File(path, "w") as file:
        file.create_dataset("mov", data=values, chunks=(16, 256, 256), compression="gzip", compression_opts=1)
    opened = []
    original = h5py.h5d.open

    def opening(parent: Any, name: bytes, access: Any = None) -> Any:
        opened.append(h5py.h5f.get_obj_count(h5py.h5i.get_file_id(parent), h5py.h5f.OBJ_DATASET))
        return original(parent, name, access)

    monkeypatch.setattr(h5py.h5d, "open", opening)
    with gpucells.open_movie(path) as movie:
        assert opened == [0]
        dataset = movie.reader._array  # type: ignore[attr-defined]
        n_bytes = dataset.id.get_access_plist().get_chunk_cache()[1]
        assert n_bytes >= 16 * 256 * 256 * 2
        np.testing.assert_array_equal(np.concatenate([movie.read(slice(i, i + 1)) for i in range(32)]), values)
