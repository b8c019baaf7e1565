"""TIFF files, written by tifffile as stacks, BigTIFF, ImageJ, OME, and by hand as ImageJ writes beyond 4 GB."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError, MissingDependencyError
from gpucells.io.raw import FileArray
from gpucells.io.tiff import DecodedPages, ScatteredPages

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tifffile.*")


def write_pages(path: Path, pages: Any, **options: Any) -> None:
    """Write page after page, with a directory between them, as acquisition programs do."""
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", True)) as writer:
        for page in pages:
            writer.write(page, contiguous=False, **options)


def describe_all_by_first_page(path: Path) -> None:
    """End the chain of pages after the first, as ImageJ does beyond 4 GB, where its metadata alone count the pages."""
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    first = struct.unpack_from(order + "I", data, 4)[0]
    n_tags = struct.unpack_from(order + "H", data, first)[0]
    struct.pack_into(order + "I", data, first + 2 + 12 * n_tags, 0)
    path.write_bytes(data)


def reader_of(movie: gpucells.Movie) -> Any:
    """What reads the pages."""
    return movie.reader._array  # type: ignore[attr-defined]


@pytest.mark.parametrize("stored", ["u1", "u2", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_stacks(
    tmp_path: Path, frames: NDArray[Any], stored: str, byteorder: str, bigtiff: bool,
    require_equal: Callable[..., None],
) -> None:  # fmt: skip
    """Uncompressed stacks of either byte order, read in place."""
    path = tmp_path / "m.tif"
    values = (frames % 251).astype(stored)
    tifffile.imwrite(path, values, byteorder=byteorder, bigtiff=bigtiff, photometric="minisblack")  # type: ignore[arg-type]
    with gpucells.open_movie(path) as movie:
        assert isinstance(reader_of(movie), FileArray)
        assert (movie.frame_rate_hz, movie.pixel_size_um) == (None, None)
        require_equal(movie, values.astype(movie.dtype))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"metadata": None}, ScatteredPages),
        ({}, ScatteredPages),
        ({"compression": "zlib", "metadata": None}, DecodedPages),
        ({"compression": "zlib", "predictor": True}, DecodedPages),
        ({"tile": (16, 16), "metadata": None}, DecodedPages),
        ({"rowsperstrip": 7, "metadata": None}, ScatteredPages),
    ],
)
def test_a_real_movie_page_by_page(
    tmp_path: Path, real_frames: NDArray[Any], options: dict[str, Any], expected: type,
    require_equal: Callable[..., None],
) -> None:  # fmt: skip
    """Pages with directories between them; in strips, in tiles, compressed."""
    path = tmp_path / "m.tif"
    write_pages(path, real_frames, **options)
    with gpucells.open_movie(path) as movie:
        assert isinstance(reader_of(movie), expected)
        require_equal(movie, real_frames)


def test_only_the_needed_pages_are_decoded(
    tmp_path: Path, frames: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two frames cost two pages."""
    write_pages(tmp_path / "m.tif", frames, compression="zlib", metadata=None)
    with gpucells.open_movie(tmp_path / "m.tif") as movie:
        decoded = []
        original = DecodedPages._page
        monkeypatch.setattr(
            DecodedPages, "_page", lambda self, number, key: decoded.append(number) or original(self, number, key)
        )
        movie.read(slice(3, 5))
    assert decoded == [3, 4]


