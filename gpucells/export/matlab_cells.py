"""Images and traces of a result as MATLAB has them, made while they are written; and what is gpucells' own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import gpucells
from gpucells.export.matlab import Array, streamed
from gpucells.export.values import blocks, has_model, image_block
from gpucells.model.cells import Cells

Float32 = NDArray[np.float32]
Kind = Literal["traces", "denoised", "spikes"]


def baselines(cells: Cells) -> Float32:
    """Return what traces are divided by for dF/F: 1 for a cell whose baseline is not known."""
    known = np.isfinite(cells.f0) & (cells.f0 != 0)
    return np.where(known, cells.f0, np.float32(1)).astype(np.float32)


def units(cells: Cells) -> str:
    """Say in words what the traces of a file are."""
    unknown = int(np.count_nonzero(~(np.isfinite(cells.f0) & (cells.f0 != 0))))
    if not unknown:
        return "dF/F: traces above the baseline f0, divided by it"
    as_they_are = "as measured, in the units of the movie: dF/F where the movie was dF/F"
    if unknown == cells.n_cells:
        return f"{as_they_are}; no baseline is known"
    return f"dF/F where f0 is a number; the {unknown} cells without a baseline {as_they_are}"


def images(cells: Cells, transposed: bool = False) -> Array:
    """Return footprints as ``[height width n_cells]`` single, the maximum of each 1.

    Parameters
    ----------
    cells : Cells
        The result.
    transposed : bool
        Whether as ``[width height n_cells]``.
    """
    height, width = cells.image_shape

    def made() -> Iterator[Float32]:
        for some in blocks(cells.n_cells, 4 * height * width):
            dense = image_block(cells, some)
            yield dense if transposed else dense.transpose(0, 2, 1)

    return streamed((*picture(cells.image_shape, transposed), cells.n_cells), made, packed=True)


def picture(shape: tuple[int, int], transposed: bool) -> tuple[int, int]:
    """Return the height and width that MATLAB sees."""
    return (shape[1], shape[0]) if transposed else shape


def traces(cells: Cells, kind: Kind = "traces", frames_first: bool = False) -> Array:
    """Return traces as ``[n_cells n_frames]`` or ``[n_frames n_cells]`` single, in the units of :func:`units`.

    Of cells that the model has no trace of, ``denoised`` is as measured, and ``spikes`` are 0: MATLAB's tools do not
    expect rows of NaN.

    Parameters
    ----------
    cells : Cells
        The result.
    kind : {"traces", "denoised", "spikes"}
        Which, of those it has.
    frames_first : bool
        Whether frames are the rows.
    """
    source: Float32 = getattr(cells, kind)
    scale = baselines(cells)[:, None]
    bare = np.zeros(cells.n_cells, np.bool_) if kind == "traces" else ~has_model(cells)

    def part(rows: slice, frames: slice) -> Float32:
        found = source[rows, frames] / scale[rows]
        other = bare[rows]
        if other.any():
            found[other] = cells.traces[rows, frames][other] / scale[rows][other] if kind == "denoised" else 0
        return np.asarray(found, np.float32)

    def by_cell() -> Iterator[Float32]:
        for some in blocks(cells.n_cells, 4 * cells.n_frames):
            yield part(some, slice(None))

    def by_frame() -> Iterator[Float32]:
        for some in blocks(cells.n_frames, 4 * cells.n_cells):
            yield part(slice(None), some).T

    if frames_first:
        return streamed((cells.n_frames, cells.n_cells), by_cell)
    return streamed((cells.n_cells, cells.n_frames), by_frame)


def own_fields(cells: Cells, transposed: bool = False) -> dict[str, Any]:
    """Return what another tool's layout has no place for: the struct ``gpucells``, which its loaders pass over.

    Vectors are columns, a row a cell; ``rejection`` has a line a cell; ``settings`` is JSON.
    """
    found: dict[str, Any] = {
        "version": gpucells.__version__,
        "units": units(cells),
        "method": cells.method,
        "transposed": transposed,
        "accepted": cells.accepted[:, None],
        "rejection": "\n".join(text.replace("\n", " ") for text in cells.rejection),
        "f0": cells.f0[:, None],
        "has_model": has_model(cells)[:, None],
        "quality": {name: column[:, None] for name, column in cells.quality.items()},
        "summary_images": {name: image.T if transposed else image for name, image in cells.summary_images.items()},
        "settings": json.dumps(cells.settings, default=_as_json),
        "source": cells.provenance.source,
        "created": cells.provenance.created,
    }
    numbers = {"frame_rate_hz": cells.frame_rate_hz, "pixel_size_um": cells.pixel_size_um}
    return found | {name: value for name, value in numbers.items() if value is not None}


def settings_struct(cells: Cells) -> dict[str, Any]:
    """Return the method's own settings as fields: lists of numbers become rows, what a struct cannot hold its text."""
    found = cells.settings.get(cells.method)
    return _config(found if isinstance(found, dict) else cells.settings)


def _config(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found[name] = _config(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(item, int | float) for item in value):
            found[name] = np.asarray(value, np.float64)
        elif value is None or isinstance(value, bool | int | float | str | np.number | np.bool_ | np.ndarray):
            found[name] = value
        else:
            found[name] = json.dumps(value, default=_as_json)
    return found


def _as_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
