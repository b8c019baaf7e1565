"""AVI, MP4 and Matroska, written by FFmpeg through PyAV with the codecs that miniscopes use."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError, MissingDependencyError

av = pytest.importorskip("av", reason="needs the extra gpucells[video]")


def write_video(
    path: Path, frames: NDArray[Any], codec: str, pix_fmt: str, source: str = "gray", **options: str
) -> None:
    """Encode frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.options = options
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source)))
        container.mux(stream.encode())


def decode_all(path: Path, **options: Any) -> NDArray[Any]:
    """All pictures in order, decoded once from the first to the last."""
    with av.open(str(path)) as container:
        return np.stack([picture.to_ndarray(**options) for picture in container.decode(video=0)])


@pytest.fixture
def clip(real_frames: NDArray[Any]) -> NDArray[Any]:
    """Sixty frames of a real movie as 8 bits, 30 x 40."""
    scaled = real_frames.astype(np.float32) / real_frames.max() * 255
    return np.ascontiguousarray(scaled.astype(np.uint8))


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".avi", "ffv1", "gray"),
        (".avi", "ffv1", "bgr0"),
        (".avi", "rawvideo", "gray"),
        (".avi", "rawvideo", "bgr24"),
        (".avi", "huffyuv", "bgra"),
        (".avi", "utvideo", "gbrp"),
        (".avi", "huffyuv", "rgb24"),
        (".mkv", "ffv1", "gray"),
        (".mp4", "libx264rgb", "rgb24"),
    ],
)
def test_lossless_codecs(
    tmp_path: Path, clip: NDArray[Any], suffix: str, codec: str, pix_fmt: str, require_equal: Callable[..., None]
) -> None:
    """What was recorded comes back, grey stored as colour too."""
    path = tmp_path / f"m{suffix}"
    write_video(path, clip, codec, pix_fmt, **({"crf": "0"} if "x264" in codec else {}))
    with gpucells.open_movie(path) as movie:
        assert movie.frame_rate_hz is None  # what the header says is not to be relied on
        assert movie.files == (str(path),)
        require_equal(movie, clip)


def test_without_an_index(
    tmp_path: Path, clip: NDArray[Any], monkeypatch: pytest.MonkeyPatch, require_equal: Callable[..., None]
) -> None:
    """Older PyAV gives no index: then every packet of the file is counted."""
    write_video(tmp_path / "m.avi", clip, "ffv1", "gray")
    monkeypatch.setattr("gpucells.io.avi._IN_ORDER", set())
    with gpucells.open_movie(tmp_path / "m.avi") as movie:
        require_equal(movie, clip)


LOSSY = [
    (".avi", "mjpeg", "yuvj420p", {}),
    (".avi", "mpeg4", "yuv420p", {"bf": "2"}),
    (".avi", "libx264", "yuv420p", {"g": "12"}),  # stamps of B-frames in AVI lead nowhere
    (".mp4", "libx264", "yuv420p", {"g": "12"}),
    (".mp4", "libx264", "yuv420p", {"g": "12", "x264-params": "open-gop=1"}),
    (".mp4", "mpeg4", "yuv420p", {"g": "9"}),
    (".mkv", "libx264", "yuv420p", {"g": "12"}),
    (".avi", "ffv1", "yuv420p", {"g": "12"}),
]


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "options"), LOSSY)
def test_random_access_is_frame_exact(
    tmp_path: Path, clip: NDArray[Any], suffix: str, codec: str, pix_fmt: str, options: dict[str, str],
    require_equal: Callable[..., None],
) -> None:  # fmt: skip
    """Any frame, read in any order, is the one that decoding from the start gives."""
    path = tmp_path / f"m{suffix}"
    write_video(path, clip, codec, pix_fmt, **options)
    expected = decode_all(path, format="gray")
    assert len(expected) == 60
    rng = np.random.default_rng(0)
    with gpucells.open_movie(path) as movie:
        for number in [*rng.integers(0, 60, 40), 59, 0, 58, 1]:
            np.testing.assert_array_equal(movie.read(slice(number, number + 1))[0], expected[number])
        require_equal(movie, expected)


@pytest.mark.parametrize("number", range(1, 7))
def test_the_first_frame_asked_for_is_exact(tmp_path: Path, clip: NDArray[Any], number: int) -> None:
    """Where time stamps are out of order nothing read before may be needed to find that out."""
    path = tmp_path / "m.avi"
    write_video(path, clip, "libx264", "gray", g="12", bf="3")
    with gpucells.open_movie(path) as movie:
        np.testing.assert_array_equal(movie.read(slice(number, number + 1))[0], decode_all(path, format="gray")[number])


