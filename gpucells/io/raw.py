"""Numbers one after the other in a file: raw binary, suite2p's ``data.bin``, CaImAn's ``.mmap``."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.io.array import movie_from_array
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

log = logging.getLogger(__name__)

# Runs of at least this many bytes are read straight into place; shorter ones are picked from mapped pages, where one
# system call a run would cost more than the copy. 16 pages: what the kernel maps around a fault.
_RUN_BYTES = 1 << 16
# Mapped pages count as memory of the process until they are unmapped, so that no more than this is mapped at once.
_MAPPED_BYTES = 1 << 25

_CAIMAN_NAME = re.compile(r"_d1_(\d+)_d2_(\d+)_d3_(\d+)_order_([CF])_frames_(\d+)_*\.mmap$")


class FileArray:
    """An array stored without gaps in a file, read box by box and never held mapped.

    Parameters
    ----------
    path : Path
        The file.
    dtype : numpy.dtype
        Stored type, of either byte order.
    shape : tuple of int
        Logical shape.
    offset_bytes : int
        Where the first sample is.
    fortran : bool
        Whether the first index runs fastest.
    """

    def __init__(
        self, path: Path, dtype: Any, shape: Sequence[int], offset_bytes: int = 0, *, fortran: bool = False
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._stored_shape = self.shape[::-1] if fortran else self.shape
        self._offset = offset_bytes
        self._fortran = fortran
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        stored_key = key[::-1] if self._fortran else key
        with self._lock:
            box = read_box(self._file, self._offset, self.dtype, self._stored_shape, stored_key)
        return box.T if self._fortran else box

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def read_box(
    file: BinaryIO | Any, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], key: tuple[slice | int, ...]
) -> NDArray[Any]:
    """Read a box of a C-ordered array that starts at an offset of a file.

    Parameters
    ----------
    file : binary file
        Unbuffered, open for reading.
    offset : int
        Byte of the first sample.
    dtype, shape
        Of the stored array.
    key : tuple of slice or int
        One entry a dimension; slices have step 1.

    Returns
    -------
    numpy.ndarray
        Dimensions indexed by an integer are dropped.

    Raises
    ------
    InputError
        The file ends before the box does.
    """
    spans = [(k.start, k.stop) if isinstance(k, slice) else (k, k + 1) for k in key]
    counts = tuple(stop - start for start, stop in spans)
    box = np.empty(counts, dtype)
    # Dimensions after `cut` are wanted whole, so that a run spans them and the wanted part of `cut` itself.
    cut = len(shape) - 1
    while cut > 0 and counts[cut] == shape[cut]:
        cut -= 1
    run = math.prod(counts[cut:]) * dtype.itemsize
    n_runs = math.prod(counts[:cut])
    if box.size == 0:
        pass
    elif run >= _RUN_BYTES or n_runs == 1:
        _read_runs(file, offset, dtype, shape, spans, cut, box)
    else:
        _copy_mapped(file, offset, dtype, shape, spans, box)
    return box.reshape(tuple(n for n, k in zip(counts, key, strict=True) if isinstance(k, slice)))


def _read_runs(
    file: Any,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    spans: list[tuple[int, int]],
    cut: int,
    box: NDArray[Any],
) -> None:
    strides = [math.prod(shape[i + 1 :]) * dtype.itemsize for i in range(len(shape))]
    origin = offset + sum(start * stride for (start, _), stride in zip(spans, strides, strict=True))
    runs = memoryview(box.reshape(-1).view(np.uint8).data)
    outer = box.shape[:cut]
    n_bytes = len(runs) // max(math.prod(outer), 1)
    for i, index in enumerate(np.ndindex(outer)):
        file.seek(origin + sum(j * stride for j, stride in zip(index, strides, strict=False)))
        _fill(file, runs[i * n_bytes : (i + 1) * n_bytes])


def _fill(file: Any, target: memoryview) -> None:
    done = 0
    while done < len(target):  # one read gives at most 2 GiB
        n = file.readinto(target[done:])
        if not n:
            raise InputError(f"{file.name} ends before its last frame", "was it changed after it was opened?")
        done += n


def _copy_mapped(
    file: Any,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    spans: list[tuple[int, int]],
    box: NDArray[Any],
) -> None:
    slices = [slice(*span) for span in spans]
    block = max(1, _MAPPED_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))
    for first in range(0, box.shape[0], block):
        last = min(first + block, box.shape[0])
        mapped = np.memmap(file, dtype, "r", offset, shape)
        start = slices[0].start
        box[first:last] = mapped[(slice(start + first, start + last), *slices[1:])]
        del mapped


def whole_frames(path: Path, n_frames: int, available_bytes: int, frame_bytes: int, options: ReadOptions) -> int:
    """Return how many frames to read of a file that should hold ``n_frames``.

    Parameters
    ----------
    path : Path
        The file, for the message.
    n_frames : int
        What it should hold.
    available_bytes, frame_bytes : int
        What it has for frames, and what each takes.
    options : ReadOptions
        ``allow_truncated`` is used.

    Raises
    ------
    InputError
        The file ends early and ``options.allow_truncated`` is not set, or no frame is whole.
    """
    n_whole = max(available_bytes, 0) // frame_bytes
    return n_frames if n_whole >= n_frames else keep_whole(path, n_frames, n_whole, options)


def keep_whole(path: Path, n_frames: int | None, n_whole: int, options: ReadOptions) -> int:
    """Return ``n_whole`` with a warning where the caller allows it, raise otherwise.

    Parameters
    ----------
    path : Path
        The file, for the message.
    n_frames : int or None
        What it should hold; None where only its end could have told.
    n_whole : int
        What it does hold.
    options : ReadOptions
        ``allow_truncated`` is used.

    Raises
    ------
    InputError
        The file ends early and ``options.allow_truncated`` is not set, or no frame is whole.
    """
    message = f"{path} ends early: {n_whole} {'' if n_frames is None else f'of {n_frames} '}frames are whole"
    if n_whole == 0 or not options.allow_truncated:
        hint = "copy it again, or read the whole frames with allow_truncated=True"
        raise InputError(message, "copy it again" if n_whole == 0 else hint)
    log.warning("%s; the rest is left out", message)
    return n_whole


def open_raw(path: Path, options: ReadOptions) -> Movie:
    """Open a file of bare numbers; ``options.shape`` and ``options.dtype`` say what they are.

    Returns
    -------
    Movie
        Without frame rate or pixel size: the file has neither.

    Raises
    ------
    InputError
        Shape or type are not given, the file is shorter or longer than they say.
    """
    if options.shape is None or options.dtype is None:
        raise InputError(f"{path} holds bare numbers: their shape and type are not known", _shape_hint(path))
    dtype = np.dtype(options.dtype)
    size = path.stat().st_size
    shape, n_whole = _complete(path, options.shape, dtype, size)
    if n_whole < shape[0]:
        shape = (keep_whole(path, shape[0], n_whole, options), *shape[1:])
    array = FileArray(path, dtype, shape)
    return movie_from_array(array, options, str(path), close=array.close, files=(str(path),))


def _complete(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> tuple[tuple[int, ...], int]:
    """Fill in a -1 and count the whole entries of the first dimension."""
    if list(shape).count(-1) > 1 or any(n == 0 or n < -1 for n in shape) or -1 in shape[1:]:
        raise InputError(
            f"shape={shape} is not a stored shape", "give positive sizes; the first may be -1: shape=(-1, 512, 512)"
        )
    entry = math.prod(shape[1:]) * dtype.itemsize
    n_whole, rest = divmod(size, entry)
    if shape[0] == -1:
        return (n_whole + bool(rest), *shape[1:]), n_whole
    if size > shape[0] * entry:
        raise InputError(
            f"{path} has {size} bytes, shape={shape} of {dtype} takes {shape[0] * entry}",
            "check shape and dtype; shape=(-1, height, width) takes the number of frames from the file's size",
        )
    return shape, n_whole


def _shape_hint(path: Path) -> str:
    if path.name == "data.bin" or path.with_name("ops.npy").exists():
        return (
            "suite2p keeps the frame size in ops.npy, a pickle, which is never loaded: pass Ly and Lx yourself, "
            "open_movie(path, shape=(-1, Ly, Lx), dtype='int16')"
        )
    return "pass them: open_movie(path, shape=(-1, height, width), dtype='uint16')"


def is_caiman_name(path: Path) -> bool:
    """Whether a file is named as CaImAn names its memory maps."""
    return _CAIMAN_NAME.search(path.name) is not None


def open_caiman(path: Path, options: ReadOptions) -> Movie:
    """Open a memory map of CaImAn: a float32 matrix of pixels by frames whose shape is in the file's name.

    CaImAn counts pixels in Fortran order of ``(d1, d2, d3)``, d1 the rows. In order F the file holds one frame after
    the other, in order C one pixel's trace after the other.

    Raises
    ------
    InputError
        The file is shorter than its name says; ``axes`` or ``shape`` given.
    """
    match = _CAIMAN_NAME.search(path.name)
    if match is None:
        raise InputError(f"{path.name!r} does not say its shape", _shape_hint(path))
    d1, d2, d3, n_frames = (int(match.group(i)) for i in (1, 2, 3, 5))
    if options.axes is not None:
        raise InputError(f"axes={options.axes!r} is given, but the name of {path} says its order", "leave it out")
    by_frames = match.group(4) == "F"
    size = path.stat().st_size
    frame_bytes = 4 * d1 * d2 * d3
    if by_frames:
        n_frames = whole_frames(path, n_frames, size, frame_bytes, options)
    elif size < frame_bytes * n_frames:  # every frame lacks its last pixels
        raise InputError(f"{path} has {size} bytes, its name says {frame_bytes * n_frames}", "copy it again")
    pixels, axes = (d3, d2, d1), "ZXY"
    shape = (n_frames, *pixels) if by_frames else (*pixels, n_frames)
    array = FileArray(path, "<f4", shape)
    options = replace(options, axes=f"T{axes}" if by_frames else f"{axes}T")
    return movie_from_array(array, options, str(path), close=array.close, files=(str(path),))
