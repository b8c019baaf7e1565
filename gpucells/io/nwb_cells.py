"""Cells of an NWB file: a plane segmentation with ROI responses, of any writer, read as plain HDF5.

What is read from whom stands in ``docs/nwb.md``. Names beyond the standard are facts of the writers' own code: CaImAn
``save_NWB`` (columns ``r``, ``snr``, ``accepted``, ``keep``; denoised traces; ``residuals``), suite2p ``save_nwb``
(``iscell``; ``plane0``), EXTRACT ``EXTRACT_output_to_nwb`` (``is_bad``), roiextractors (``Accepted``, ``Rejected``,
``SegmentationImages``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, MissingDependencyError, ResultFileError
from gpucells.io.hdf5 import open_file
from gpucells.io.nwb import neurodata_type, plane_pixel_size, series_rate
from gpucells.io.nwb_footprints import (
    CAIMAN,
    SUITE2P,
    find_plane_segmentation,
    listed_masks,
    pixel_places,
    plane_segmentations,
    read_masks,
    table_description,
)
from gpucells.io.nwb_responses import Response, find_responses, read_traces
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance

Float32 = NDArray[np.float32]
#: Names and texts of the files that gpucells writes.
BACKGROUND_IMAGES, BACKGROUND_TRACES, MEASURED = "BackgroundImages", "BackgroundTraces", "Measured"
METHOD_TEXT, SETTINGS_TEXT = "Extraction method: ", "settings of gpucells: "

_SUMMARY = {
    "meanimg": "mean",
    "max_proj": "max",
    "max_img": "max",
    "vcorr": "correlation",
    "local_correlations": "correlation",
    "cn": "correlation",
}
_KEPT = ("keep", "accepted", "is_accepted", "iscell", "is_cell")
_DROPPED = ("rejected", "is_rejected", "is_bad")
_NOT_QUALITY = {*_KEPT, *_DROPPED, "f0", "rejection", "id", "image_mask"}


def recognises(path: Path) -> bool:
    """Say whether a file is NWB and has a plane segmentation with ROI responses."""
    import h5py

    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            if "nwb_version" not in file.attrs:
                return False
            return any(find_responses(file, table) for _, table in plane_segmentations(file))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return False


def read(path: Path) -> Cells:
    """Read the cells of an NWB file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Cells
        Footprints of maximum 1. ``traces`` are the raw series; where there is none dF/F, or else the denoised ones
        (of CaImAn with its residuals). ``f0`` is NaN but in files of gpucells.

    Raises
    ------
    ResultFileError
        Several plane segmentations, masks without a known image size, a series that does not fit; a damaged file.
    """
    try:
        with open_file(path) as file:
            return _read(file, str(path))
    except MissingDependencyError:
        raise
    except InputError as error:
        raise ResultFileError(error.message, error.hint) from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ResultFileError(f"{path} cannot be read as cells: {error}", "it is damaged, or not NWB 2") from error


def _read(file: Any, name: str) -> Cells:
    where, table = find_plane_segmentation(file, name)
    responses = find_responses(file, table)
    roles = {one.role: one for one in reversed(responses)}
    if table_description(table) == CAIMAN and "raw" in roles:
        roles["denoised"] = roles.pop("raw")
    role = next((role for role in ("raw", "dff", "denoised", "spikes") if role in roles), None)
    if role is None:
        raise InputError(f"{name}:/{where} has no traces", "its footprints are read with --footprints")
    first = roles[role]
    module = file["/".join(first.path.split("/")[:2])]
    image_shape = _image_shape(table, module, f"{name}:/{where}")
    footprints = read_masks(table, image_shape, f"{name}:/{where}")
    rows = first.rows(footprints.shape[0])
    footprints, scale = _of_maximum_one(sparse.csr_array(footprints[rows]))
    if table_description(table) == SUITE2P or role == "dff":
        scale = np.ones_like(scale)  # these are means over the ROI, whatever its weights
    wanted = {key: one for key, one in roles.items() if key in (role, "denoised", "spikes") and _as_many(one, rows)}
    traces = {key: _scaled(read_traces(one, len(rows)), scale) for key, one in wanted.items()}
    columns = _columns(table, rows)
    accepted = _accepted(columns, len(rows))
    return Cells(
        footprints=footprints,
        traces=_measured(traces, role, module, scale),
        image_shape=image_shape,
        f0=columns["f0"].astype(np.float32) * scale if "f0" in columns else np.full(len(rows), np.nan, np.float32),
        accepted=accepted,
        rejection=_rejection(columns, accepted),
        quality=_quality(columns),
        denoised=traces.get("denoised"),
        spikes=traces.get("spikes"),
        summary_images=_summary_images(module, image_shape, table_description(table) == SUITE2P),
        frame_rate_hz=series_rate(first.series) or _plane_rate(table),
        pixel_size_um=plane_pixel_size(table.get("imaging_plane")),
        method=_method(table),
        settings=_settings(file),
        provenance=Provenance(source=name),
        **_background(module, image_shape),
    )


def _as_many(response: Response, rows: NDArray[np.int64]) -> bool:
    """Whether a series is of the same ROIs as the first."""
    return np.array_equal(response.rows(len(rows)), rows)


def _of_maximum_one(footprints: sparse.csr_array) -> tuple[sparse.csr_array, Float32]:
    """Return footprints of maximum 1, and what their traces are multiplied by so that the product stays."""
    footprints = sparse.csr_array(footprints, dtype=np.float32)
    footprints.sum_duplicates()
    footprints.eliminate_zeros()
    peaks = np.asarray(footprints.max(axis=1).todense(), np.float32).ravel() if footprints.nnz else np.ones(
        footprints.shape[0], np.float32
    )  # fmt: skip
    peaks[peaks <= 0] = 1
    footprints.data /= np.repeat(peaks, np.diff(footprints.indptr))
    return footprints, peaks


def _scaled(traces: Float32, scale: Float32) -> Float32:
    if not (scale == 1).all():
        traces *= scale[:, None]
    return traces


def _measured(traces: dict[str, Float32], role: str, module: Any, scale: Float32) -> Float32:
    """Return the traces; of CaImAn, which stores the denoised ones, with their residuals."""
    residuals = module.get("residuals/data") if role == "denoised" else None
    if residuals is None or residuals.shape != traces[role].shape[::-1]:
        return traces[role]
    return traces[role] + np.asarray(residuals[()], np.float32).T * scale[:, None]


def _image_shape(table: Any, module: Any, name: str) -> tuple[int, int]:
    """Return height and width, of the masks or, where those list pixels, of a picture or movie of the same plane."""
    if "image_mask" in table:
        size = tuple(int(n) for n in table["image_mask"].shape[1:3])
        return size if table_description(table) == CAIMAN else size[::-1]  # type: ignore[return-value]
    by_suite2p = table_description(table) == SUITE2P
    for _, image in _images(module):
        return (image.shape[0], image.shape[1]) if by_suite2p else (image.shape[1], image.shape[0])
    for series in (table.get("reference_images") or {}).values():
        if "data" in series and series["data"].ndim >= 3:
            return int(series["data"].shape[2]), int(series["data"].shape[1])
        if "dimension" in series:
            size = tuple(int(n) for n in series["dimension"][:2])
            return size if by_suite2p else size[::-1]  # type: ignore[return-value]
    kind = listed_masks(table)
    if kind is None or not len(table[kind]):
        raise InputError(f"{name} does not say how large the image is", "it needs image_mask, or a summary image")
    rows, columns = pixel_places(table, kind)  # nothing says more: the smallest image that holds every cell
    return int(rows.max()) + 1, int(columns.max()) + 1


def _columns(table: Any, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the table's plain columns, one value a ROI; of a column of several values the first."""
    import h5py

    found: dict[str, NDArray[Any]] = {}
    for key, item in table.items():
        if not hasattr(item, "shape") or item.shape is None or item.ndim not in (1, 2) or f"{key}_index" in table:
            continue
        if key == "id" or key.endswith("_index") or len(item) <= rows.max(initial=-1):
            continue
        values = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
        if values.ndim == 2:
            if key.lower() not in _KEPT:
                continue
            values = values[:, 0]
        found[key] = values[rows]
    return found