def test_reading_on_does_not_seek(tmp_path: Path, clip: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder keeps its place from one box to the next; going back costs one seek."""
    write_video(tmp_path / "m.mp4", clip, "libx264", "yuv420p", g="12")
    with gpucells.open_movie(tmp_path / "m.mp4") as movie:
        movie.read(slice(0, 10))
        seeks: list[int] = []
        reader: Any = movie.reader
        original = reader._seek
        monkeypatch.setattr(reader, "_seek", lambda number: seeks.append(number) or original(number))
        for start in range(10, 60, 10):
            movie.read(slice(start, start + 10))
        assert seeks == []
        movie.read(slice(30, 31))
        assert seeks == [30]


def test_pictures_stored_from_the_bottom_up(
    tmp_path: Path, clip: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """A positive height in the header of an uncompressed AVI means that: its last line is stored first."""
    path = tmp_path / "m.avi"
    write_video(path, clip[:, ::-1], "rawvideo", "bgr24")
    data = bytearray(path.read_bytes())
    height = data.find(b"strf") + 16
    assert struct.unpack_from("<i", data, height) == (-30,)
    struct.pack_into("<i", data, height, 30)
    path.write_bytes(data)
    with gpucells.open_movie(path) as movie:
        require_equal(movie, clip)


def test_sixteen_bits(tmp_path: Path, real_frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """Grey of more than 8 bits keeps them."""
    for pix_fmt, frames in (("gray16le", real_frames), ("gray10le", real_frames % 1024)):
        write_video(tmp_path / "m.avi", frames, "ffv1", pix_fmt, source=pix_fmt)
        with gpucells.open_movie(tmp_path / "m.avi") as movie:
            assert movie.dtype == np.uint16
            require_equal(movie, frames)


def test_colour_needs_a_channel(tmp_path: Path, clip: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """True colour is an error, lossy or not; a channel can be chosen, of grey none can."""
    colour = np.stack([clip // 4, clip, clip // 2], axis=-1)
    for codec, pix_fmt in (("rawvideo", "bgr24"), ("mjpeg", "yuvj420p")):
        path = tmp_path / f"{codec}.avi"
        write_video(path, colour, codec, pix_fmt, source="rgb24")
        with pytest.raises(InputError, match="in colour") as caught:
            gpucells.open_movie(path)
        assert "channel=1 (green)" in caught.value.hint
    for channel in range(3):
        with gpucells.open_movie(tmp_path / "rawvideo.avi", channel=channel) as movie:
            require_equal(movie, colour[..., channel])
    with pytest.raises(InputError, match="channel=3"):
        gpucells.open_movie(tmp_path / "rawvideo.avi", channel=3)
    write_video(tmp_path / "grey.avi", clip, "ffv1", "gray")
    with pytest.raises(InputError, match="one channel"):
        gpucells.open_movie(tmp_path / "grey.avi", channel=1)


def test_a_numbered_series(
    tmp_path: Path, clip: NDArray[Any], require_equal: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """As a Miniscope leaves it: 0.avi to 11.avi beside time stamps; one missing is named."""
    folder = tmp_path / "Miniscope"
    folder.mkdir()
    (folder / "timeStamps.csv").write_text("0,0\n")
    (folder / "metaData.json").write_text("{}")
    for i in range(12):
        write_video(folder / f"{i}.avi", clip[5 * i : 5 * i + 5], "ffv1", "gray")
    with gpucells.open_movie(folder) as movie:
        require_equal(movie, clip)
        assert [Path(f).name for f in movie.files] == [f"{i}.avi" for i in range(12)]
    assert caplog.text == ""
    (folder / "7.avi").unlink()
    with gpucells.open_movie(folder) as movie:
        np.testing.assert_array_equal(movie.read(), np.delete(clip, slice(35, 40), axis=0))
    assert "missing, the movie jumps there: 7.avi" in caplog.text


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "gray"), ("rawvideo", "gray"), ("mjpeg", "yuvj420p")])
def test_a_recording_that_was_cut_off(
    tmp_path: Path, clip: NDArray[Any], codec: str, pix_fmt: str, caplog: pytest.LogCaptureFixture
) -> None:
    """AVI without its index: an error that counts the whole frames; allowed, these."""
    path = tmp_path / "m.avi"
    write_video(path, clip, codec, pix_fmt)
    expected = decode_all(path, format="gray")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    with pytest.raises(InputError, match=r"ends early: [0-9]+ of 60"):
        gpucells.open_movie(path)
    with gpucells.open_movie(path, allow_truncated=True) as movie:
        assert 20 <= movie.n_frames < 45
        np.testing.assert_array_equal(movie.read(), expected[: movie.n_frames])
    assert "the rest is left out" in caplog.text


def test_a_cut_mp4_and_no_pictures(tmp_path: Path, clip: NDArray[Any]) -> None:
    """MP4 has its table of frames at the end: without it nothing can be read."""
    path = tmp_path / "m.mp4"
    write_video(path, clip, "libx264", "yuv420p")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged or cut"):
        gpucells.open_movie(path)
    write_video(tmp_path / "m.avi", clip[:0].reshape(0, 30, 40), "ffv1", "gray")
    with pytest.raises(InputError):
        gpucells.open_movie(tmp_path / "m.avi")


def test_options_of_other_formats_and_a_missing_package(
    tmp_path: Path, clip: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """axes and dataset mean nothing to a video; the message names the extra; a closed movie stays closed."""
    path = tmp_path / "m.avi"
    write_video(path, clip, "ffv1", "gray")
    with pytest.raises(InputError, match="leave them out"):
        gpucells.open_movie(path, axes="TYX")
    movie = gpucells.open_movie(path)
    movie.close()
    with pytest.raises(InputError, match="was closed"):
        movie.read()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"gpucells\[video\]"):
        gpucells.open_movie(path)
