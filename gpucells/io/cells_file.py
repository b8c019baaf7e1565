"""The result file: HDF5, documented dataset by dataset, read by MATLAB's h5read and by later versions.

:data:`LAYOUT` is the one description of the file. The page ``docs/cells_file.md`` holds :func:`layout_table`, and
a test compares every written file with it, so the three cannot drift apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import InputError, MissingFileError, ResultFileError
from gpucells.io.atomic_file import LateErrors, written_atomically
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance, StageCost

if TYPE_CHECKING:
    import h5py

FORMAT = "gpucells.cells"
#: Raised only where an older reader would misread the file; new optional datasets do not need it.
VERSION = 1
#: Bytes handed to HDF5 at once: large enough for the disk, small beside the traces.
BLOCK_BYTES = 8 << 20
#: Bytes of a chunk: HDF5's default chunk cache is 1 MiB, so four fit, and one cell's trace is read in one piece.
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Entry:
    """One dataset or attribute of the file.

    Parameters
    ----------
    path : str
        ``/group/name`` for a dataset, ``/group@name`` for an attribute; ``<name>`` stands for any name.
    type : str
        Type as stored.
    shape : str
        Shape as stored, in C order; MATLAB sees the reverse.
    required : bool
        Whether every file has it.
    meaning : str
        What it is, with its unit.
    """

    path: str
    type: str
    shape: str
    required: bool
    meaning: str


_DENOISED = "traces by the method's model, where it has one; NaN for rejected cells and at frames that the movie lacks"
_SPIKES = "activity by the method's model, where it has one: 1 makes the denoised trace jump by 1; NaN as there"
_IMAGES = "images of the background, where it is a few, in the movie's units; of CNMF the first is the baseline"
_IN_TIME = "their traces; that of the baseline is 1; NaN at frames that the movie lacks"

LAYOUT = (
    Entry("/@format", "string", "scalar", True, "always `gpucells.cells`"),
    Entry("/@version", "int64", "scalar", True, "version of this layout; readers refuse a newer one"),
    Entry("/@method", "string", "scalar", True, "the method's name, such as `extract`"),
    Entry("/@image_shape", "int64", "(2,)", True, "height and width of the image (px)"),
    Entry("/@frame_rate_hz", "float64", "scalar", False, "frames a second; absent where unknown"),
    Entry("/@pixel_size_um", "float64", "scalar", False, "side of a pixel (um); absent where unknown"),
    Entry("/footprints/data", "float32", "(n_weights,)", True, "weights of all cells, one cell after another"),
    Entry(
        "/footprints/indices",
        "int32 or int64",
        "(n_weights,)",
        True,
        "the pixel of each weight: row * width + column, **counted from 0**",
    ),
    Entry(
        "/footprints/indptr",
        "int64",
        "(n_cells + 1,)",
        True,
        "cell k, counted from 0, has the weights indptr[k] to indptr[k+1] - 1, counted from 0",
    ),
    Entry("/footprints@shape", "int64", "(2,)", True, "n_cells and n_pixels of the sparse matrix (CSR)"),
    Entry(
        "/traces",
        "float32",
        "(n_cells, n_frames)",
        True,
        "traces as measured, in the movie's units above the cell's baseline; NaN at frames that the movie lacks; "
        "dF/F is traces / f0",
    ),
    Entry("/f0", "float32", "(n_cells,)", True, "baseline fluorescence in the movie's units; NaN where there is none"),
    Entry("/accepted", "uint8", "(n_cells,)", True, "1 accepted, 0 rejected"),
    Entry("/accepted@meaning", "string", "scalar", True, "says the same inside the file"),
    Entry("/rejection", "string", "(n_cells,)", True, "why a cell was rejected; empty for an accepted one"),
    Entry("/quality/<name>", "float32", "(n_cells,)", False, "one dataset a quality measure, such as `snr`"),
    Entry("/denoised", "float32", "(n_cells, n_frames)", False, _DENOISED),
    Entry("/spikes", "float32", "(n_cells, n_frames)", False, _SPIKES),
    Entry("/background/images", "float32", "(n_background, height, width)", False, _IMAGES),
    Entry("/background/traces", "float32", "(n_background, n_frames)", False, _IN_TIME),
    Entry(
        "/summary_images/<name>",
        "float32",
        "(height, width)",
        False,
        "images of the movie: `mean`, `max`, `correlation` (of a pixel with its neighbours), `noise`",
    ),
    Entry("/settings", "string", "scalar", True, "JSON: every setting of the run"),
    Entry(
        "/provenance",
        "string",
        "scalar",
        True,
        "JSON: versions, device, seed, source, input_identity, created, stages (seconds, peak bytes), warnings",
    ),
)

#: Optional array datasets and the fields of :class:`Cells` that they hold.
_OPTIONAL = {
    "denoised": "denoised",
    "spikes": "spikes",
    "background/images": "background_images",
    "background/traces": "background_traces",
}


def layout_table() -> str:
    """Return :data:`LAYOUT` as the table of ``docs/cells_file.md``."""
    lines = ["| path | type | shape | in every file | meaning |", "|---|---|---|---|---|"]
    for entry in LAYOUT:
        path = entry.path.replace("@", " attribute ") if "@" in entry.path else entry.path
        required = "yes" if entry.required else ""
        lines.append(f"| `{path}` | {entry.type} | {entry.shape} | {required} | {entry.meaning} |")
    return "\n".join(lines) + "\n"


def save_cells(cells: Cells, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write cells to a result file, whole or not at all.

    Parameters
    ----------
    cells : Cells
        What to write. Traces go to the disk block by block, without another copy in memory.
    path : path-like
        The file to make, usually ``*.h5``.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ResultFileError
        The file exists, the folder cannot be written to, or the disk is full. Nothing is left behind.
    InputError
        A quality measure or summary image has a name that HDF5 cannot hold.
    """
    import h5py

    for name in (*cells.quality, *cells.summary_images):
        if not name or "/" in name or "\0" in name or name == ".":
            raise InputError(f"{name!r} cannot be the name of a dataset", "name it without a slash")
    with written_atomically(path, overwrite) as stream:
        sink = LateErrors(stream.raw)
        try:
            # The earliest file format that can hold this: MATLAB releases read newer ones only years later.
            with h5py.File(sink, "w", libver=("earliest", "v110")) as file:
                _write(file, cells)
        finally:
            sink.raise_first()


