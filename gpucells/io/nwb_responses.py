"""ROI responses of an NWB file: which series are what, read as plain HDF5.

The facts are those of the schema, https://nwb-schema.readthedocs.io (RoiResponseSeries): ``data`` is
``(frame, roi)``, ``rois`` names rows of the table that its attribute ``table`` refers to. What a series is, its name
and its container's say; those names are of pynwb's users: gpucells, CaImAn, suite2p, EXTRACT, neuroconv, CIAtah.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.io.hdf5 import require_filters
from gpucells.io.nwb import neurodata_type

Float32 = NDArray[np.float32]
BLOCK_BYTES = 32 << 20
#: Words of a name, and the role of a series that has one; the first that fits counts. Roles in brackets are not read.
_ROLES = (
    ("chan2", "(second channel)"),
    ("background", "(background)"),
    ("neuropil", "(neuropil)"),
    ("baseline", "(baseline)"),
    ("deconv", "spikes"),
    ("spike", "spikes"),
    ("denois", "denoised"),
    ("dff", "dff"),
    ("dfoverf", "dff"),
    ("df_over_f", "dff"),
)


@dataclass(frozen=True)
class Response:
    """One series: where it is, what it is (``raw``, ``dff``, ``denoised``, ``spikes``), its HDF5 group."""

    path: str
    role: str
    series: Any

    def rows(self, n_rois: int) -> NDArray[np.int64]:
        """Return the rows of the table that it is of; all where it does not say."""
        if "rois" not in self.series:
            return np.arange(n_rois)
        return np.asarray(self.series["rois"][()], np.int64).ravel()


def find_responses(file: Any, table: Any) -> list[Response]:
    """Return the series of a plane segmentation's ROIs, a name with ``RoiResponseSeries`` first.

    Parameters
    ----------
    file : h5py.File
        Open.
    table : h5py.Group
        The plane segmentation.
    """
    processing = file.get("processing")
    if not hasattr(processing, "keys"):
        return []
    found = [one for one in _walk(processing, "processing/", (file["/"],)) if _is_of(file, one.series, table)]
    stored = [one.series["data"] for one in found if one.role == "dff"]
    # dF/F under a second name, for CIAtah's loader, is not what was measured.
    found = [one for one in found if one.role != "raw" or one.series["data"] not in stored]
    return sorted(found, key=lambda one: not one.path.endswith("/RoiResponseSeries"))


def read_traces(response: Response, n_rois: int) -> Float32:
    """Read a series, with its conversion and offset.

    Parameters
    ----------
    response : Response
        Of :func:`find_responses`.
    n_rois : int
        How many ROIs it is of; data of ``(roi, frame)``, a known mistake of writers, are told by it.

    Returns
    -------
    numpy.ndarray
        ``(n_rois, n_frames)`` float32.

    Raises
    ------
    InputError
        The series is of another number of ROIs.
    """
    data = response.series["data"]
    require_filters(data)
    if data.ndim == 1 and n_rois == 1:
        values = np.asarray(data[()], np.float32)[None]
    elif data.ndim == 2 and data.shape[1] == n_rois:
        values = np.empty(data.shape[::-1], np.float32)
        step = max(1, BLOCK_BYTES // max(1, 4 * n_rois))
        if data.chunks:
            step = -(-step // data.chunks[0]) * data.chunks[0]  # no chunk is unpacked twice
        for start in range(0, len(data), step):
            values[:, start : start + step] = data[start : start + step].T
    elif data.ndim == 2 and data.shape[0] == n_rois:
        values = np.asarray(data[()], np.float32)
    else:
        raise InputError(f"{response.path} is {data.shape}, of {n_rois} ROIs", "the standard's order is (frames, ROIs)")
    factor, offset = (float(data.attrs.get(name, default)) for name, default in (("conversion", 1), ("offset", 0)))
    if factor != 1:
        values *= np.float32(factor)
    if offset:
        values += np.float32(offset)
    return values


def _walk(group: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[Response]:
    for key in group:
        item = group.get(key)
        if not hasattr(item, "keys") or item in above:
            continue
        if neurodata_type(item) == "RoiResponseSeries":
            if "data" in item:
                yield Response(prefix + key, _role(group, prefix.rsplit("/", 2)[-2], key), item)
        else:
            yield from _walk(item, f"{prefix}{key}/", (*above, item))


def _role(container: Any, container_name: str, name: str) -> str:
    text = f"{container_name}/{name}".lower()
    told = next((role for word, role in _ROLES if word in text), "raw")
    return "dff" if told == "raw" and neurodata_type(container) == "DfOverF" else told


def _is_of(file: Any, series: Any, table: Any) -> bool:
    """Whether a series is of a table's ROIs; one that does not say is."""
    reference = series["rois"].attrs.get("table") if "rois" in series else None
    return reference is None or bool(file[reference] == table)
