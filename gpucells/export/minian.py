"""A folder such as minian's: each variable is a Zarr group ``NAME.zarr``, which xarray opens.

Names and dimensions are those of minian's documentation (https://minian.readthedocs.io) and of roiextractors' reader;
no code of theirs was used. Zarr format 2 with ``_ARRAY_DIMENSIONS``, as minian's xarray and zarr read it and today's.

======================  =============================================================================================
``A``                   (unit_id, height, width): footprints, maximum 1; a chunk a cell
``YrA``                 (unit_id, frame): traces as measured
``C``, ``S``            (unit_id, frame): denoised and spikes, where the result has them
``b``, ``f``            (height, width), (frame): the background, where it is one image; several have no place there
``max_proj``            (height, width): the image ``max``; other summary images by their own names
``f0``, ``accepted``    (unit_id): not minian's own: baseline fluorescence, and which cells were accepted
======================  =============================================================================================

minian's ``b0`` and ``c0`` (what of a trace is a constant, and a decay from before the recording) are left out: our
traces have neither apart. Attributes of ``YrA``: frame rate, pixel size, method, settings. roiextractors wants ``C`` or
``S``, ``b`` and ``f``. :mod:`gpucells.io.minian_folder` reads the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import MissingDependencyError
from gpucells.export.values import blocks, image_block, trace_block
from gpucells.io.atomic_folder import folder_written_atomically
from gpucells.io.cells_file import as_json
from gpucells.io.minian_folder import recognises
from gpucells.model.cells import Cells
from gpucells.progress import Event, ProgressSink
from gpucells.settings import Settings

_TRACES = {"YrA": "traces", "C": "denoised", "S": "spikes"}
_CHUNK_BYTES = 1 << 20  # of an image or a trace: one piece each unless it is longer than that


class Options(Settings):
    """minian's folder has none."""


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write the folder, whole or not at all.

    Parameters
    ----------
    cells : Cells
        The result.
    path : Path
        The folder to make.
    options : Options
        None.
    overwrite : bool
        Whether an existing folder of minian's may be replaced.
    progress : ProgressSink
        Told of every block of cells.

    Raises
    ------
    MissingDependencyError
        The package ``zarr`` is not installed.
    ResultFileError
        See :func:`gpucells.io.atomic_folder.folder_written_atomically`.
    InputError
        A setting is of a type that JSON does not have.
    """
    try:
        import zarr
    except ImportError:
        raise MissingDependencyError("zarr is not installed", "pip install 'gpucells[zarr]'") from None
    with folder_written_atomically(path, overwrite, recognises) as folder:
        store = _Store(zarr.create_group(str(folder), zarr_format=2), cells)
        for name, array in _small(cells).items():
            store.add(name, array.shape, array.dtype)[...] = array
        masks = store.add("A", (cells.n_cells, *cells.image_shape), np.float32)
        n_pixels = cells.image_shape[0] * cells.image_shape[1]
        for some in blocks(cells.n_cells, 4 * n_pixels):
            masks[some] = image_block(cells, some)
            progress(Event("write footprints", some.stop, cells.n_cells, "cells"))
        for name, kind in _TRACES.items():
            if getattr(cells, kind) is None:
                continue
            array = store.add(name, cells.traces.shape, np.float32, _attributes(cells) if name == "YrA" else {})
            for some in blocks(cells.n_cells, 4 * cells.n_frames):
                array[some] = trace_block(cells, kind, some)  # type: ignore[arg-type]
                progress(Event(f"write {kind}", some.stop, cells.n_cells, "cells"))
        store.close()


class _Store:
    """The folder while it is written."""

    def __init__(self, root: Any, cells: Cells) -> None:
        self._root = root
        self._groups: list[Any] = []
        height, width = cells.image_shape
        self._sizes = {"unit_id": cells.n_cells, "frame": cells.n_frames, "height": height, "width": width}

    def add(self, name: str, shape: tuple[int, ...], dtype: Any, attributes: dict[str, Any] | None = None) -> Any:
        """Make a variable with the coordinates of its dimensions, and return it to be filled."""
        dims = DIMENSIONS.get(name, ("height", "width"))
        group = self._root.create_group(f"{name}.zarr")
        self._groups.append(group)
        for dim in dims:
            self._array(group, dim, (self._sizes[dim],), np.int64, (dim,))[...] = np.arange(self._sizes[dim])
        return self._array(group, name, shape, dtype, dims, attributes)

    @staticmethod
    def _array(
        group: Any,
        name: str,
        shape: tuple[int, ...],
        dtype: Any,
        dims: tuple[str, ...],
        attributes: dict[str, Any] | None = None,
    ) -> Any:
        chunks = [max(1, size) for size in shape]
        if dims[0] == "unit_id" and len(dims) > 1:
            chunks[0] = 1  # as minian has them
            chunks[-1] = max(1, min(chunks[-1], _CHUNK_BYTES // 4)) if len(dims) == 2 else chunks[-1]
        return group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=tuple(chunks),
            fill_value=None,  # with one, xarray would take it for NaN
            attributes={"_ARRAY_DIMENSIONS": list(dims), **(attributes or {})},
        )

    def close(self) -> None:
        """Gather each group's metadata in one file, which xarray looks for first."""
        import zarr

        for group in self._groups:
            zarr.consolidate_metadata(group.store, path=group.path, zarr_format=2)


#: Dimensions of each variable; an image that is not named here has height and width.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "A": ("unit_id", "height", "width"),
    "YrA": ("unit_id", "frame"),
    "C": ("unit_id", "frame"),
    "S": ("unit_id", "frame"),
    "f": ("frame",),
    "f0": ("unit_id",),
    "accepted": ("unit_id",),
}


def _small(cells: Cells) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"f0": cells.f0, "accepted": cells.accepted.astype(np.int8)}
    if (
        cells.background_images is not None
        and cells.background_traces is not None
        and len(cells.background_images) == 1
    ):
        arrays |= {"b": cells.background_images[0], "f": cells.background_traces[0]}
    images = {"max_proj" if name == "max" else name: image for name, image in cells.summary_images.items()}
    return arrays | {name: image for name, image in images.items() if name not in DIMENSIONS}


def _attributes(cells: Cells) -> dict[str, Any]:
    known = {"frame_rate_hz": cells.frame_rate_hz, "pixel_size_um": cells.pixel_size_um}
    return {
        **{name: float(value) for name, value in known.items() if value is not None},
        "method": cells.method,
        "settings": json.loads(as_json(cells.settings)),
    }
