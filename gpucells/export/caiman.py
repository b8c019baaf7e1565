"""CaImAn's result file: HDF5 as ``cnm.save`` writes it, so that its own ``load_CNMF`` reads it.

The root has ``dims`` and flags, the groups ``estimates`` and ``params/<group>`` the rest: nothing is the text
``NoneType``, text is an attribute of its group, a sparse matrix a group of ``data``, ``indices``, ``indptr`` and
``shape``, numbers are scalars. A group ``gpucells`` has what CaImAn has no place for, and makes nothing of: ``f0``, the
pixel size, why a cell was rejected. Of summary images the correlation (``Cn``) and the noise (``sn``) are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy import sparse

from gpucells.errors import ResultFileError
from gpucells.export import caiman_estimates as caiman
from gpucells.export.values import blocks, has_model
from gpucells.io.atomic_file import LateErrors, written_atomically
from gpucells.model.cells import Cells
from gpucells.progress import Event, ProgressSink
from gpucells.settings import Settings

if TYPE_CHECKING:
    import h5py

NOTHING = "NoneType"
STAGE = "write CaImAn's file"
#: What CaImAn itself leaves out of its files.
NOT_SAVED = {
    "groups", "idx_tot", "ind_A", "Ab_epoch", "coordinates", "loaded_model", "optional_outputs", "merged_ROIs", "tf_in",
    "tf_out", "empty_merged",
}  # fmt: skip


class Options(Settings):
    """Options of CaImAn's file."""

    compression: int = Field(0, ge=0, le=9, description="gzip level of traces, which noise hardly lets shrink; 0: none")


@dataclass(frozen=True)
class Blocks:
    """Rows that are made a block at a time, instead of an array.

    Parameters
    ----------
    shape : tuple of int
        ``(n_rows, n_columns)``.
    make : callable
        Returns the rows of a slice, float32.
    """

    shape: tuple[int, int]
    make: Callable[[slice], Any]


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write cells as CaImAn's file, a block of cells at a time.

    Parameters
    ----------
    cells : Cells
        The result; cells that are not accepted are ``idx_components_bad``.
    path : Path
        The file, whose name ends in ``.hdf5`` for CaImAn to read it.
    options : Options
        Of the format.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : ProgressSink
        Told of every block.

    Raises
    ------
    ResultFileError
        As :func:`gpucells.io.atomic_file.written_atomically`.
    """
    norm = caiman.norms(cells)
    shape = (cells.n_cells, cells.n_frames)

    def rows(kind: caiman.Rows) -> Blocks:
        return Blocks(shape, lambda some: caiman.rows_of(cells, kind, some, norm))

    images, traces = caiman.background(cells)
    noise, correlation = cells.summary_images.get("noise"), cells.summary_images.get("correlation")
    estimates: dict[str, Any] = {
        "A": caiman.unit_footprints(cells), "C": rows("C"), "YrA": rows("YrA"), "R": None,
        "S": None if cells.spikes is None else rows("S"), "b": images, "f": traces, "W": None, "b0": None,
        "sn": None if noise is None else caiman.flat(noise), "Cn": correlation, "center": cells.centroids(),
        "dims": cells.image_shape, "F_dff": None, "idx_components": np.flatnonzero(cells.accepted),
        "idx_components_bad": np.flatnonzero(~cells.accepted), "nr": cells.n_cells, "discarded_components": None,
        "A_thr": None, "shifts": [],
    } | caiman.numbers(cells)  # fmt: skip
    data = {"dims": cells.image_shape} | ({"fr": cells.frame_rate_hz} if cells.frame_rate_hz else {})
    content = _root(cells.image_shape) | {"estimates": estimates, "params": {"data": data}, "gpucells": _own(cells)}
    write_content(path, content, overwrite, options.compression, progress)


def _own(cells: Cells) -> dict[str, Any]:
    reasons = np.array([reason.encode() for reason in cells.rejection], "S")
    own = {"f0": cells.f0, "rejection": reasons, "has_model": has_model(cells)}
    return own | ({} if cells.pixel_size_um is None else {"pixel_size_um": cells.pixel_size_um})


def _root(dims: tuple[int, ...]) -> dict[str, Any]:
    return {
        "dims": dims, "dview": None, "mmap_file": None, "skip_refinement": False, "remove_very_bad_comps": False,
    }  # fmt: skip


def write_content(
    path: Path, content: dict[str, Any], overwrite: bool, compression: int, progress: ProgressSink
) -> None:
    """Write nested dictionaries the way CaImAn does.

    Parameters
    ----------
    path : Path
        The file to make.
    content : dict
        Name to dict, array, :class:`Blocks`, sparse matrix, number, text or None.
    overwrite : bool
        Whether an existing file may be replaced.
    compression : int
        Level of gzip for :class:`Blocks`, 0 for none.
    progress : ProgressSink
        Told of every block of them.
    """
    import h5py

    n_blocks = sum(len(list(_cut(item))) for item in _blocks_in(content))
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(Event(STAGE, done, n_blocks, "blocks"))

    with written_atomically(path, overwrite) as stream:
        sink = LateErrors(stream.raw)
        try:
            with h5py.File(sink, "w") as file:
                _write_group(file, content, compression, tell)
        finally:
            sink.raise_first()


def _blocks_in(content: dict[str, Any]) -> Iterator[Blocks]:
    for item in content.values():
        if isinstance(item, Blocks):
            yield item
        elif isinstance(item, dict):
            yield from _blocks_in(item)


def _cut(rows: Blocks) -> Iterator[slice]:
    return blocks(rows.shape[0], 4 * max(1, rows.shape[1]))


def _write_group(group: h5py.Group, content: dict[str, Any], compression: int, tell: Callable[[], None]) -> None:
    for name, item in content.items():
        if name in NOT_SAVED:
            continue
        if name == "g" and item is None:
            group[name] = 0
        elif item is None:
            group[name] = NOTHING
        elif isinstance(item, str):
            group.attrs[name] = item
        elif isinstance(item, dict):
            _write_group(group.create_group(name), item, compression, tell)
        elif isinstance(item, Blocks):
            _write_blocks(group, name, item, compression, tell)
        elif sparse.issparse(item):
            columns = sparse.csc_matrix(item)
            part = group.create_group(name)
            for field in ("data", "indices", "indptr"):
                part[field] = getattr(columns, field)
            part["shape"] = np.array(columns.shape)
        else:
            _write_value(group, name, item)


def _write_blocks(group: h5py.Group, name: str, rows: Blocks, compression: int, tell: Callable[[], None]) -> None:
    packed = {"compression": "gzip", "compression_opts": compression, "shuffle": True, "chunks": True}
    dataset = group.create_dataset(name, rows.shape, np.float32, **(packed if compression and all(rows.shape) else {}))
    for some in _cut(rows):
        dataset[some] = rows.make(some)
        tell()


def _write_value(group: h5py.Group, name: str, item: Any) -> None:
    """Write numbers and arrays; what is neither becomes text of at most 32 letters, as in CaImAn's files."""
    try:
        values = np.asarray(item)
    except ValueError as error:
        raise ResultFileError(f"{group.name}/{name} cannot be written: {error}", "give an array of numbers") from error
    group[name] = values.astype("|S32") if values.dtype.kind in "OU" else values
