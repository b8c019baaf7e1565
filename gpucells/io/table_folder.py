"""The folder of CSV files that ``gpucells export --to table`` writes, read back."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.errors import ResultFileError
from gpucells.io.cells_file import provenance_from
from gpucells.model.cells import Cells

FORMAT = "gpucells.table"
VERSION = 1  # raised where an older reader would misread the folder
_BLOCK_BYTES = 4 << 20  # of text at a time: as numbers and in between, it is some ten times that


def recognises(path: Path) -> bool:
    """Say whether a path is such a folder, by the first bytes of its ``movie.json``."""
    try:
        with (path / "movie.json").open("rb") as file:
            return FORMAT.encode() in file.read(64)
    except OSError:
        return False


def read(path: Path) -> Cells:
    """Read the folder.

    Parameters
    ----------
    path : Path
        What :func:`recognises`.

    Returns
    -------
    Cells
        Equal to what was written, but for the background and the summary images, which a table does not have.

    Raises
    ------
    ResultFileError
        A file is missing or damaged, or was written by a newer layout.
    """
    try:
        facts = json.loads((path / "movie.json").read_text(encoding="utf-8"))
        if facts["version"] > VERSION:
            raise ResultFileError(
                f"{path} has layout version {facts['version']}; this gpucells reads up to {VERSION}",
                "install a newer gpucells",
            )
        return _read(path, facts)
    except ResultFileError:
        raise
    except FileNotFoundError as error:
        raise ResultFileError(f"{path} lacks {Path(error.filename).name}", "copy the whole folder again") from None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ResultFileError(f"{path} cannot be read as a table of cells: {error!r}", "copy it again") from error


def _read(path: Path, facts: dict[str, Any]) -> Cells:
    n_cells, n_frames = int(facts["n_cells"]), int(facts["n_frames"])
    shape = int(facts["height"]), int(facts["width"])
    with (path / "cells.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    optional: dict[str, Any] = {
        kind: _read_traces(path / f"{kind}.csv", n_cells, n_frames)
        for kind in ("denoised", "spikes")
        if (path / f"{kind}.csv").exists()
    }
    names = [name for name in reader.fieldnames or () if name.startswith("quality_")]
    return Cells(
        footprints=_read_footprints(path / "footprints.csv", n_cells, shape),
        traces=_read_traces(path / "traces.csv", n_cells, n_frames),
        image_shape=shape,
        f0=_column(rows, "f0"),
        accepted=np.array([row["accepted"] == "1" for row in rows], bool),
        rejection=tuple(row["rejection"] for row in rows),
        quality={name.removeprefix("quality_"): _column(rows, name) for name in names},
        frame_rate_hz=facts["frame_rate_hz"],
        pixel_size_um=facts["pixel_size_um"],
        method=facts["method"],
        settings=facts["settings"],
        provenance=provenance_from(facts["provenance"]),
        **optional,
    )


def _column(rows: list[dict[str, str]], name: str) -> NDArray[np.float32]:
    return np.array([row[name] or "nan" for row in rows]).astype(np.float32)


def _read_footprints(path: Path, n_cells: int, shape: tuple[int, int]) -> sparse.csr_array:
    with path.open("rb") as file:
        file.readline()
        parts = [np.zeros((0, 4)), *(_numbers(text, 4, path) for text in _texts(file))]
    cell, row, column, weight = np.concatenate(parts).T
    where = cell.astype(np.int64), (row * shape[1] + column).astype(np.int64)
    return sparse.csr_array((weight.astype(np.float32), where), shape=(n_cells, shape[0] * shape[1]))


def _read_traces(path: Path, n_cells: int, n_frames: int) -> NDArray[np.float32]:
    traces = np.empty((n_cells, n_frames), np.float32)
    done = 0
    with path.open("rb") as file:
        file.readline()
        for text in _texts(file):
            rows = _numbers(text, n_cells + 1, path)
            if done + len(rows) > n_frames:
                break
            traces[:, done : done + len(rows)] = rows[:, 1:].T
            done += len(rows)
    if done != n_frames:
        raise ResultFileError(f"{path} has not the {n_frames} frames that movie.json says", "copy it again")
    return traces


def _texts(file: IO[bytes]) -> Any:
    """Give the rest of a file in whole lines."""
    while lines := file.readlines(_BLOCK_BYTES):
        yield b"".join(lines)


def _numbers(text: bytes, n_columns: int, path: Path) -> NDArray[np.float64]:
    """Read lines of numbers, all of one length; an empty field is NaN."""
    flat = text.replace(b"\r", b"").rstrip(b"\n").replace(b"\n", b",")
    for _ in range(2):  # twice, as a comma between two empty fields belongs to both
        flat = flat.replace(b",,", b",nan,")
    flat += b"nan" if flat.endswith(b",") else b""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's word for text that is no number; counted below
        values = np.fromstring(flat.decode("ascii"), np.float64, sep=",")
    n_lines = text.rstrip(b"\r\n").count(b"\n") + 1
    if values.size != n_lines * n_columns:
        raise ResultFileError(f"{path} has lines that are not {n_columns} numbers", "it is damaged: copy it again")
    return values.reshape(-1, n_columns)
