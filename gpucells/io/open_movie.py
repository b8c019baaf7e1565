"""Open a movie of any format, from a file, several files, a folder or an array."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from gpucells.errors import InputError, MissingFileError
from gpucells.io.detect import FORMATS, detect_format, first_bytes
from gpucells.io.join import join_movies, natural_key
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

log = logging.getLogger(__name__)

# What counts as a movie in a folder, where everything else (time stamps, notes) is passed over.
_KIND_BY_SUFFIX = {
    ".tif": "TIFF", ".tiff": "TIFF", ".btf": "TIFF", ".tf8": "TIFF",
    ".avi": "video", ".mp4": "video", ".mkv": "video", ".mov": "video", ".m4v": "video",
    ".h5": "HDF5", ".hdf5": "HDF5", ".mat": "HDF5", ".nwb": "NWB",
    ".zarr": "Zarr", ".npy": "NPY", ".mmap": "CaImAn", ".bin": "raw", ".raw": "raw",
}  # fmt: skip
_NEVER_MOVIES = {"ops.npy", "stat.npy", "F.npy", "Fneu.npy", "spks.npy", "iscell.npy"}  # beside suite2p's data.bin


def open_movie(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Movie | Any,
    dataset: str | None = None,
    frame_rate_hz: float | None = None,
    pixel_size_um: float | None = None,
    axes: str | None = None,
    *,
    shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    channel: int | None = None,
    plane: int | None = None,
    allow_truncated: bool = False,
    sort_files: bool = True,
) -> Movie:
    """Open a movie without reading it.

    Parameters
    ----------
    source : path, list of paths, array or Movie
        A file; a folder or list of files, joined in time in natural order (``2.tif`` before ``10.tif``); an array, or
        anything that is indexed like one (h5py, Zarr, Dask). Formats: TIFF, HDF5, NWB, Zarr, NPY, AVI and MP4,
        CaImAn's ``.mmap``, raw numbers.
    dataset : str, optional
        Name of the dataset (HDF5, Zarr), of the series (NWB), or number of the series (TIFF). Default: the one that
        can be the movie.
    frame_rate_hz : float, optional
        Frames a second. Default: what the file says, None where it does not.
    pixel_size_um : float, optional
        Width of a pixel in micrometres. Default: what the file says, None where it does not.
    axes : str, optional
        Meaning of the stored dimensions, one letter each, first the slowest, as NumPy, h5py and Zarr show the shape:
        ``T`` frames, ``Y`` rows, ``X`` columns, ``C`` channels, ``Z`` planes. ``"TXY"`` for a file that MATLAB wrote
        as ``(height, width, frames)``. Default: what the file says, ``"TYX"`` where it does not.
    shape : sequence of int, optional
        Stored shape of a file of raw numbers; the first entry may be -1.
    dtype : dtype, optional
        Stored type of a file of raw numbers, such as ``"int16"`` or ``">u2"``.
    channel : int, optional
        Which channel, from 0, of a file that has several; of a colour video 0 is red, 1 green, 2 blue.
    plane : int, optional
        Which plane, from 0, of a file that has several.
    allow_truncated : bool
        Read the whole frames of a file that ends early, with a warning. Default False: it is an error.
    sort_files : bool
        Put a list of files in natural order. Default True; False keeps the order given.

    Returns
    -------
    Movie
        ``(n_frames, height, width)`` of uint8, uint16, int16, float32 or float64. ``movie.files`` lists the files.

    Raises
    ------
    InputError
        A file, folder or array that is no movie; the message says why and what to do.
    MissingFileError
        A path that does not exist or may not be read.
    MissingDependencyError
        The format needs a package that is not installed.

    Examples
    --------
    >>> movie = open_movie("session/*.tif", frame_rate_hz=30.0)  # doctest: +SKIP
    >>> movie.read(slice(0, 100), slice(0, 64), slice(0, 64)).shape  # doctest: +SKIP
    (100, 64, 64)
    """
    for name, value in (("frame_rate_hz", frame_rate_hz), ("pixel_size_um", pixel_size_um)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name}={value} is not a positive number")
    options = ReadOptions(
        dataset=dataset,
        axes=axes,
        shape=None if shape is None else tuple(int(n) for n in shape),
        dtype=dtype,
        channel=channel,
        plane=plane,
        allow_truncated=allow_truncated,
    )
    movie = _open(source, options, sort_files=sort_files)
    given = {"frame_rate_hz": frame_rate_hz, "pixel_size_um": pixel_size_um}
    return movie.with_metadata(**{name: float(value) for name, value in given.items() if value is not None})


def _open(source: Any, options: ReadOptions, *, sort_files: bool) -> Movie:
    if isinstance(source, Movie):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source), options)
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in source):
        return _open_list([Path(item) for item in source], options, sort_files=sort_files)
    if all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        from gpucells.io.array import open_array

        return open_array(source, options)
    raise InputError(
        f"a movie cannot be opened from {type(source).__name__}",
        "pass a path, a list of paths, or one array of (n_frames, height, width); numpy.concatenate joins arrays",
    )


def _open_path(path: Path, options: ReadOptions) -> Movie:
    if not os.path.lexists(path) and any(mark in path.name for mark in "*?["):
        found = sorted((p for p in path.parent.glob(path.name) if not p.name.startswith(".")), key=natural_key)
        if not found:
            raise MissingFileError(f"no file matches {path}")
        return replace(_join(found, options, str(path)), source=str(path))
    if path.is_dir() and not _is_zarr(path):
        return _join(_movies_in(path), options, str(path))
    return _open_file(path, options)


def _open_list(paths: list[Path], options: ReadOptions, *, sort_files: bool) -> Movie:
    if not paths:
        raise InputError("an empty list has no movie", "pass at least one path")
    if sort_files:
        ordered = sorted(paths, key=natural_key)
        if ordered != paths:
            log.info("the files are joined in natural order, %s first; sort_files=False keeps the order", ordered[0])
        paths = ordered
    return _join(paths, options, ", ".join(map(str, paths)))


def _join(paths: Sequence[Path], options: ReadOptions, source: str) -> Movie:
    open_one = partial(_open_file, options=options)
    return open_one(paths[0]) if len(paths) == 1 else join_movies(paths, open_one, source)


def _movies_in(folder: Path) -> list[Path]:
    """Movie files of a folder, in natural order; hidden files and other kinds of file are passed over."""
    try:
        entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_key)
    except PermissionError as error:
        raise MissingFileError(f"{folder} may not be read: permission denied") from error
    kinds = {p: _KIND_BY_SUFFIX[p.suffix.lower()] for p in entries
             if p.suffix.lower() in _KIND_BY_SUFFIX and p.name not in _NEVER_MOVIES}  # fmt: skip
    if not kinds:
        raise InputError(f"{folder} has no movie file among its {len(entries)} entries", f"formats: {FORMATS}")
    if len(set(kinds.values())) > 1:
        counts = ", ".join(f"{n} {kind}" for kind, n in Counter(kinds.values()).most_common())
        raise InputError(f"{folder} has movie files of several kinds: {counts}", "pass the list of files, or a pattern")
    return list(kinds)


def _is_zarr(path: Path) -> bool:
    from gpucells.io.zarr import is_zarr

    return is_zarr(path)


def _open_file(path: Path, options: ReadOptions) -> Movie:
    if path.is_dir():
        if not _is_zarr(path):
            raise InputError(f"{path} is a folder", "pass the files in it, or the folder alone")
        return _opener("zarr", path)(path, options)
    if options.shape is not None:
        first_bytes(path)  # it exists, may be read, and is not empty
        return _opener("raw", path)(path, options)
    kind = detect_format(path)
    if options.dtype is not None and kind != "raw":
        raise InputError(f"dtype={options.dtype!r} was given for {path}, which says its type", "leave it out")
    return _opener(kind, path)(path, options)


def _opener(kind: str, path: Path) -> Callable[[Path, ReadOptions], Movie]:
    """Import the module of a format, and only that."""
    if kind == "hdf5":
        from gpucells.io import hdf5, nwb

        return partial(nwb.open_nwb, open_files=_open_series) if nwb.is_nwb(path) else hdf5.open_hdf5
    if kind == "tiff":
        from gpucells.io.tiff import open_tiff as opener
    elif kind == "npy":
        from gpucells.io.npy import open_npy as opener
    elif kind == "video":
        from gpucells.io.avi import open_video as opener
    elif kind == "zarr":
        from gpucells.io.zarr import open_zarr as opener
    elif kind == "caiman":
        from gpucells.io.raw import open_caiman as opener
    else:
        from gpucells.io.raw import open_raw as opener
    return opener


def _open_series(paths: Sequence[Path], options: ReadOptions) -> Movie:
    return _join(paths, options, ", ".join(map(str, paths)))
