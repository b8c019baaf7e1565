"""TIFF: stacks of pages, BigTIFF, ImageJ hyperstacks beyond 4 GB, OME, ScanImage.

Where the samples are stored uncompressed they are read from their place in the file, a box at a time; compressed pages
are decoded one by one, each as a whole.
"""

from __future__ import annotations

import math
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError, MissingDependencyError
from gpucells.io.array import movie_from_array
from gpucells.io.options import ReadOptions
from gpucells.io.raw import FileArray, keep_whole, read_box, whole_frames
from gpucells.io.tiff_metadata import tiff_metadata
from gpucells.model.movie import Movie

if TYPE_CHECKING:
    import tifffile

    Page = tifffile.TiffPage | tifffile.TiffFrame

# Axes of tifffile that stand for time where a file has no T, in this order: I a sequence of pages, Q one that was
# written without saying what it is, Z slices (ImageJ calls any stack slices until told otherwise).
_TIME_IF_NO_T = "IQZ"


@dataclass(frozen=True)
class _Stack:
    """What a file holds: tifffile's axes and shape, and either the place of contiguous samples or the pages."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset_bytes: int | None
    pages: list[Page]


def open_tiff(path: Path, options: ReadOptions) -> Movie:
    """Open a TIFF file as a movie.

    Time is the axis T; where a file has none, its sequence of pages, or its slices (Z). A single page is a movie of
    one frame.

    Raises
    ------
    InputError
        A damaged or truncated file; pages of unequal size; several planes or channels and none chosen.
    MissingDependencyError
        A compression that needs the package ``imagecodecs``.
    """
    import tifffile

    try:
        tif = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, struct.error) as error:
        raise InputError(f"{path} is a damaged TIFF file: {error}", "copy it again") from error
    try:
        stack = _find_stack(tif, path, options)
        axes = _name_axes(stack.axes, stack.shape, options)
        array = _stack_array(tif, path, stack)
        return movie_from_array(
            array,
            options,
            str(path),
            default_axes=axes,
            close=lambda: _close(tif, array),
            files=_files(path, stack.pages),
            **tiff_metadata(tif),
        )
    except BaseException:
        tif.close()
        raise


def _close(tif: tifffile.TiffFile, array: FileArray | ScatteredPages | DecodedPages) -> None:
    tif.close()
    array.close()


def _find_stack(tif: tifffile.TiffFile, path: Path, options: ReadOptions) -> _Stack:
    import tifffile

    if not tif.pages:
        raise InputError(f"{path} has zero frames: no page can be read", "copy it again")
    try:
        series = list(tif.series)
        is_whole = series[0].is_truncated or not _chain_is_broken(tif)
    except (tifffile.TiffFileError, struct.error, IndexError):
        series, is_whole = [], False
    if tif.is_imagej and (not series or series[0].kind != "imagej"):
        # tifffile gives up on a hyperstack that its metadata describe and the file is too short for.
        return _cut_hyperstack(tif, path, options)
    if not is_whole:
        return _readable_pages(tif, path, options)
    chosen = _choose_series(series, path, options)
    first = chosen[0]
    in_place = len(chosen) == 1 and not first.is_multifile and first.transform is None
    if in_place and first.dataoffset is not None:
        return _contiguous(first, first.dataoffset, path, options)
    pages: list[Page | None] = [page for one in chosen for page in one]
    size = tif.filehandle.size
    whole = [page for page in pages if page is not None and (first.is_multifile or _end(page) <= size)]
    if len(whole) < len(pages):
        keep_whole(path, len(pages), len(whole), options)
    elif len(chosen) == 1:
        return _Stack(first.axes, first.shape, first.dtype, None, whole)
    return _Stack("I" + first.keyframe.axes, (len(whole), *first.keyframe.shape), first.dtype, None, whole)


def _contiguous(series: tifffile.TiffPageSeries, offset: int, path: Path, options: ReadOptions) -> _Stack:
    n = series.shape[0] if len(series.shape) > 2 else 1
    n_whole = whole_frames(path, n, path.stat().st_size - offset, series.nbytes // n, options)
    shape = (n_whole, *series.shape[1:]) if len(series.shape) > 2 else series.shape
    return _Stack(series.axes, shape, series.dtype, offset, [])


def _readable_pages(tif: tifffile.TiffFile, path: Path, options: ReadOptions) -> _Stack:
    """Collect the pages before the place where the file stops."""
    first = tif.pages.first
    pages: list[Page] = []
    for number in range(len(tif.pages)):
        try:
            page = tif.pages[number]
        except Exception:  # noqa: BLE001 - a directory that is cut raises whatever its bytes lead to
            break
        if page.shape == first.shape and _end(page) <= tif.filehandle.size:
            pages.append(page)
    n_whole = keep_whole(path, None, len(pages), options)
    return _Stack("I" + first.axes, (n_whole, *first.shape), np.dtype(first.dtype), None, pages)


def _choose_series(
    series: list[tifffile.TiffPageSeries], path: Path, options: ReadOptions
) -> list[tifffile.TiffPageSeries]:
    """Return the series asked for, or all of them where they are one stack written piece by piece."""
    listed = "; ".join(f"dataset='{i}' {s.axes} {s.shape} {s.dtype}" for i, s in enumerate(series[:20]))
    if options.dataset is not None:
        if options.dataset.isdecimal() and int(options.dataset) < len(series):
            return [series[int(options.dataset)]]
        raise InputError(f"{path} has no series {options.dataset!r}", f"choose by number; it has: {listed}")
    kinds = {(s.keyframe.shape, s.dtype) for s in series}
    if len(kinds) > 1 or (len(series) > 1 and any(len(s.shape) > len(s.keyframe.shape) + 1 for s in series)):
        raise InputError(f"{path} has pages of {len(kinds)} sizes or types", f"choose one series; it has: {listed}")
    return series


def _cut_hyperstack(tif: tifffile.TiffFile, path: Path, options: ReadOptions) -> _Stack:
    meta = tif.imagej_metadata or {}
    counts = [int(meta.get(name, 1)) for name in ("frames", "slices", "channels")]
    n = max(math.prod(counts), int(meta.get("images", 1)))
    page = tif.pages.first
    in_time = sum(count > 1 for count in counts) <= 1
    if not page.is_final or not in_time:
        keep_whole(path, n, 0, options)
    n_whole = whole_frames(path, n, tif.filehandle.size - page.dataoffsets[0], page.nbytes, options)
    return _Stack("I" + page.axes, (n_whole, *page.shape), np.dtype(page.dtype), page.dataoffsets[0], [])


def _chain_is_broken(tif: tifffile.TiffFile) -> bool:
    """Whether the last page that can be read points to another."""
    if tif.is_scanimage and not tif.is_bigtiff:
        return False  # tifffile counts the pages of these from the file's size
    last = tif.pages[len(tif.pages) - 1]
    order = tif.byteorder
    count, entry, pointer = ("Q", 20, "Q") if tif.is_bigtiff else ("H", 12, "I")
    handle = tif.filehandle
    handle.seek(last.offset)
    n_tags = struct.unpack(order + count, handle.read(struct.calcsize(count)))[0]
    handle.seek(last.offset + struct.calcsize(count) + n_tags * entry)
    following = handle.read(struct.calcsize(pointer))
    return len(following) < struct.calcsize(pointer) or struct.unpack(order + pointer, following)[0] != 0


def _end(page: Page) -> int:
    """Byte after the last that a page needs."""
    return max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)


def _name_axes(axes: str, shape: tuple[int, ...], options: ReadOptions) -> str:
    """Translate tifffile's axes; the caller's ``axes`` come first, so that anything will do where they are given."""
    letters = axes.replace("S", "C") if "C" not in axes else axes
    if "T" not in letters:
        time = next((a for a in _TIME_IF_NO_T if letters.count(a) == 1), "")
        letters = letters.replace(time, "T") if time else letters
    if options.axes is None and (set(letters) - set("TYXCZ") or len(set(letters)) < len(letters)):
        raise InputError(f"a TIFF file with axes {axes} of {shape} is not a movie", "name them: axes='TYX'")
    return letters


def _files(path: Path, pages: list[Page]) -> tuple[str, ...]:
    """Return the file, and the others that an OME series is spread over."""
    others = dict.fromkeys(str(page.parent.filehandle.path) for page in pages)
    return tuple(others) if len(others) > 1 else (str(path),)


def _stack_array(tif: tifffile.TiffFile, path: Path, stack: _Stack) -> FileArray | ScatteredPages | DecodedPages:
    stored = stack.dtype.newbyteorder(tif.byteorder)
    if stack.offset_bytes is not None:
        return FileArray(path, stored, stack.shape, stack.offset_bytes)
    in_place = all(page.is_final and page.parent is tif for page in stack.pages)
    if in_place:
        offsets = [page.dataoffsets[0] for page in stack.pages]
        return ScatteredPages(path, stored, stack.shape, offsets)
    _require_codec(path, stack.pages[0].compression)
    return DecodedPages(stack.pages, stack.dtype, stack.shape)


def _require_codec(path: Path, compression: int) -> None:
    import tifffile

    try:
        tifffile.TIFF.DECOMPRESSORS[compression]
    except KeyError as error:
        name = tifffile.COMPRESSION(compression).name
        raise MissingDependencyError(f"{path} is compressed by {name}", "pip install imagecodecs") from error


class _Pages:
    """An array whose leading dimensions count pages; a subclass reads a box of one page."""

    def __init__(self, n_pages: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = dtype
        lead = 0
        while math.prod(shape[:lead]) < n_pages:
            lead += 1
        self._numbers = np.arange(n_pages).reshape(shape[:lead])
        self._page_shape = shape[lead:]
        self._lock = threading.Lock()

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        lead = self._numbers.ndim
        numbers = self._numbers[key[:lead]]
        wanted = [entry.stop - entry.start for entry in key[lead:] if isinstance(entry, slice)]
        box = np.empty((np.size(numbers), *wanted), self.dtype)
        with self._lock:
            for i, number in enumerate(np.ravel(numbers)):
                box[i] = self._page(int(number), key[lead:])
        return box.reshape(*np.shape(numbers), *wanted)

    def _page(self, number: int, key: tuple[slice | int, ...]) -> NDArray[Any]:
        raise NotImplementedError


class ScatteredPages(_Pages):
    """Uncompressed pages with other things between them.

    Parameters
    ----------
    path : Path
        The file.
    dtype : numpy.dtype
        Stored type, with its byte order.
    shape : tuple of int
        Of the stack.
    offsets : list of int
        Byte of each page's first sample.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offsets: list[int]) -> None:
        super().__init__(len(offsets), dtype, shape)
        self._offsets = offsets
        self._file = path.open("rb", buffering=0)

    def _page(self, number: int, key: tuple[slice | int, ...]) -> NDArray[Any]:
        return read_box(self._file, self._offsets[number], self.dtype, self._page_shape, key)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


class DecodedPages(_Pages):
    """Compressed or tiled pages, decoded by tifffile as a whole each time they are asked for.

    Parameters
    ----------
    pages : list
        In the order of the leading dimensions.
    dtype : numpy.dtype
        Native type of a decoded page.
    shape : tuple of int
        Of the stack.
    """

    def __init__(self, pages: list[Page], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        super().__init__(len(pages), dtype, shape)
        self._pages = pages
        self._reopened: tifffile.FileHandle | None = None

    def _page(self, number: int, key: tuple[slice | int, ...]) -> NDArray[Any]:
        page = self._pages[number]
        handle = page.parent.filehandle
        if handle.closed:  # tifffile closes the further files of an OME series; one of them is kept open here
            self.close()
            handle.open()
            self._reopened = handle
        decoded: NDArray[Any] = page.asarray().reshape(self._page_shape)
        return decoded[key]

    def close(self) -> None:
        """Release what was opened here."""
        if self._reopened is not None:
            self._reopened.close()
            self._reopened = None