def _write(file: h5py.File, cells: Cells) -> None:
    _write_text(file, "format", FORMAT)
    file.attrs["version"] = np.int64(VERSION)
    _write_text(file, "method", cells.method)
    file.attrs["image_shape"] = np.array(cells.image_shape, dtype=np.int64)
    for name in ("frame_rate_hz", "pixel_size_um"):
        if getattr(cells, name) is not None:
            file.attrs[name] = np.float64(getattr(cells, name))
    _write_footprints(file, sparse.csr_array(cells.footprints))
    _write_array(file, "traces", cells.traces)
    _write_array(file, "f0", cells.f0)
    _write_array(file, "accepted", cells.accepted, np.uint8)
    _write_text(file["accepted"], "meaning", "1 accepted, 0 rejected")
    _write_strings(file, "rejection", cells.rejection)
    for name, column in cells.quality.items():
        _write_array(file, f"quality/{name}", column)
    for name, image in cells.summary_images.items():
        _write_array(file, f"summary_images/{name}", image)
    for name, attribute in _OPTIONAL.items():
        if getattr(cells, attribute) is not None:
            _write_array(file, name, getattr(cells, attribute))
    _write_strings(file, "settings", as_json(cells.settings))
    _write_strings(file, "provenance", as_json(asdict(cells.provenance)))


def _write_footprints(file: h5py.File, footprints: sparse.csr_array) -> None:
    small = footprints.shape[1] <= np.iinfo(np.int32).max
    _write_array(file, "footprints/data", footprints.data)
    _write_array(file, "footprints/indices", footprints.indices, np.int32 if small else np.int64)
    _write_array(file, "footprints/indptr", footprints.indptr, np.int64)
    file["footprints"].attrs["shape"] = np.array(footprints.shape, dtype=np.int64)


