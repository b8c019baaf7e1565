"""Footprints and traces of cells out of MAT files, a block at a time, and what gpucells put there of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.io.matlab import MatFile, UnreadableError
from gpucells.model.provenance import Provenance

Float32 = NDArray[np.float32]
#: Elements of an array among the options that is kept; starting images may be among them.
LARGEST_SETTING = 100


def read_footprints(
    file: MatFile, place: str, transposed: bool = False, cells_first: bool = False
) -> tuple[sparse.csr_array, Float32, tuple[int, int]]:
    """Read images.

    Parameters
    ----------
    file : MatFile
        Open.
    place : str
        Of ``[height width n_cells]``; of one cell MATLAB keeps two axes.
    transposed : bool
        Whether they were written as ``[width height n_cells]``.
    cells_first : bool
        Whether they are ``[n_cells height width]``.

    Returns
    -------
    tuple
        ``(n_cells, height * width)`` with the maximum of each row 1; the maxima that they were divided by; the shape.
    """
    shape = file.shape(place)
    if len(shape) not in (2, 3):
        raise UnreadableError(f"{place} has size {shape}", "images are [height width n_cells]")
    seen = shape[1:] if cells_first and len(shape) == 3 else shape[:2]
    parts, maxima = [], []
    for block in _pictures(file, place, len(shape), cells_first):
        straight = block if transposed else block.transpose(0, 2, 1)
        rows = np.nan_to_num(np.ascontiguousarray(straight, np.float32).reshape(len(block), -1))
        largest = rows.max(axis=1, initial=0)
        found = sparse.csr_array(rows)
        found.data /= np.repeat(np.where(largest > 0, largest, np.float32(1)), np.diff(found.indptr))
        parts.append(found)
        maxima.append(largest)
    height, width = (int(n) for n in (seen[::-1] if transposed else seen))
    if not parts:
        return sparse.csr_array((0, height * width), dtype=np.float32), np.zeros(0, np.float32), (height, width)
    return sparse.csr_array(sparse.vstack(parts, format="csr")), np.concatenate(maxima), (height, width)


def _pictures(file: MatFile, place: str, n_axes: int, cells_first: bool) -> Iterator[NDArray[Any]]:
    """Blocks ``(k, width, height)``."""
    if n_axes == 2:
        yield np.asarray(file.read(place)).T[None]
    elif cells_first:
        yield np.asarray(file.read(place)).transpose(0, 2, 1)
    else:
        yield from file.slabs(place)


def read_traces(file: MatFile, place: str, n_cells: int, frames_first: bool = False) -> Float32:
    """Read traces; which axis is cells, their number says, and ``frames_first`` where both fit.

    Parameters
    ----------
    file : MatFile
        Open.
    place : str
        Of ``[n_cells n_frames]`` or ``[n_frames n_cells]``.
    n_cells : int
        How many images there are.
    frames_first : bool
        Which of the two it is where there are as many cells as frames.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    """
    shape = file.shape(place)
    if len(shape) != 2 or n_cells not in shape:
        raise UnreadableError(f"{place} has size {shape}, and there are {n_cells} images", "they are of two runs")
    by_frame = shape[0] == n_cells and (shape[1] != n_cells or not frames_first)
    found = np.empty((n_cells, shape[1] if by_frame else shape[0]), np.float32)
    start = 0
    for block in file.slabs(place):
        if by_frame:
            found[:, start : start + len(block)] = block.T
        else:
            found[start : start + len(block)] = block
        start += len(block)
    return found


def read_own(file: MatFile, place: str, n_cells: int) -> dict[str, Any]:
    """Read what gpucells wrote into its own struct: fields of :class:`gpucells.model.cells.Cells`, and three more.

    ``units_f0`` is what dF/F is multiplied by, ``has_model`` which cells have a trace by the model, ``provenance``.
    Empty where another tool wrote the file.

    Parameters
    ----------
    file : MatFile
        Open.
    place : str
        Of the struct that has ``gpucells`` among its fields.
    n_cells : int
        How many images there are.
    """
    if "gpucells" not in file.fields(place):
        return {}
    held = file.read(f"{place}.gpucells")
    f0 = _column(held["f0"], np.float32)
    accepted = _column(held["accepted"], np.bool_)
    if len(f0) != n_cells or len(accepted) != n_cells:
        raise UnreadableError(
            f"{place}.gpucells is of {len(f0)} cells, and there are {n_cells} images", "it was edited"
        )
    transposed = bool(np.any(held["transposed"]))
    reasons = held["rejection"].split("\n") if n_cells else []
    found: dict[str, Any] = {
        "f0": f0,
        "accepted": accepted,
        "rejection": tuple(reasons) if len(reasons) == n_cells else rejection(accepted),
        "method": str(held["method"]),
        "settings": json.loads(held["settings"]),
        "quality": {name: _column(column, np.float32) for name, column in _struct(held["quality"]).items()},
        "summary_images": {
            name: np.ascontiguousarray(image.T if transposed else image, np.float32)
            for name, image in _struct(held["summary_images"]).items()
        },
        "units_f0": np.where(np.isfinite(f0) & (f0 != 0), f0, np.float32(1)).astype(np.float32),
        "has_model": _column(held["has_model"], np.bool_),
        "provenance": Provenance(source=str(held["source"]), created=str(held["created"])),
    }
    for name in ("frame_rate_hz", "pixel_size_um"):
        if name in held:
            found[name] = float(np.ravel(held[name])[0])
    return found


def rejection(accepted: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return what is said of cells that a file rejects without a reason."""
    return tuple("" if kept else "rejected in the file" for kept in accepted)


def read_settings(file: MatFile, place: str) -> dict[str, Any]:
    """Return a struct of options as JSON has it.

    Numbers of one element become numbers, arrays lists; of a large array its size is kept, and an object of MATLAB is
    left out.
    """
    found: dict[str, Any] = {}
    for name in file.fields(place):
        with suppress(UnreadableError):
            found[name] = _as_json(file.read(f"{place}.{name}"))
    return found


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if sparse.issparse(value) or (isinstance(value, np.ndarray) and value.size > LARGEST_SETTING):
        return f"array of size {' x '.join(map(str, value.shape))}"
    if isinstance(value, np.ndarray):
        if value.size == 0:
            return None
        return value.ravel()[0].item() if value.size == 1 else np.squeeze(value).tolist()
    return value if isinstance(value, str) else str(value)


def _column(values: Any, dtype: Any) -> NDArray[Any]:
    return np.ravel(values).astype(dtype)


def _struct(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
