"""Footprints from a file: cells of any tool's result, NWB, masks, a label image, ImageJ ROIs.

What a file is, its content says. Masks may overlap, and their values are weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, MissingFileError
from gpucells.io.cells_file import FORMAT, load_cells
from gpucells.io.detect import first_bytes
from gpucells.io.hdf5 import list_datasets, open_file, require_filters
from gpucells.io.imagej_rois import read_rois
from gpucells.io.nwb_footprints import read_plane_segmentation
from gpucells.io.results import READERS, foreign_reader
from gpucells.io.results import load_cells as load_any_cells
from gpucells.model.cells import Cells

KINDS = (
    f"cells of gpucells or {', '.join(READERS)}, an NWB plane segmentation, a stack of masks or a label "
    "image (TIFF, PNG, NPY, HDF5), or ImageJ ROIs (.roi, .zip)"
)
LISTED = 20  # datasets of a file that a message names
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5, _PNG, _NPY, _ZIP, _ROI = b"\x89HDF\r\n\x1a\n", b"\x89PNG", b"\x93NUMPY", b"PK\x03\x04", b"Iout"


def read_footprints(path: str | Path, image_shape: tuple[int, int]) -> Cells | sparse.csr_array:
    """Read footprints.

    Parameters
    ----------
    path : path-like
        A file or folder of :data:`KINDS`. In an image of labels 1 to n, each label is a footprint; an image of one
        value beside 0, or of fractions, is one mask.
    image_shape : tuple of int
        ``(height, width)`` of the movie that they are for.

    Returns
    -------
    Cells or scipy.sparse.csr_array
        Cells, of which some may not be accepted; otherwise ``(n_cells, height * width)`` float32.

    Raises
    ------
    InputError
        Another size than the movie's; nothing in the file is footprints; a pickle.
    MissingFileError, MissingDependencyError
        There is no such file; the package ``roifile`` is not installed.
    """
    name = Path(path)
    is_hdf5 = not name.is_dir() and _is_hdf5(first_bytes(name))
    if not is_hdf5 and foreign_reader(name) is not None:
        return _read_result(name, image_shape)
    if name.is_dir():
        raise MissingFileError(f"{name} is a folder, and not a result", f"give {KINDS}")
    if is_hdf5:
        return _read_hdf5(name, image_shape)
    head = first_bytes(name)
    if head.startswith((_ZIP, _ROI)):
        if name.suffix.lower() == ".npz":
            raise InputError(f"{name} holds several arrays", "save the masks by themselves with numpy.save")
        return read_rois(name, image_shape)
    if head.startswith(_NPY):
        return from_array(_read_npy(name), image_shape, str(name))
    if head.startswith(_TIFF):
        import tifffile

        return from_array(tifffile.imread(name), image_shape, str(name))
    if head.startswith(_PNG):
        from PIL import Image

        with Image.open(name) as picture:
            return from_array(np.asarray(picture), image_shape, str(name))
    raise InputError(f"{name} holds no footprints: it starts with {head[:8]!r}", f"give {KINDS}")


def _is_hdf5(head: bytes) -> bool:
    return any(head[start : start + 8] == _HDF5 for start in (0, 512, 1024, 2048))


def _read_result(path: Path, image_shape: tuple[int, int]) -> Cells:
    """Read another tool's result, which must be of the movie's size."""
    cells = load_any_cells(path)
    if cells.image_shape != image_shape:
        raise wrong_size(str(path), (cells.n_cells, *cells.image_shape), image_shape)
    return cells


def from_array(array: NDArray[Any], image_shape: tuple[int, int], name: str) -> sparse.csr_array:
    """Make footprints of a stack of masks, one mask, or an image of labels.

    Parameters
    ----------
    array : numpy.ndarray
        ``(n, height, width)``, ``(height, width)``, or ``(n, height * width)``.
    image_shape : tuple of int
        ``(height, width)``.
    name : str
        In messages.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n, height * width)`` float32.

    Raises
    ------
    InputError
        Another shape; integers that are neither one mask nor labels.
    """
    n_pixels = image_shape[0] * image_shape[1]
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds values of type {array.dtype}", "masks are numbers")
    if array.ndim == 3 and array.shape[1:] == image_shape:
        return sparse.csr_array(array.reshape(len(array), -1), dtype=np.float32)
    if array.shape == image_shape:
        return _one_or_labels(array, name)
    if array.ndim == 2 and array.shape[1] == n_pixels:
        return sparse.csr_array(array, dtype=np.float32)
    raise wrong_size(name, array.shape, image_shape)


def wrong_size(name: str, shape: tuple[int, ...], image_shape: tuple[int, int]) -> InputError:
    """Say that a file is of another size than the movie, and what may be the reason.

    Parameters
    ----------
    name : str
        Of the file.
    shape, image_shape : tuple of int
        What it holds; ``(height, width)`` of the movie.
    """
    height, width = image_shape
    size = " x ".join(map(str, shape))
    hint = f"masks are (n, {height}, {width}), labels ({height}, {width})"
    if shape[-2:] == (width, height):
        hint = "rows and columns are exchanged: transpose each mask"
    elif shape[:2] == image_shape:
        hint = "colours, or masks along the last axis: save one channel, or move that axis to the front"
    return InputError(f"{name} is {size}, but the movie is {height} x {width} px", hint)


def _one_or_labels(image: NDArray[Any], name: str) -> sparse.csr_array:
    values = np.unique(image[np.isfinite(image)]) if image.dtype.kind == "f" else np.unique(image)
    values = values[values != 0]
    whole = image.dtype.kind != "b" and len(values) > 1 and bool(np.all(values == np.round(values)))
    if not whole:
        return sparse.csr_array(image.reshape(1, -1), dtype=np.float32)
    if not np.array_equal(values, np.arange(1, len(values) + 1)):
        raise InputError(
            f"{name} has {len(values)} whole numbers from {values[0]:g} to {values[-1]:g}: neither one mask nor labels "
            "1 to n",
            "number the labels without gaps; or save one mask of several weights as fractions of its maximum",
        )
    pixels = np.flatnonzero(image)
    labels = image.ravel()[pixels].astype(np.int64) - 1
    entries = np.ones(len(pixels), np.float32), (labels, pixels)
    return sparse.csr_array(entries, shape=(len(values), image.size))


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except ValueError as error:
        if "pickle" not in str(error).lower() and "object" not in str(error).lower():
            raise InputError(f"{path} is damaged: {error}", "save it again with numpy.save") from error
        raise InputError(
            f"{path} is a pickle, such as suite2p's stat.npy, and pickles are never loaded: they may run any code",
            "of suite2p give the folder, with F.npy and ops.npy in it, which is read without unpickling; or save masks "
            "(n, height, width) with numpy.save",
        ) from error


def _read_hdf5(path: Path, image_shape: tuple[int, int]) -> Cells | sparse.csr_array:
    foreign = foreign_reader(path) is not None
    with open_file(path) as file:
        kind = file.attrs.get("format", "")
        if (kind.decode() if isinstance(kind, bytes) else kind) != FORMAT:
            if "nwb_version" in file.attrs:
                return read_plane_segmentation(file, image_shape, str(path))
            if not foreign:
                return _read_masks(file, image_shape, path)
    return _read_result(path, image_shape) if foreign else load_cells(path)


def _read_masks(file: Any, image_shape: tuple[int, int], path: Path) -> sparse.csr_array:
    """Read the one dataset that is as large as the movie's frames."""
    found = list_datasets(file)
    fitting = []
    for key, (shape, dtype) in found.items():
        # MATLAB's [height width n] is (n, width, height) here.
        last = shape[-2:][::-1] if "MATLAB_class" in file[key].attrs else shape[-2:]
        if len(shape) in (2, 3) and last == image_shape and np.dtype(dtype).kind in "biuf":
            fitting.append(key)
    if len(fitting) != 1:
        listed = "; ".join(f"{key} {tuple(shape)} {dtype}" for key, (shape, dtype) in list(found.items())[:LISTED])
        height, width = image_shape
        what = f"has {len(fitting)} datasets that could be" if fitting else "has no dataset of"
        raise InputError(
            f"{path} {what} masks of the movie's {height} x {width} px",
            f"it has: {listed or 'none'}. Masks are (n, {height}, {width}), labels ({height}, {width})",
        )
    dataset = file[fitting[0]]
    require_filters(dataset)
    masks = np.asarray(dataset[()])
    if "MATLAB_class" in dataset.attrs:
        masks = np.swapaxes(masks, -1, -2)
    return from_array(masks, image_shape, f"{path}:/{fitting[0]}")