def _write_array(file: h5py.File, name: str, values: NDArray[Any], dtype: type[np.generic] = np.float32) -> None:
    """Write block by block; a type other than ``dtype`` is converted a block at a time."""
    chunks = None
    if values.ndim == 2 and values.nbytes > CHUNK_BYTES:
        columns = min(values.shape[1], CHUNK_BYTES // 4)
        chunks = (max(1, min(values.shape[0], CHUNK_BYTES // (4 * columns))), columns)
    # Activity is mostly zeros; traces are noise and would only cost time.
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if name == "spikes" and chunks else {}
    # Untracked times make two files of the same cells equal byte by byte.
    dataset = file.create_dataset(name, values.shape, dtype, chunks=chunks, track_times=False, **packed)
    for block in _blocks(values, chunks[0] if chunks else 1):
        dataset[block] = np.asarray(values[block], dtype=dtype)


def _blocks(values: NDArray[Any], multiple: int) -> Iterator[slice]:
    """Slices of the first axis of about :data:`BLOCK_BYTES` each, whole chunks at a time."""
    if not values.size:
        return
    row_bytes = values.nbytes // len(values)
    step = max(1, BLOCK_BYTES // max(1, row_bytes * multiple)) * multiple
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def _write_strings(file: h5py.File, name: str, values: tuple[str, ...] | str) -> None:
    encoded, stored_type = _encoded(values)
    dataset = file.create_dataset(name, encoded.shape, stored_type, track_times=False)
    if encoded.size:
        dataset[...] = encoded


def _write_text(item: h5py.Group | h5py.Dataset, name: str, text: str) -> None:
    encoded, stored_type = _encoded(text)
    item.attrs.create(name, encoded, encoded.shape, stored_type)


def _encoded(values: tuple[str, ...] | str) -> tuple[NDArray[Any], Any]:
    """Return text of fixed length, and its type as stored: ended by a zero, which every reader takes, old MATLAB too.

    ASCII where that is enough, because HDF5 converts no UTF-8 for readers (such as Octave) that ask for ASCII.
    """
    import h5py

    encoded = [text.encode() for text in ((values,) if isinstance(values, str) else values)]
    length = max(map(len, encoded), default=0) + 1
    stored_type = h5py.h5t.C_S1.copy()
    stored_type.set_size(length)
    stored_type.set_strpad(h5py.h5t.STR_NULLTERM)
    plain = all(map(bytes.isascii, encoded))
    stored_type.set_cset(h5py.h5t.CSET_ASCII if plain else h5py.h5t.CSET_UTF8)
    array = np.array(encoded, dtype=h5py.string_dtype("ascii" if plain else "utf-8", length))
    return (array.reshape(()) if isinstance(values, str) else array), stored_type


def as_json(value: Any) -> str:
    """Return settings as JSON: arrays as lists, paths as text.

    Raises
    ------
    InputError
        A value is of a type that JSON does not have.
    """

    def convert(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        if isinstance(item, os.PathLike):
            return os.fspath(item)
        raise InputError(f"a setting of type {type(item).__name__} cannot be written: {item!r}", "use a JSON type")

    return json.dumps(value, default=convert)


def load_cells(path: str | os.PathLike[str]) -> Cells:
    """Read a result file.

    Parameters
    ----------
    path : path-like
        What :func:`save_cells` wrote, in this or an earlier version. Datasets that are not known are left alone.

    Returns
    -------
    Cells
        Equal to what was written.

    Raises
    ------
    MissingFileError
        There is no such file, or it may not be read.
    ResultFileError
        It is not a result file, is damaged, or was written by a newer layout.
    """
    import h5py

    name = Path(path)
    if not name.is_file():
        raise MissingFileError(f"there is no file {name}", "give the file that gpucells extract -o wrote")
    if not os.access(name, os.R_OK):
        raise MissingFileError(f"{name} may not be read", "check its permissions")
    with name.open("rb") as stream:  # a plain file: no lock of HDF5 stands in the way on network disks
        try:
            with h5py.File(stream, "r") as file:
                _check_format(file, name)
                return _read(file)
        except ResultFileError:
            raise
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ResultFileError(
                f"{name} cannot be read as a result file: {error}", "it is damaged or not from gpucells"
            ) from error


def _check_format(file: h5py.File, name: Path) -> None:
    found = _text(file.attrs.get("format"))
    if found != FORMAT:
        raise ResultFileError(
            f"{name} is not a result of gpucells (format: {found!r})", "a movie is opened with gpucells.open_movie"
        )
    version = int(file.attrs["version"])
    if version > VERSION:
        raise ResultFileError(
            f"{name} has layout version {version}; this gpucells reads up to {VERSION}", "install a newer gpucells"
        )


def _read(file: h5py.File) -> Cells:
    height, width = (int(n) for n in file.attrs["image_shape"])
    group = file["footprints"]
    n_cells, n_pixels = (int(n) for n in group.attrs["shape"])
    parts = tuple(group[part][:] for part in ("data", "indices", "indptr"))
    optional = {attribute: file[name][:] if name in file else None for name, attribute in _OPTIONAL.items()}
    return Cells(
        footprints=sparse.csr_array(parts, shape=(n_cells, n_pixels)),
        traces=file["traces"][:],
        image_shape=(height, width),
        f0=file["f0"][:],
        accepted=file["accepted"][:].astype(bool),
        rejection=tuple(str(text) for text in file["rejection"].asstr()[:]),
        quality=_read_group(file, "quality"),
        summary_images=_read_group(file, "summary_images"),
        frame_rate_hz=_optional_number(file, "frame_rate_hz"),
        pixel_size_um=_optional_number(file, "pixel_size_um"),
        method=_text(file.attrs["method"]),
        settings=json.loads(file["settings"].asstr()[()]) if "settings" in file else {},
        provenance=_read_provenance(file),
        **optional,
    )


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _read_group(file: h5py.File, name: str) -> dict[str, NDArray[np.float32]]:
    return {key: dataset[:] for key, dataset in file[name].items()} if name in file else {}


def _optional_number(file: h5py.File, name: str) -> float | None:
    return float(file.attrs[name]) if name in file.attrs else None


def _read_provenance(file: h5py.File) -> Provenance:
    return provenance_from(json.loads(file["provenance"].asstr()[()]) if "provenance" in file else {})


def provenance_from(values: dict[str, Any]) -> Provenance:
    """Return what was written as JSON; fields of a later version are left out, missing ones get their defaults."""
    known = {field.name for field in fields(Provenance)}
    stage_fields = {field.name for field in fields(StageCost)}
    kept = {key: value for key, value in values.items() if key in known}
    kept["stages"] = tuple(
        StageCost(**{key: value for key, value in stage.items() if key in stage_fields})
        for stage in kept.get("stages", ())
    )
    kept["warnings"] = tuple(kept.get("warnings", ()))
    return Provenance(**kept)
