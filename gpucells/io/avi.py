"""AVI, MP4 and Matroska movies, as miniscopes write them, decoded by PyAV.

Frame ``n`` is the ``n``-th picture in the order of presentation, always: a frame is found by its time stamp where the
container's stamps can be trusted, and by counting from the first frame where they cannot (codecs with reordered
pictures in AVI).

The frame rate in the header of such files is what the recording program happened to write, often 20, 30 or 60
whatever the camera did; it is logged and not used.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError, MissingDependencyError
from gpucells.io.options import ReadOptions
from gpucells.io.raw import keep_whole
from gpucells.model.movie import Movie

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

# Codecs that show pictures in the order in which they are stored: the container's own index then has all time stamps.
_IN_ORDER = {"ffv1", "rawvideo", "mjpeg", "huffyuv", "ffvhuff", "png", "utvideo", "magicyuv", "lagarith", "dvvideo"}
# A grey picture that went through a lossy codec as colour comes back with channels this much apart at most (of 255).
_GREY_TOLERANCE = 8
# Bytes a pixel, and where red, green and blue are among them.
_PACKED = {
    "rgb24": (3, (0, 1, 2)),
    "bgr24": (3, (2, 1, 0)),
    **dict.fromkeys(("rgb0", "rgba"), (4, (0, 1, 2))),
    **dict.fromkeys(("bgr0", "bgra"), (4, (2, 1, 0))),
    **dict.fromkeys(("0rgb", "argb"), (4, (1, 2, 3))),
    **dict.fromkeys(("0bgr", "abgr"), (4, (3, 2, 1))),
}
# Seeking drops what the decoder has under way; it pays only when it leaves out more frames than this.
_SEEK_GAIN = 8


@dataclass(frozen=True)
class FrameTable:
    """Where the frames of a video are.

    Parameters
    ----------
    stamps : list of int
        Time stamp of each frame, in order of presentation.
    keyframes : list of int
        Numbers of the frames at which decoding can start.
    is_exact : bool
        Whether the stamps of decoded pictures can be trusted.
    """

    stamps: list[int]
    keyframes: list[int]
    is_exact: bool


class VideoReader:
    """Frames of one video file; the decoder keeps its place, so that reading on does not seek.

    Parameters
    ----------
    path : Path
        The file.
    options : ReadOptions
        ``channel`` chooses red, green or blue; ``allow_truncated``.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._container = _open_container(path)
        try:
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self.table = _frame_table(self._container, self._stream, path)
            n_frames = _count_frames(self._stream, self.table, path, options)
            context = self._stream.codec_context
            self._pixels = _PixelFormat(context.pix_fmt, options.channel)
            self.shape = (n_frames, context.height, context.width)
            self.dtype = self._pixels.dtype
            self.header_rate_hz = float(self._stream.average_rate or 0)
            self._pictures: Iterator[av.VideoFrame] | None = None
            self._next = 0
            self._is_closed = False
            if options.channel is None and not self._pixels.is_grey:
                self._require_grey()
        except BaseException:
            self._container.close()
            raise

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Return that box; every frame on the way from the last keyframe is decoded.

        Raises
        ------
        InputError
            A frame cannot be decoded.
        """
        shape = tuple(s.stop - s.start for s in (frames, rows, columns))
        box = np.empty(shape, self.dtype)
        with self._lock:
            if self._is_closed:
                raise InputError(f"{self._path} was closed", "open it again")
            for i in range(shape[0]):
                box[i] = self._pixels.array(self._picture(frames.start + i))[rows, columns]
        return box

    def close(self) -> None:
        """Release the decoder and the file."""
        self._is_closed = True
        self._pictures = None
        self._container.close()

    def _picture(self, number: int) -> av.VideoFrame:
        if self._pictures is None or number < self._next or self._keyframe(number) > self._next + _SEEK_GAIN:
            self._seek(number)
        picture: av.VideoFrame | None = None
        while self._next <= number:
            picture = self._decode(number)
            if self.table.is_exact:
                found = bisect.bisect_left(self.table.stamps, -1 if picture.pts is None else picture.pts)
                if found > number or self.table.stamps[found] != picture.pts:
                    self._distrust(number)
                    continue
                self._next = found
            self._next += 1
        assert picture is not None  # the loop ran: _seek leaves `_next` at or before `number`
        return picture

    def _decode(self, number: int) -> av.VideoFrame:
        import av

        assert self._pictures is not None
        try:
            return next(self._pictures)
        except (av.FFmpegError, StopIteration) as error:
            self._pictures = None
            raise InputError(
                f"{self._path}: frame {number} cannot be decoded: {error or 'the file has no more pictures'}",
                "the file is damaged there; cut the frames before it into a new file, or copy it again",
            ) from error

    def _keyframe(self, number: int) -> int:
        """Last frame at or before ``number`` at which decoding can start."""
        if not self.table.is_exact:
            return 0
        return self.table.keyframes[max(bisect.bisect_right(self.table.keyframes, number) - 1, 0)]

    def _seek(self, number: int) -> None:
        keyframe = self._keyframe(number)
        if keyframe == 0:
            self._restart()
            return
        self._container.seek(self.table.stamps[keyframe], stream=self._stream, backward=True)
        self._pictures = self._container.decode(self._stream)
        self._next = keyframe

    def _restart(self) -> None:
        """Open the file again: not every container can seek to its very first frame."""
        if self._pictures is not None or self._next:
            self._container.close()
            self._container = _open_container(self._path)
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
        self._pictures = self._container.decode(self._stream)
        self._next = 0

    def _distrust(self, number: int) -> None:
        log.debug("%s: time stamps do not lead to frame %d; frames are counted from the first", self._path, number)
        self.table = FrameTable(self.table.stamps, [0], is_exact=False)
        self._restart()

    def _require_grey(self) -> None:
        for number in sorted({0, self.shape[0] // 2}):
            picture = self._picture(number).to_ndarray(format="rgb24").astype(np.int16)
            apart = int(np.abs(picture - picture[..., 1:2]).max())
            if apart > _GREY_TOLERANCE:
                raise InputError(
                    f"{self._path} is in colour: channels differ by up to {apart} of 255 in frame {number}",
                    "choose one: channel=0 (red), channel=1 (green) or channel=2 (blue)",
                )


class _PixelFormat:
    """How to make a grey array of a decoded picture.

    Grey of 8 to 16 bits is taken as it is; of red, green and blue that are equal, green; of luminance and colour
    differences, the luminance, at full range (0 to 255) as FFmpeg and OpenCV give it.
    """

    def __init__(self, name: str, channel: int | None) -> None:
        self.is_grey = name.startswith("gray")
        if channel is not None and (self.is_grey or channel not in (0, 1, 2)):
            has = "one channel" if self.is_grey else "three channels"
            raise InputError(f"channel={channel} was asked for, but the video has {has}", "leave it out, or 0 to 2")
        self._colour = 1 if channel is None else channel
        is_rgb = any(part in name for part in ("rgb", "bgr", "gbr", "pal8"))
        self._as_colour = is_rgb or channel is not None
        self._packed = _PACKED.get(name)
        deep = self.is_grey and name not in ("gray", "gray8")
        self._target = "gray16le" if deep else "gray"
        self._words = np.dtype("<u2" if name.endswith("le") else ">u2") if deep and name[4:6].isdigit() else None
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)

    def array(self, picture: av.VideoFrame) -> NDArray[Any]:
        """Return ``(height, width)`` samples; a view where that is possible."""
        plane = picture.planes[0]
        upright = plane.line_size > 0  # pictures stored from the bottom up start at their last line
        if self._packed is not None and upright:
            step, places = self._packed
            return _lines(plane, np.dtype(np.uint8))[:, places[self._colour] : picture.width * step : step]
        if self._as_colour:
            colours: NDArray[Any] = picture.to_ndarray(format="rgb24")
            return colours[..., self._colour]
        if self._words is not None and upright:  # 9 to 16 bits, as they were recorded
            return _lines(plane, self._words)[:, : picture.width]
        grey: NDArray[Any] = picture.to_ndarray(format=self._target)
        return grey


def _lines(plane: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """View the first plane of a picture as ``(height, samples a line)``."""
    samples: NDArray[Any] = np.frombuffer(memoryview(plane), dtype)
    return samples.reshape(plane.height, -1)


def open_video(path: Path, options: ReadOptions) -> Movie:
    """Open one video file as a movie.

    Raises
    ------
    InputError
        A damaged or truncated file; zero frames; colour and no channel chosen.
    MissingDependencyError
        The package ``av`` is not installed.
    """
    if options.axes is not None or options.dataset is not None:
        raise InputError(f"{path} is a video: axes and dataset mean nothing to it", "leave them out")
    reader = VideoReader(path, options)
    log.info("%s says %g frames a second, which is not used: give frame_rate_hz", path, reader.header_rate_hz)
    return Movie(reader, source=str(path), files=(str(path),))


def _open_container(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a video, and av is not installed", "pip install 'gpucells[video]'"
        ) from (error)
    try:
        container = av.open(str(path), mode="r")
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path} is a damaged or cut video: {error}", "copy it again") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{path} has zero frames: no picture in it")
    return container


def _frame_table(container: Any, stream: Any, path: Path) -> FrameTable:
    """Find the frames in the container's index where it is whole, in every packet of the file otherwise."""
    # Entries belong to the open stream and are copied at once; PyAV up to 16 has none.
    index = [(e.timestamp, bool(e.is_keyframe), e.pos + e.size) for e in getattr(stream, "index_entries", ())]
    whole = len(index) == stream.frames > 0 and max(end for *_, end in index) <= path.stat().st_size
    if whole and stream.codec_context.name in _IN_ORDER:
        stamps = [stamp for stamp, *_ in index]
        keys = [i for i, (_, is_key, _) in enumerate(index) if is_key]
        return FrameTable(stamps, keys, _increasing(stamps) and keys[:1] == [0])
    packets = [p for p in container.demux(stream) if p.size and not p.is_corrupt]
    container.seek(0)
    stamps = [p.pts for p in packets]
    reordered = "avi" in container.format.name and any(p.pts != p.dts for p in packets)
    if reordered or None in stamps or len(set(stamps)) < len(stamps):
        return FrameTable(list(range(len(packets))), [0], is_exact=False)
    shown = sorted(stamps)
    keys = sorted(bisect.bisect_left(shown, p.pts) for p in packets if p.is_keyframe)
    return FrameTable(shown, keys, keys[:1] == [0])


def _increasing(stamps: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(stamps))


def _count_frames(stream: Any, table: FrameTable, path: Path, options: ReadOptions) -> int:
    found, promised = len(table.stamps), stream.frames
    if found == 0:
        raise InputError(f"{path} has zero frames")
    return found if promised <= found else keep_whole(path, promised, found, options)