def test_pieces_written_one_after_the_other(
    tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """Several stacks of the same pages in one file are one movie."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for piece in (frames[:5], frames[5:10], frames[10:]):
            writer.write(piece, photometric="minisblack", contiguous=False)
    with gpucells.open_movie(tmp_path / "m.tif") as movie:
        require_equal(movie, frames)


def test_imagej(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Frame interval and pixel size come with the hyperstack."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(
        path, real_frames, imagej=True, resolution=(0.5, 0.5),
        metadata={"axes": "TYX", "finterval": 0.05, "unit": "um"},
    )  # fmt: skip
    with gpucells.open_movie(path) as movie:
        assert movie.frame_rate_hz == pytest.approx(20.0)
        assert movie.pixel_size_um == pytest.approx(2.0)
        require_equal(movie, real_frames)


@pytest.mark.parametrize("axis", ["TYX", "ZYX"])
def test_imagej_beyond_4_gb(
    tmp_path: Path, real_frames: NDArray[Any], axis: str, require_equal: Callable[..., None]
) -> None:
    """One directory, the rest told by the metadata alone; ImageJ calls a stack slices until told otherwise."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, real_frames, imagej=True, metadata={"axes": axis})
    describe_all_by_first_page(path)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1
    with gpucells.open_movie(path) as movie:
        require_equal(movie, real_frames)


def test_imagej_channels_and_planes(tmp_path: Path, require_equal: Callable[..., None]) -> None:
    """A hyperstack of time, planes and channels needs one of each chosen."""
    path = tmp_path / "m.tif"
    values = np.arange(6 * 3 * 2 * 5 * 4, dtype=np.uint16).reshape(6, 3, 2, 5, 4)
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(InputError, match="3 planes"):
        gpucells.open_movie(path, channel=0)
    with pytest.raises(InputError, match="2 channels"):
        gpucells.open_movie(path, plane=1)
    with gpucells.open_movie(path, plane=1, channel=1) as movie:
        require_equal(movie, values[:, 1, 1])


def test_ome(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Time increment and physical size, in the units that the file names."""
    path = tmp_path / "m.ome.tif"
    metadata = {"axes": "TYX", "TimeIncrement": 40.0, "TimeIncrementUnit": "ms",
                "PhysicalSizeX": 800.0, "PhysicalSizeXUnit": "nm"}  # fmt: skip
    tifffile.imwrite(path, real_frames, metadata=metadata, photometric="minisblack")
    with gpucells.open_movie(path) as movie:
        assert movie.frame_rate_hz == pytest.approx(25.0)
        assert movie.pixel_size_um == pytest.approx(0.8)
        require_equal(movie, real_frames)


def test_scanimage(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """The frame rate of its header, divided by the number of frames that were averaged."""
    header = "SI.VERSION_MAJOR = 2020\nSI.hRoiManager.scanFrameRate = 30.5\nSI.hScan2D.logAverageFactor = 2"
    write_pages(tmp_path / "m.tif", frames.astype(np.int16), metadata=None, software=header)
    with gpucells.open_movie(tmp_path / "m.tif") as movie:
        assert movie.frame_rate_hz == 15.25
        require_equal(movie, frames.astype(np.int16))


def test_colour(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Grey stored as colour is grey; true colour needs a channel, in either arrangement of samples."""
    path = tmp_path / "m.tif"
    values = (frames % 251).astype(np.uint8)
    tifffile.imwrite(path, np.stack([values] * 3, axis=-1), photometric="rgb")
    with gpucells.open_movie(path) as movie:
        require_equal(movie, values)
    colour = np.stack([values, values // 2, values // 3], axis=-1)
    for picture, config in ((colour, "contig"), (np.moveaxis(colour, -1, 1), "separate")):
        tifffile.imwrite(path, picture, photometric="rgb", planarconfig=config)
        with pytest.raises(InputError, match="in colour"):
            gpucells.open_movie(path)
        with gpucells.open_movie(path, channel=1) as movie:
            require_equal(movie, colour[..., 1])


def test_one_page_is_one_frame_and_axes_can_be_named(
    tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """Also where the file names dimensions that no movie has."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames[3])
    with gpucells.open_movie(path) as movie:
        require_equal(movie, frames[3:4])
    tifffile.imwrite(path, frames.reshape(4, 3, 7, 10), metadata={"axes": "RPYX"}, photometric="minisblack", ome=True)
    with pytest.raises(InputError):
        gpucells.open_movie(path)
    with gpucells.open_movie(path, axes="TZYX", plane=2) as movie:
        require_equal(movie, frames[2::3])


def test_pages_of_unequal_size(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """An error that lists the series; one can be chosen."""
    path = tmp_path / "m.tif"
    write_pages(path, [*frames[:8], *frames[8:, :5]], metadata=None)
    with pytest.raises(InputError, match="2 sizes or types") as caught:
        gpucells.open_movie(path)
    assert "dataset='1'" in caught.value.hint
    with gpucells.open_movie(path, dataset="1") as movie:
        require_equal(movie, frames[8:, :5])
    with pytest.raises(InputError, match="no series '2'"):
        gpucells.open_movie(path, dataset="2")


def _write_cut(path: Path, frames: NDArray[Any], kind: str) -> None:
    big = {"stack": {}, "imagej": {"imagej": True, "metadata": {"axes": "TYX"}}}
    if kind in big:
        tifffile.imwrite(path, frames, photometric="minisblack", **big[kind])
    elif kind == "virtual":
        tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
        describe_all_by_first_page(path)
    else:
        write_pages(path, frames, metadata=None, compression="zlib" if kind == "compressed" else None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])


@pytest.mark.parametrize("kind", ["stack", "imagej", "virtual", "pages", "compressed"])
def test_cut_files(tmp_path: Path, real_frames: NDArray[Any], kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error that counts the whole frames; allowed, these and a warning."""
    path = tmp_path / "m.tif"
    _write_cut(path, real_frames, kind)
    with pytest.raises(InputError, match="ends early") as caught:
        gpucells.open_movie(path)
    assert "allow_truncated=True" in caught.value.hint
    with gpucells.open_movie(path, allow_truncated=True) as movie:
        assert 30 <= movie.n_frames <= 40
        np.testing.assert_array_equal(movie.read(), real_frames[: movie.n_frames])
    assert "the rest is left out" in caplog.text


def test_a_cut_between_two_pages_and_one_in_the_last(tmp_path: Path, frames: NDArray[Any]) -> None:
    """In the one case only the dangling pointer tells, in the other only the missing samples."""
    path = tmp_path / "m.tif"
    write_pages(path, frames, metadata=None)
    with tifffile.TiffFile(path) as tif:
        start_of_9 = tif.pages[9].offset
    whole = path.read_bytes()
    for size, n_whole in ((start_of_9, 9), (len(whole) - 10, 11)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="ends early"):
            gpucells.open_movie(path)
        with gpucells.open_movie(path, allow_truncated=True) as movie:
            np.testing.assert_array_equal(movie.read(), frames[:n_whole])


def test_damage(tmp_path: Path, frames: NDArray[Any]) -> None:
    """A file that only begins like TIFF; a page whose compressed bytes are gone."""
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0\xff\xff\xff\x7f" + bytes(50))
    with pytest.raises(InputError):
        gpucells.open_movie(path)
    write_pages(path, frames, metadata=None, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[4].dataoffsets[0], tif.pages[4].databytecounts[0]
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(size) + data[start + size :])
    with gpucells.open_movie(path) as movie:
        movie.read(slice(0, 4))
        with pytest.raises(InputError, match="frames 4 to 5 cannot be read"):
            movie.read(slice(4, 6))


def write_ome_files(folder: Path, frames: NDArray[Any]) -> None:
    """Write twelve frames as an OME series over two files, a.ome.tif and b.ome.tif."""
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in (1, 2)]
    data = "".join(
        f'<TiffData FirstT="{6 * i}" PlaneCount="6"><UUID FileName="{name}.ome.tif">{uuids[i]}</UUID></TiffData>'
        for i, name in enumerate("ab")
    )
    for i, name in enumerate("ab"):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[i]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="10" SizeY="7" '
            f'SizeZ="1" SizeC="1" SizeT="12"><Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
        )
        part = frames[6 * i : 6 * i + 6]
        tifffile.imwrite(folder / f"{name}.ome.tif", part, description=xml, metadata=None, photometric="minisblack")


def test_an_ome_series_over_several_files(
    tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """Any file, or the folder, opens the whole once, and all files are listed."""
    write_ome_files(tmp_path, frames)
    for source in (tmp_path / "a.ome.tif", tmp_path):
        with gpucells.open_movie(source) as movie:
            require_equal(movie, frames)
            assert sorted(Path(f).name for f in movie.files) == ["a.ome.tif", "b.ome.tif"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_ome_series_with_a_lost_file(tmp_path: Path, frames: NDArray[Any]) -> None:
    """Frames that the metadata promise and no file has are missed, not read as zeros."""
    write_ome_files(tmp_path, frames)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(InputError, match="6 of 12 frames"):
        gpucells.open_movie(tmp_path / "a.ome.tif")
    with gpucells.open_movie(tmp_path / "a.ome.tif", allow_truncated=True) as movie:
        np.testing.assert_array_equal(movie.read(), frames[:6])


def test_a_codec_that_is_not_installed(tmp_path: Path, frames: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the compression and the package."""
    write_pages(tmp_path / "m.tif", frames, metadata=None, compression="zlib")
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})
    with pytest.raises(MissingDependencyError, match="imagecodecs"):
        gpucells.open_movie(tmp_path / "m.tif")
