"""HDF5 movies: a dataset of three dimensions, found by name or by being the only one."""

from __future__ import annotations

import contextlib
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucells.errors import InputError, MissingDependencyError, MissingFileError
from gpucells.io.array import movie_from_array
from gpucells.io.dataset import attribute_metadata, choose_dataset
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

if TYPE_CHECKING:
    import h5py

log = logging.getLogger(__name__)

# Room for the chunks that one frame touches, so that reading frame by frame decompresses each chunk once.
_MAX_CACHE_BYTES = 1 << 26
_MATLAB_AXES = "TXY"


def open_hdf5(path: Path, options: ReadOptions) -> Movie:
    """Open the movie of an HDF5 file.

    Attributes of the dataset or the file give ``frame_rate_hz`` and ``pixel_size_um``, attributes ``scale`` and
    ``offset`` of the dataset its unit. A variable that MATLAB saved (it carries ``MATLAB_class``) is read in MATLAB's
    order, ``axes="TXY"``; one written by ``h5write`` carries no such mark and needs the argument.

    Raises
    ------
    InputError
        A truncated file; no dataset that could be the movie, or several.
    MissingDependencyError
        The dataset is compressed by a filter that is not installed.
    """
    file = open_file(path)
    try:
        name = choose_dataset(list_datasets(file), options.dataset, str(path))
        dataset = open_cached(file, name)
        from_matlab = "MATLAB_class" in dataset.attrs and options.axes is None
        if from_matlab:
            log.info("%s:/%s was saved by MATLAB: read as (width, height) per frame; axes='TYX' reads it as it is",
                     path, name)  # fmt: skip
        return movie_from_array(
            dataset,
            options,
            f"{path}:/{name}",
            default_axes=_MATLAB_AXES if from_matlab else "TYX",
            close=file.close,
            source=str(path),
            files=(str(path),),
            **attribute_metadata(dataset.attrs, file.attrs),
        )
    except BaseException:
        file.close()
        raise


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading only.

    Raises
    ------
    InputError
        The file is truncated or damaged.
    MissingFileError
        Another program holds it open for writing.
    """
    import h5py

    try:
        return h5py.File(path, "r")
    except BlockingIOError as error:
        raise MissingFileError(f"{path} is open for writing elsewhere", "close it there first") from error
    except OSError as error:
        ending = "ends early" if "truncated" in str(error) else "is damaged"
        raise InputError(f"{path} {ending}: {error}", "HDF5 cannot be read in part: copy the file again") from error


def list_datasets(file: h5py.File) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape and type of each dataset of a file, by name; datasets behind links are listed where the link is."""
    found: dict[str, tuple[tuple[int, ...], Any]] = {}

    def walk(group: Any, prefix: str, above: tuple[Any, ...]) -> None:
        for key in group:
            item = group.get(key)  # None for a link that leads nowhere
            if hasattr(item, "shape") and hasattr(item, "chunks"):
                if item.shape is not None:
                    found[prefix + key] = (item.shape, item.dtype)
            elif hasattr(item, "keys") and item not in above:  # a link may lead back up
                walk(item, f"{prefix}{key}/", (*above, item))

    walk(file, "", (file["/"],))
    return found


def open_cached(group: h5py.Group, name: str) -> h5py.Dataset:
    """Open a dataset with a chunk cache that holds the chunks of one frame, up to 64 MiB.

    Raises
    ------
    MissingDependencyError
        See :func:`require_filters`.
    """
    import h5py

    dataset = group[name]
    require_filters(dataset)
    if dataset.chunks is None:
        return dataset
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    per_frame = math.prod(-(-n // c) for n, c in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(10_007, min(max(chunk_bytes * per_frame, 1 << 20), _MAX_CACHE_BYTES), 0.75)
    del dataset  # HDF5 keeps the cache of the first handle for as long as that is open
    return h5py.Dataset(h5py.h5d.open(group.id, name.encode(), access))


def require_filters(dataset: h5py.Dataset) -> None:
    """Make sure that the dataset can be decompressed; the package ``hdf5plugin`` is tried where it is installed.

    Raises
    ------
    MissingDependencyError
        A filter is missing.
    """
    import h5py

    created = dataset.id.get_create_plist()
    codes = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code in codes):
        return
    with contextlib.suppress(ImportError):
        __import__("hdf5plugin")
    missing = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if missing:
        raise MissingDependencyError(
            f"{dataset.file.filename}:{dataset.name} is compressed by HDF5 filter {missing[0]}, which is not installed",
            "pip install hdf5plugin",
        )
