"""Footprints of an NWB file: its plane segmentation, read as plain HDF5.

The facts are those of the schema, https://nwb-schema.readthedocs.io (PlaneSegmentation): ``image_mask`` is
``(roi, x, y)``, ``pixel_mask`` lists ``x, y, weight`` for each ROI up to its entry of ``pixel_mask_index``,
``voxel_mask`` ``x, y, z, weight``; x counts columns and y rows from 0. An ``image_mask`` of the movie's rows and
columns in that order is taken as it is, as many writers have it; where the image is square the standard counts.

Two writers differ, and are told by the description that they give every table. CaImAn ("CNMF_ROIs", ``save_NWB``)
stores ``(roi, height, width)`` and fills it in that order with pixels that count columns first. suite2p ("suite2p
output", ``save_nwb``) stores rows as ``x`` and columns as ``y``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError
from gpucells.io.hdf5 import list_datasets, require_filters
from gpucells.io.nwb import neurodata_type

CAIMAN, SUITE2P = "CNMF_ROIs", "suite2p output"


def read_plane_segmentation(file: Any, image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    """Read the footprints of the one plane segmentation of a file.

    Parameters
    ----------
    file : h5py.File
        Open.
    image_shape : tuple of int
        ``(height, width)`` of the movie.
    name : str
        Of the file, in messages.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_rois, height * width)`` float32; of CaImAn's files the cells, without its backgrounds.

    Raises
    ------
    InputError
        No plane segmentation, several, masks in several planes, or another size.
    """
    where, table = find_plane_segmentation(file, name)
    footprints = read_masks(table, image_shape, f"{name}:/{where}")
    if table_description(table) == CAIMAN and "r" in table:  # its backgrounds, the last rows, have no r
        footprints = sparse.csr_array(footprints[np.flatnonzero(np.isfinite(table["r"][()]))])
    return footprints


def find_plane_segmentation(file: Any, name: str) -> tuple[str, Any]:
    """Return the one plane segmentation of a file and where it is; one named as the background's does not count.

    Raises
    ------
    InputError
        There is none, or several; the message lists them.
    """
    found = dict(plane_segmentations(file))
    cells = {key: table for key, table in found.items() if "background" not in key.rsplit("/", 1)[-1].lower()}
    found = cells or found
    if len(found) != 1:
        listed = "; ".join(found or [f"{key} {shape}" for key, (shape, _) in list(list_datasets(file).items())[:20]])
        raise InputError(
            f"{name} has {len(found) or 'no'} plane segmentations", f"one is needed; it has: {listed or 'nothing'}"
        )
    return next(iter(found.items()))


def plane_segmentations(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield each plane segmentation of a file, with its path."""
    yield from _segmentations(file, "", (file["/"],))


def table_description(table: Any) -> str:
    """Return what a table says of itself."""
    text = table.attrs.get("description", "")
    return text.decode() if isinstance(text, bytes) else str(text)


def read_masks(table: Any, image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    """Read all masks of a plane segmentation.

    Parameters
    ----------
    table : h5py.Group
        The plane segmentation.
    image_shape : tuple of int
        ``(height, width)``.
    name : str
        Of the table, in messages.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_rois, height * width)`` float32.

    Raises
    ------
    InputError
        No masks, masks in several planes, or another size.
    """
    if "image_mask" in table:
        by_columns = table_description(table) == CAIMAN
        return _image_mask(table["image_mask"], image_shape, f"{name}/image_mask", by_columns)
    kind = listed_masks(table)
    if kind is not None:
        return _pixel_mask(table, kind, image_shape, f"{name}/{kind}")
    raise InputError(f"{name} has neither image_mask nor pixel_mask", f"it has: {', '.join(table)}")


def listed_masks(table: Any) -> str | None:
    """Return the name of the column that lists pixels; None where there is none."""
    return next((kind for kind in ("pixel_mask", "voxel_mask") if kind in table and f"{kind}_index" in table), None)


def _segmentations(group: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for key in group:
        item = group.get(key)
        if not hasattr(item, "keys") or item in above:
            continue
        if neurodata_type(item) == "PlaneSegmentation":
            yield prefix + key, item
        else:
            yield from _segmentations(item, f"{prefix}{key}/", (*above, item))


def _image_mask(dataset: Any, image_shape: tuple[int, int], name: str, by_columns: bool) -> sparse.csr_array:
    require_filters(dataset)
    size = tuple(dataset.shape[1:])
    if dataset.ndim != 3 or size not in (image_shape, image_shape[::-1]):
        # x before y in the standard; its size is said as ours are, rows first, where that is how it would fit
        shown = size if size[-1:] == image_shape[-1:] else size[::-1]
        raise _another_size(name, " x ".join(map(str, shown)), image_shape)
    height, width = image_shape
    columns_first = by_columns or size == image_shape[::-1]
    places, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for k in range(len(dataset)):  # one at a time: all of them, dense, may be large
        mask = np.asarray(dataset[k], np.float32).ravel()
        pixels = np.flatnonzero(mask)
        weights.append(mask[pixels])
        if columns_first:
            column, row = np.divmod(pixels, height)
            pixels = row * width + column
        places.append(pixels)
    ends = np.cumsum([len(one) for one in places])
    parts = np.concatenate(weights), np.concatenate(places), ends
    footprints = sparse.csr_array(parts, shape=(len(dataset), height * width))
    footprints.sort_indices()
    return footprints


def pixel_places(table: Any, kind: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the column of each entry of a column that lists pixels."""
    entries = table[kind]
    x, y = (np.asarray(entries[axis], np.int64) for axis in ("x", "y"))
    return (x, y) if table_description(table) == SUITE2P else (y, x)


def _pixel_mask(table: Any, kind: str, image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    height, width = image_shape
    entries, ends = table[kind], np.asarray(table[f"{kind}_index"][()], np.int64)
    rows, columns = pixel_places(table, kind)
    weight = np.asarray(entries["weight"], np.float32)
    if kind == "voxel_mask" and len(weight) and np.ptp(entries["z"]) > 0:
        raise InputError(f"{name} has masks in several planes", "volumes are not read: save each plane by itself")
    if len(rows) and (columns.max() >= width or rows.max() >= height or min(columns.min(), rows.min()) < 0):
        raise _another_size(name, f"at least {rows.max() + 1} x {columns.max() + 1}", image_shape)
    cell = np.searchsorted(ends, np.arange(len(rows)), side="right")
    return sparse.csr_array((weight, (cell, rows * width + columns)), shape=(len(ends), height * width))


def _another_size(name: str, size: str, image_shape: tuple[int, int]) -> InputError:
    return InputError(
        f"{name} is {size} px, but the movie is {image_shape[0]} x {image_shape[1]} px",
        "is it of this movie? One with rows and columns exchanged is opened with axes='TXY' or 'TYX'",
    )
