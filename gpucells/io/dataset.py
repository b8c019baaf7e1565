"""Which dataset of a file is the movie, and what its attributes say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpucells.errors import InputError

# What movies are called: EXTRACT and CellSort's /1, NoRMCorre's /mov, suite2p's and Inscopix' /images and /data,
# EXTRACT's /Movie and this package's /movie.
KNOWN_NAMES = ("1", "mov", "images", "Movie", "movie", "data")

_RATE_NAMES = ("frame_rate_hz", "frame_rate", "fps")
_PIXEL_NAMES = ("pixel_size_um",)


def choose_dataset(candidates: Mapping[str, tuple[tuple[int, ...], Any]], wanted: str | None, name: str) -> str:
    """Choose the dataset that is the movie.

    Without ``wanted``: the one of :data:`KNOWN_NAMES` at the root that has at least three dimensions, or else the
    only dataset of the file that has three.

    Parameters
    ----------
    candidates : mapping
        Name, without the leading slash, to shape and type of each dataset.
    wanted : str or None
        What the caller says.
    name : str
        The file, in messages.

    Returns
    -------
    str
        A key of ``candidates``.

    Raises
    ------
    InputError
        No such dataset, none that could be a movie, or several; the message lists them.
    """
    if wanted is not None:
        if wanted.strip("/") in candidates:
            return wanted.strip("/")
        raise InputError(f"{name} has no dataset {wanted!r}", _listed(candidates))
    numbers = {key: value for key, value in candidates.items() if np.dtype(value[1]).kind in "biuf"}
    known = [key for key in KNOWN_NAMES if key in numbers and len(numbers[key][0]) >= 3]
    found = known or [key for key, (shape, _) in numbers.items() if len(shape) == 3]
    if len(found) == 1:
        return found[0]
    if found:
        several = {key: candidates[key] for key in found}
        raise InputError(f"{name} has {len(found)} datasets that could be the movie", _listed(several))
    raise InputError(f"{name} has no dataset of three dimensions", _listed(candidates))


def _listed(candidates: Mapping[str, tuple[tuple[int, ...], Any]]) -> str:
    if not candidates:
        return "it has no dataset at all"
    lines = [f"dataset='{key}' {tuple(shape)} {dtype}" for key, (shape, dtype) in list(candidates.items())[:20]]
    more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
    return "choose with dataset=; it has: " + "; ".join(lines) + more


def attribute_metadata(*attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Frame rate, pixel size, scale and offset from attributes, those of the dataset before those of the file.

    Parameters
    ----------
    *attributes : mapping
        ``frame_rate_hz`` (or ``frame_rate``, ``fps``) in Hz, ``pixel_size_um`` in micrometres; ``scale`` and ``offset``
        are taken from the first mapping only: the dataset's.

    Returns
    -------
    dict
        Fields of :class:`~gpucells.model.movie.Movie`.
    """
    dataset = attributes[0]
    scale, offset = _number(dataset.get("scale")), _number(dataset.get("offset"))
    return {
        "frame_rate_hz": _first_positive(attributes, _RATE_NAMES),
        "pixel_size_um": _first_positive(attributes, _PIXEL_NAMES),
        "scale": 1.0 if scale in (None, 0.0) else scale,
        "offset": 0.0 if offset is None else offset,
    }


def _first_positive(attributes: tuple[Mapping[str, Any], ...], names: tuple[str, ...]) -> float | None:
    for mapping in attributes:
        for name in names:
            value = _number(mapping.get(name))
            if value is not None and value > 0:
                return value
    return None


def _number(value: Any) -> float | None:
    """Return a finite number, or None for whatever else an attribute may hold."""
    try:
        number = float(np.asarray(value, dtype=np.float64).reshape(-1)[0]) if value is not None else math.nan
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None
