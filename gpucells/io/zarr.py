"""Zarr, formats 2 and 3: a folder or a zip file of compressed chunks.

A chunk that is not there reads as the array's fill value, as the format says; a copy that lost chunks cannot be told
from a movie with empty frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpucells.errors import InputError, MissingDependencyError
from gpucells.io.array import movie_from_array
from gpucells.io.dataset import attribute_metadata, choose_dataset
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

_MARKERS = (".zarray", ".zgroup", "zarr.json")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((folder / marker).exists() for marker in _MARKERS)


def open_zarr(path: Path, options: ReadOptions) -> Movie:
    """Open the movie of a Zarr array or group; datasets and attributes as in HDF5.

    Raises
    ------
    InputError
        Damaged metadata; no array that could be the movie, or several.
    MissingDependencyError
        The package ``zarr`` is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is Zarr, and zarr is not installed", "pip install 'gpucells[zarr]'"
        ) from (error)
    try:
        store = str(path) if path.is_dir() else zarr.storage.ZipStore(path, mode="r")
        root: Any = zarr.open(store, mode="r")
    except Exception as error:  # zarr and its stores have many
        raise InputError(f"{path} cannot be opened as Zarr: {error}", "copy it again") from error
    if isinstance(root, zarr.Array):
        array, name = root, str(path)
        metadata = attribute_metadata(dict(root.attrs))
    else:
        arrays = {key: item for key, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
        chosen = choose_dataset({k: (a.shape, a.dtype) for k, a in arrays.items()}, options.dataset, str(path))
        array, name = arrays[chosen], f"{path}:/{chosen}"
        metadata = attribute_metadata(dict(array.attrs), dict(root.attrs))
    return movie_from_array(
        array,
        options,
        name,
        close=getattr(root.store, "close", None),
        source=str(path),
        files=(str(path),),
        **metadata,
    )