def _accepted(columns: dict[str, NDArray[Any]], n_cells: int) -> NDArray[np.bool_]:
    """Return the verdict; all are accepted where the file has none (CaImAn may say neither of any)."""
    lower = {key.lower(): np.asarray(values) for key, values in columns.items() if values.dtype.kind in "biuf"}
    dropped = next((lower[key] > 0 for key in _DROPPED if key in lower), None)
    for key in _KEPT:
        if key in lower and (lower[key].any() or (dropped is not None and dropped.any())):
            return np.asarray(lower[key] > 0)
    return ~dropped if dropped is not None else np.ones(n_cells, bool)


def _rejection(columns: dict[str, NDArray[Any]], accepted: NDArray[np.bool_]) -> tuple[str, ...]:
    told = columns.get("rejection", np.full(len(accepted), ""))
    return tuple("" if kept else str(why) or "rejected in the file" for kept, why in zip(accepted, told, strict=True))


def _quality(columns: dict[str, NDArray[Any]]) -> dict[str, Float32]:
    return {
        key.removeprefix("quality_"): values.astype(np.float32)
        for key, values in columns.items()
        if key.lower() not in _NOT_QUALITY and values.dtype.kind in "biuf"
    }


def _plane_rate(table: Any) -> float | None:
    plane = table.get("imaging_plane")
    rate = float(plane["imaging_rate"][()]) if hasattr(plane, "keys") and "imaging_rate" in plane else 0.0
    return rate if rate > 0 else None


