"""EXTRACT's results: ``output`` or its fields by themselves, in a MAT file of any version but 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.errors import GpucellsError, ResultFileError
from gpucells.io.matlab import MatFile, UnreadableError, mat_version, open_mat
from gpucells.io.matlab_cells import read_footprints, read_own, read_settings, read_traces, rejection
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

_IMAGES, _TRACES = "spatial_weights", "temporal_weights"
#: EXTRACT's images and what they are called here.
_SUMMARY = {"F_per_pixel": "mean", "max_image": "max_above_mean", "summary_image": "extract_summary"}


def recognises(path: Path) -> bool:
    """Say whether a file is a result of EXTRACT."""
    version = mat_version(path) if path.is_file() else ""
    if version in ("", "4"):
        return version == "4"  # holds no struct and no stack of images; reading says what to do
    try:
        with open_mat(path) as file:
            names = file.names()
            if {_IMAGES, _TRACES} <= set(names):
                return True
            # Looking into a struct of an older version would unpack it, so there its name has to do.
            return "output" in names if version == "5" else any(_IMAGES in file.fields(name) for name in names)
    except GpucellsError:
        return False


def read(path: Path) -> Cells:
    """Read a result of EXTRACT.

    Parameters
    ----------
    path : Path
        A MAT file with the struct that ``extractor`` returned, ``output`` or of another name, or with its fields.

    Returns
    -------
    Cells
        Traces as they are, dF/F of EXTRACT, and ``f0`` NaN; of a file that gpucells wrote in the movie's units, with
        ``f0``.

    Raises
    ------
    ResultFileError
        It is damaged, holds no result, or one that only MATLAB can read (EXTRACT's own sparse arrays).
    """
    with open_mat(path) as file:
        names = file.names()
        if {_IMAGES, _TRACES} <= set(names):
            return Cells(**_read(file, "", names, str(path)))
        for name in sorted(names, key=lambda name: name != "output"):
            if _IMAGES in (fields := file.fields(name)):
                return Cells(**_read(file, f"{name}.", fields, str(path)))
    raise ResultFileError(f"{path} has no {_IMAGES}", f"it has {', '.join(names)}: save EXTRACT's output")


def _read(file: MatFile, root: str, fields: list[str], source: str) -> dict[str, Any]:
    if _TRACES not in fields:
        raise UnreadableError(f"{root}{_TRACES} is missing", "save the whole output of EXTRACT")
    pictures = _summary_images(file, root, fields)
    footprints, maxima, shape = _footprints(file, f"{root}{_IMAGES}", pictures)
    n_cells = footprints.shape[0]
    own = read_own(file, root[:-1], n_cells) if root else {}
    scale = own.pop("units_f0", np.ones(n_cells, np.float32))
    own.pop("has_model", None)
    traces = read_traces(file, f"{root}{_TRACES}", n_cells, frames_first=True)
    traces *= (scale * np.where(maxima > 0, maxima, np.float32(1)))[:, None]
    accepted = _accepted(file, root, n_cells)
    plain: dict[str, Any] = {
        "footprints": footprints,
        "traces": traces,
        "image_shape": shape,
        "f0": np.full(n_cells, np.nan, np.float32),
        "accepted": accepted,
        "rejection": rejection(accepted),
        "summary_images": {name: image for name, image in pictures.items() if image.shape == shape},
        "method": "extract",
        "settings": read_settings(file, f"{root}config") if "config" in fields and not own else {},
        "provenance": Provenance(source=source),
    }
    return plain | own


def _footprints(
    file: MatFile, place: str, pictures: dict[str, np.ndarray[Any, Any]]
) -> tuple[sparse.csr_array, Any, tuple[int, int]]:
    """Read images, or a sparse matrix of pixels by cells, whose shape other images tell."""
    fields = file.fields(place)
    if fields:
        raise UnreadableError(
            f"{place} is a struct of {', '.join(fields)}", "save full(output.spatial_weights) in its place"
        )
    try:
        shape = file.shape(place)
    except UnreadableError as error:
        found = file.read(place)
        if not sparse.issparse(found):
            raise error
        return _from_columns(found, place, pictures)
    size = next((image.shape for image in pictures.values()), None)
    if len(shape) == 2 and size is not None and shape != size and shape[0] == size[0] * size[1]:
        return _from_columns(sparse.csc_array(file.read(place)), place, pictures)
    return read_footprints(file, place)


def _from_columns(
    columns: sparse.csc_array, place: str, pictures: dict[str, np.ndarray[Any, Any]]
) -> tuple[sparse.csr_array, Any, tuple[int, int]]:
    found = sparse.coo_array(columns)
    size = next((image.shape for image in pictures.values() if image.size == found.shape[0]), None)
    if size is None:
        raise UnreadableError(
            f"{place} is a matrix of {found.shape[0]} pixels, and no image tells their height",
            "save info with it, or save it as [height width n_cells]",
        )
    height, width = size
    pixels, which = found.coords
    where = which, (pixels % height).astype(np.int64) * width + pixels // height
    rows = sparse.csr_array((found.data.astype(np.float32), where), shape=(found.shape[1], height * width))
    maxima = np.asarray(rows.max(axis=1).todense()).ravel() if rows.nnz else np.zeros(rows.shape[0], np.float32)
    rows.data /= np.repeat(np.where(maxima > 0, maxima, np.float32(1)), np.diff(rows.indptr)).astype(np.float32)
    return rows, maxima, (int(height), int(width))


def _summary_images(file: MatFile, root: str, fields: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    inside = f"{root}info." if "info" in fields else root
    there = file.fields(f"{root}info") if "info" in fields else fields
    found = {}
    for theirs, ours in _SUMMARY.items():
        if theirs in there:
            image = file.read(f"{inside}{theirs}")
            if isinstance(image, np.ndarray) and image.ndim == 2 and image.size > 1:
                found[ours] = np.ascontiguousarray(image, np.float32)
    return found


def _accepted(file: MatFile, root: str, n_cells: int) -> np.ndarray[Any, Any]:
    """Return which cells EXTRACT's check keeps; all where the file does not say."""
    if root and "info" in file.fields(root[:-1]) and "cellcheck" in file.fields(f"{root}info"):
        check = file.fields(f"{root}info.cellcheck")
        if "is_bad" in check:
            bad = np.ravel(file.read(f"{root}info.cellcheck.is_bad"))
            if len(bad) == n_cells:
                return np.asarray(bad == 0)
    return np.ones(n_cells, np.bool_)
