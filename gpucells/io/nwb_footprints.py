"""Footprints of an NWB file: its plane segmentation, read as plain HDF5.

The facts are those of the schema, https://nwb-schema.readthedocs.io (PlaneSegmentation): ``image_mask`` is
``(roi, x, y)``, ``pixel_mask`` lists ``x, y, weight`` for each ROI up to its entry of ``pixel_mask_index``; x counts
columns and y rows from 0. An ``image_mask`` of the movie's rows and columns in that order is taken as it is, as many
writers have it; where the image is square the standard counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.errors import InputError
from gpucells.io.hdf5 import list_datasets, require_filters

MASKS = ("image_mask", "pixel_mask")


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
        ``(n_rois, height * width)`` float32.

    Raises
    ------
    InputError
        No plane segmentation, several, voxel masks only, or another size.
    """
    found = dict(_segmentations(file, "", (file["/"],)))
    if len(found) != 1:
        listed = "; ".join(found or [f"{key} {shape}" for key, (shape, _) in list(list_datasets(file).items())[:20]])
        raise InputError(
            f"{name} has {len(found) or 'no'} plane segmentations", f"one is needed; it has: {listed or 'nothing'}"
        )
    where, table = next(iter(found.items()))
    if "image_mask" in table:
        return _image_mask(table["image_mask"], image_shape, f"{name}:/{where}/image_mask")
    if "pixel_mask" in table and "pixel_mask_index" in table:
        return _pixel_mask(table, image_shape, f"{name}:/{where}/pixel_mask")
    raise InputError(
        f"{name}:/{where} has neither image_mask nor pixel_mask", f"it has: {', '.join(table)}; volumes are not read"
    )


def _segmentations(group: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for key in group:
        item = group.get(key)
        if not hasattr(item, "keys") or item in above:
            continue
        kind = item.attrs.get("neurodata_type", "")
        if (kind.decode() if isinstance(kind, bytes) else str(kind)) == "PlaneSegmentation":
            yield prefix + key, item
        else:
            yield from _segmentations(item, f"{prefix}{key}/", (*above, item))


def _image_mask(dataset: Any, image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    require_filters(dataset)
    size = tuple(dataset.shape[1:])
    if dataset.ndim != 3 or size not in (image_shape, image_shape[::-1]):
        raise _another_size(name, " x ".join(map(str, size)), image_shape)
    rows = []
    for k in range(len(dataset)):  # one at a time: all of them, dense, may be large
        mask = np.asarray(dataset[k], np.float32)
        rows.append(sparse.csr_array((mask.T if size == image_shape[::-1] else mask).reshape(1, -1)))
    if not rows:
        return sparse.csr_array((0, image_shape[0] * image_shape[1]), dtype=np.float32)
    return sparse.csr_array(sparse.vstack(rows, format="csr"))


def _pixel_mask(table: Any, image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    height, width = image_shape
    entries, ends = table["pixel_mask"][()], np.asarray(table["pixel_mask_index"][()], np.int64)
    x, y = (np.asarray(entries[axis], np.int64) for axis in ("x", "y"))
    weight = np.asarray(entries["weight"], np.float32)
    if len(x) and (x.max() >= width or y.max() >= height or min(x.min(), y.min()) < 0):
        raise _another_size(name, f"at least {y.max() + 1} x {x.max() + 1}", image_shape)
    cell = np.searchsorted(ends, np.arange(len(x)), side="right")
    return sparse.csr_array((weight, (cell, y * width + x)), shape=(len(ends), height * width))


def _another_size(name: str, size: str, image_shape: tuple[int, int]) -> InputError:
    return InputError(
        f"{name} is {size} px, but the movie is {image_shape[0]} x {image_shape[1]} px",
        "is it of this movie? One with rows and columns exchanged is opened with axes='TXY' or 'TYX'",
    )