def _method(table: Any) -> str:
    description = table_description(table)
    told = re.search(METHOD_TEXT + r"(\w+)", description)
    known = {CAIMAN: "caiman", SUITE2P: "suite2p"}
    if told is None and description.startswith("EXTRACT"):
        return "extract"
    return told[1] if told is not None else known.get(description, "nwb")


def _settings(file: Any) -> dict[str, Any]:
    told = file.get("general/data_collection")
    text = told[()] if told is not None else b""
    text = text.decode() if isinstance(text, bytes) else str(text)
    found = json.loads(text.removeprefix(SETTINGS_TEXT)) if text.startswith(SETTINGS_TEXT) else {}
    return found if isinstance(found, dict) else {}


def _images(module: Any) -> list[tuple[str, Any]]:
    """Return the grey pictures of a module, with their names, without those of the background."""
    found = []
    for name, group in module.items():
        if name != BACKGROUND_IMAGES and neurodata_type(group) == "Images":
            found += [(key, item) for key, item in group.items() if getattr(item, "ndim", 0) == 2]
    return found


def _summary_images(module: Any, image_shape: tuple[int, int], rows_first: bool) -> dict[str, Float32]:
    """Return pictures as ``(height, width)``; the standard has x before y, suite2p has rows first."""
    found: dict[str, Float32] = {}
    for key, item in _images(module):
        if item.shape == image_shape[::-1] and not (rows_first and item.shape == image_shape):
            found.setdefault(_SUMMARY.get(key.lower(), key), np.asarray(item[()], np.float32).T)
        elif item.shape == image_shape:
            found.setdefault(_SUMMARY.get(key.lower(), key), np.asarray(item[()], np.float32))
    return found


def _background(module: Any, image_shape: tuple[int, int]) -> dict[str, Float32 | None]:
    """Return the background that gpucells wrote."""
    pictures, traces = module.get(BACKGROUND_IMAGES), module.get(f"{BACKGROUND_TRACES}/data")
    images = None
    if pictures is not None:
        keys = sorted(pictures, key=lambda key: int(key.rsplit("_", 1)[-1]))
        images = np.stack([np.asarray(pictures[key][()], np.float32).T for key in keys])
    return {
        "background_images": images,
        "background_traces": np.asarray(traces[()], np.float32).T if traces is not None else None,
    }
