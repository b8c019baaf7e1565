"""NWB 2: a ``TwoPhotonSeries`` or ``OnePhotonSeries``, read as plain HDF5.

The standard stores frames as ``(frame, x, y)``, which is ``axes="TXY"`` here and what is assumed; a file whose writer
put rows first needs ``axes="TYX"``. A sample's value is ``data * conversion + offset``. The facts are those of the
schema, https://nwb-schema.readthedocs.io (ImageSeries, ImagingPlane).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucells.errors import InputError
from gpucells.io.array import movie_from_array
from gpucells.io.dataset import attribute_metadata
from gpucells.io.hdf5 import open_cached, open_file
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

if TYPE_CHECKING:
    import h5py

_PHOTON_SERIES = ("TwoPhotonSeries", "OnePhotonSeries")
_SERIES = (*_PHOTON_SERIES, "ImageSeries")
_UM_PER_UNIT = {"meters": 1e6, "meter": 1e6, "m": 1e6, "millimeters": 1e3, "mm": 1e3, "micrometers": 1.0, "um": 1.0}


def is_nwb(path: Path) -> bool:
    """Whether an HDF5 file says that it is NWB."""
    with open_file(path) as file:
        return "nwb_version" in file.attrs


def has_movie(path: Path) -> bool:
    """Whether a file is NWB and has an imaging series."""
    import h5py

    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_file(path) as file:
        return "nwb_version" in file.attrs and next(_find_series(file), None) is not None


def open_nwb(path: Path, options: ReadOptions, open_files: Callable[[Sequence[Path], ReadOptions], Movie]) -> Movie:
    """Open the imaging series of an NWB file.

    Parameters
    ----------
    path : Path
        The file.
    options : ReadOptions
        ``dataset`` is the path of a series, or its last part.
    open_files : callable
        Opens the movie files that a series with ``external_file`` names.

    Raises
    ------
    InputError
        No imaging series, or several and none chosen; the message lists them.
    """
    file = open_file(path)
    try:
        name, series = _choose(file, options.dataset, str(path))
        metadata = _metadata(series)
        if "external_file" in series:
            movie = _open_external(path, series, options, open_files)
            file.close()
            return replace(movie, source=str(path), files=(str(path), *movie.files), **metadata)
        if "data" not in series:
            raise InputError(f"{path}:/{name} has no data", "choose another series with dataset=")
        default_axes = "TXY" if series["data"].ndim != 4 else "TXYZ"
        return movie_from_array(
            open_cached(series, "data"),
            options,
            f"{path}:/{name}/data",
            default_axes=default_axes,
            close=file.close,
            source=str(path),
            files=(str(path),),
            **metadata,
        )
    except BaseException:
        file.close()
        raise


def _choose(file: h5py.File, wanted: str | None, name: str) -> tuple[str, Any]:
    found = dict(_find_series(file))
    if wanted is not None:
        asked = wanted.strip("/").removesuffix("/data")
        chosen = [key for key in found if key == asked] or [key for key in found if key.split("/")[-1] == asked]
    else:
        photon = [key for key, item in found.items() if neurodata_type(item) in _PHOTON_SERIES]
        chosen = photon or list(found)
    if len(chosen) == 1:
        return chosen[0], found[chosen[0]]
    listed = "; ".join(f"dataset='{key}' ({neurodata_type(item)})" for key, item in found.items())
    what = f"has {len(chosen)} imaging series" if chosen else "has no imaging series"
    what += f" {wanted!r}" if wanted is not None else ""
    raise InputError(f"{name} {what}", f"choose with dataset=; it has: {listed}" if found else "")


def _find_series(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Each imaging series once, with its path; behind links too, acquired data before processed data."""
    seen: list[Any] = []

    def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for key in group:
            item = group.get(key)
            if not hasattr(item, "keys") or item in seen:
                continue
            seen.append(item)
            if neurodata_type(item) in _SERIES:
                yield prefix + key, item
            else:
                yield from walk(item, f"{prefix}{key}/")

    for top in ("acquisition", "processing", "stimulus", "analysis", "scratch"):
        group = file.get(top)
        if hasattr(group, "keys"):
            yield from walk(group, f"{top}/")


def neurodata_type(item: Any) -> str:
    """Return the type that the standard gives an item; empty where it has none."""
    value = item.attrs.get("neurodata_type", "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _metadata(series: Any) -> dict[str, Any]:
    """Fields of the movie from a series: rate or time stamps, grid spacing, conversion."""
    data = series.get("data")
    attributes: dict[str, Any] = dict(data.attrs) if data is not None else {}
    attributes["scale"] = attributes.get("conversion")
    attributes["frame_rate_hz"] = series_rate(series)
    attributes["pixel_size_um"] = plane_pixel_size(series.get("imaging_plane"))
    return attribute_metadata(attributes)


def series_rate(series: Any) -> float | None:
    """Return the frames a second of a time series; None where it does not say."""
    start, stamps = series.get("starting_time"), series.get("timestamps")
    if start is not None and "rate" in start.attrs:
        return float(start.attrs["rate"])
    if stamps is not None and len(stamps) > 1:
        step = float(np.median(np.diff(stamps[:1001])))  # seconds; the first thousand tell
        return 1.0 / step if step > 0 else None
    return None


def plane_pixel_size(plane: Any) -> float | None:
    """Return the side of a pixel of an imaging plane (um); None where it does not say."""
    spacing = plane.get("grid_spacing") if hasattr(plane, "keys") else None
    if spacing is None:
        return None
    unit = spacing.attrs.get("unit", "meters")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    return float(np.ravel(spacing[()])[0]) * _UM_PER_UNIT[unit] if unit in _UM_PER_UNIT else None


def _open_external(
    path: Path, series: Any, options: ReadOptions, open_files: Callable[[Sequence[Path], ReadOptions], Movie]
) -> Movie:
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in series["external_file"][()]]
    if any("://" in n for n in names):
        raise InputError(f"{path} names movie files on a network: {names[0]}", "fetch them, and open them themselves")
    return open_files([path.parent / n for n in names], replace(options, dataset=None))
