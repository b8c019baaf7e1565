"""Recordings in several files: order, gaps, and files that do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError
from gpucells.io import join
from gpucells.io.join import missing_numbers, natural_key


@pytest.fixture
def series(tmp_path: Path, frames: NDArray[Any]) -> list[Path]:
    """Twelve files of one frame, 1.tif to 12.tif, written in the order of their names as text."""
    paths = [tmp_path / f"{i + 1}.tif" for i in range(12)]
    for path, frame in sorted(zip(paths, frames, strict=True), key=lambda pair: str(pair[0])):
        tifffile.imwrite(path, frame)
    return paths


def test_natural_order() -> None:
    """Digits are numbers, whatever their width; letters regardless of case."""
    names = ["b1.tif", "A10.tif", "a2.tif", "a1.tif", "a02b.tif", "a1_b3.tif"]
    ordered = sorted(map(Path, names), key=natural_key)
    assert [p.name for p in ordered] == ["a1.tif", "a1_b3.tif", "a2.tif", "a02b.tif", "A10.tif", "b1.tif"]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["0.avi", "1.avi", "3.avi"], ["2.avi"]),
        (["0.avi", "2.avi"], ["1.avi"]),
        (["f_001.tif", "f_002.tif", "f_005.tif", "f_006.tif"], ["f_003.tif", "f_004.tif"]),
        (["m1000_2p.tif", "m2000_2p.tif", "m4000_2p.tif"], ["m3000_2p.tif"]),
        (["s1_0.avi", "s1_1.avi", "s1_3.avi", "s2_0.avi", "s2_1.avi"], ["s1_2.avi"]),
        (["0.avi", "1.avi", "2.avi"], []),
        (["only.avi"], []),
        (["2021-05-01.tif", "2021-05-17.tif", "2021-06-12.tif"], []),
        (["101500.tif", "112233.tif", "134501.tif"], []),
        (["a.tif", "b1.tif"], []),
    ],
)
def test_gaps(names: list[str], missing: list[str]) -> None:
    """Numbers that a regular series lacks, and no alarm for dates and times."""
    assert missing_numbers([Path(name) for name in names]) == missing


def test_a_folder_a_list_and_a_pattern(
    series: list[Path], tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """Joined in natural order, whatever the order given; other files and hidden ones are passed over."""
    (tmp_path / "notes.txt").write_text("-")
    (tmp_path / ".hidden.tif").write_text("-")
    for source in (tmp_path, str(tmp_path), series[::-1], tuple(map(str, series)), tmp_path / "*.tif"):
        with gpucells.open_movie(source, frame_rate_hz=4) as movie:
            require_equal(movie, frames)
            assert movie.files == tuple(map(str, series))
            assert movie.frame_rate_hz == 4.0
            expected = ", ".join(map(str, series)) if isinstance(source, (list, tuple)) else str(source)
            assert movie.source == expected


def test_the_order_given_can_be_kept(series: list[Path], frames: NDArray[Any]) -> None:
    """sort_files=False."""
    with gpucells.open_movie(series[::-1], sort_files=False) as movie:
        np.testing.assert_array_equal(movie.read(), frames[::-1])


def test_a_gap_is_named(series: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """A warning that says which file is missing."""
    with gpucells.open_movie([p for p in series if p.name not in ("4.tif", "5.tif")]) as movie:
        assert movie.n_frames == 10
    assert "2 file(s) of the series are missing" in caplog.text
    assert "4.tif, 5.tif" in caplog.text


def test_few_files_are_open_at_a_time(
    series: list[Path], frames: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording of thousands of files must not run out of handles."""
    monkeypatch.setattr(join, "_MAX_OPEN", 3)
    handles = Path("/proc/self/fd")

    def n_open() -> int:
        return len([fd for fd in handles.iterdir() if fd.exists()])

    if not handles.is_dir():
        pytest.skip("this system does not list open files")
    before = n_open()
    with gpucells.open_movie(series) as movie:
        np.testing.assert_array_equal(movie.read(), frames)
        assert n_open() - before <= 2 * 3  # tifffile's handle and ours
    assert n_open() == before


def test_files_that_do_not_belong_together(series: list[Path], tmp_path: Path, frames: NDArray[Any]) -> None:
    """Frames of another size or type, another scale: an error that names the two files."""
    tifffile.imwrite(series[4], frames[4, :5])
    with pytest.raises(InputError, match="differ in frame size") as caught:
        gpucells.open_movie(series)
    assert "5.tif" in caught.value.message
    tifffile.imwrite(series[4], frames[4].astype(np.float32))
    with pytest.raises(InputError, match="differ in type"):
        gpucells.open_movie(series)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, scale in zip(paths, (1.0, 2.0), strict=True):
        with h5py.File(path, "w") as file:
            file["mov"] = frames
            file["mov"].attrs["scale"] = scale
    with pytest.raises(InputError, match="differ in scale"):
        gpucells.open_movie(paths)


def test_metadata_of_joined_files(
    tmp_path: Path, frames: NDArray[Any], caplog: pytest.LogCaptureFixture, require_equal: Callable[..., None]
) -> None:
    """What the files agree on is kept; where they disagree, nothing and a warning. A common scale applies."""
    paths = [tmp_path / "a1.h5", tmp_path / "a2.h5"]
    for path, rate in zip(paths, (10.0, 20.0), strict=True):
        with h5py.File(path, "w") as file:
            file["mov"] = frames
            file["mov"].attrs.update({"frame_rate_hz": rate, "pixel_size_um": 2.0, "scale": 0.5})
    with gpucells.open_movie(paths) as movie:
        assert (movie.frame_rate_hz, movie.pixel_size_um) == (None, 2.0)
        require_equal(movie, np.concatenate([frames, frames]).astype(np.float32) * 0.5)
    assert "disagree on frame_rate_hz: [10.0, 20.0]" in caplog.text


def test_a_file_that_changes_meanwhile(series: list[Path], frames: NDArray[Any]) -> None:
    """Found out when the file is opened again."""
    with gpucells.open_movie(series) as movie:
        tifffile.imwrite(series[2], frames[:2], photometric="minisblack")
        with pytest.raises(InputError, match="changed while it was read"):
            movie.read()
