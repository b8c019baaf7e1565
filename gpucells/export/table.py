"""A folder of CSV files: what a spreadsheet, R or a text editor reads.

====================  ===============================================================================================
``movie.json``        shape, number of cells and frames, frame rate, pixel size, method, settings, provenance
``cells.csv``         a row a cell, numbered from 0: ``accepted`` (0 or 1), ``rejection``, its centre (``row_px``,
                      ``column_px``; also in um where the pixel size is known), ``area_px`` (pixels above 0), ``f0``,
                      and each quality measure as ``quality_NAME``
``traces.csv``        as measured: a row a frame, a column a cell; the first column is ``time_s`` where the frame
                      rate is known, else ``frame``. Also ``dff.csv``, ``denoised.csv``, ``spikes.csv`` where the
                      result has them
``footprints.csv``    ``cell``, ``row``, ``column``, ``weight``: every weight, one cell after another
====================  ===============================================================================================

Numbers have nine significant digits, with which every float32 comes back as it was; NaN is an empty field. Background
and summary images are left out. :mod:`gpucells.io.table_folder` reads it.
"""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy import sparse

from gpucells.export.values import Kind, blocks, has, trace_block
from gpucells.io.atomic_folder import folder_written_atomically
from gpucells.io.cells_file import as_json
from gpucells.io.table_folder import FORMAT, VERSION, recognises
from gpucells.model.cells import Cells
from gpucells.progress import Event, ProgressSink
from gpucells.settings import Settings

KINDS: tuple[Kind, ...] = ("traces", "dff", "denoised", "spikes")


class Options(Settings):
    """A table has none."""


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
        Whether an existing table may be replaced.
    progress : ProgressSink
        Told of every block of frames.

    Raises
    ------
    ResultFileError
        See :func:`gpucells.io.atomic_folder.folder_written_atomically`.
    InputError
        A setting is of a type that JSON does not have.
    """
    with folder_written_atomically(path, overwrite, recognises) as folder:
        (folder / "movie.json").write_text(as_json(_facts(cells)), encoding="utf-8")
        with (folder / "cells.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(_cell_rows(cells))
        with (folder / "footprints.csv").open("w", encoding="ascii", newline="") as file:
            _write_footprints(file, cells)
        for kind in (kind for kind in KINDS if has(cells, kind)):
            with (folder / f"{kind}.csv").open("w", encoding="ascii", newline="") as file:
                _write_traces(file, cells, kind, progress)


def _facts(cells: Cells) -> dict[str, Any]:
    return {
        "format": FORMAT,  # the first entry: so the folder is known without reading on
        "version": VERSION,
        "height": cells.image_shape[0],
        "width": cells.image_shape[1],
        "n_cells": cells.n_cells,
        "n_frames": cells.n_frames,
        "frame_rate_hz": cells.frame_rate_hz,
        "pixel_size_um": cells.pixel_size_um,
        "method": cells.method,
        "settings": cells.settings,
        "provenance": asdict(cells.provenance),
    }


def _cell_rows(cells: Cells) -> list[list[Any]]:
    centres = cells.centroids()
    numbers: dict[str, Any] = {"row_px": centres[:, 0], "column_px": centres[:, 1]}
    if cells.pixel_size_um is not None:
        numbers |= {"row_um": centres[:, 0] * cells.pixel_size_um, "column_um": centres[:, 1] * cells.pixel_size_um}
    counted = sparse.csr_array(cells.footprints > 0)
    numbers |= {"area_px": np.diff(counted.indptr), "f0": cells.f0}
    numbers |= {f"quality_{name}": column for name, column in cells.quality.items()}
    rows: list[list[Any]] = [["cell", "accepted", "rejection", *numbers]]
    for k in range(cells.n_cells):
        values = [_number(float(column[k])) for column in numbers.values()]
        rows.append([k, int(cells.accepted[k]), cells.rejection[k], *values])
    return rows


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.9g}"


def _write_footprints(file: IO[str], cells: Cells) -> None:
    file.write("cell,row,column,weight\n")
    footprints = sparse.csr_array(cells.footprints)
    for some in blocks(len(footprints.data), 512):  # a weight is some hundred bytes as Python's numbers and text
        cell = np.searchsorted(footprints.indptr, np.arange(some.start, some.stop), side="right") - 1
        row, column = np.divmod(footprints.indices[some], cells.image_shape[1])
        columns = (part.tolist() for part in (cell, row, column, footprints.data[some]))
        file.writelines("%d,%d,%d,%.9g\n" % entry for entry in zip(*columns, strict=True))  # noqa: UP031 - faster


def _write_traces(file: IO[str], cells: Cells, kind: Kind, progress: ProgressSink) -> None:
    """Write block by block of frames: a row of the file is a column of the array."""
    rate = cells.frame_rate_hz
    file.write(",".join(["frame" if rate is None else "time_s", *(f"cell_{k}" for k in range(cells.n_cells))]) + "\n")
    form = ",%.9g" * cells.n_cells + "\n"  # one % for a whole row: several times as fast as a call for each value
    for frames in blocks(cells.n_frames, 4 * cells.n_cells):
        rows = np.ascontiguousarray(trace_block(cells, kind, slice(None), frames).T)
        for t, row in enumerate(rows, frames.start):
            text = form % tuple(row.tolist())
            file.write(str(t) if rate is None else f"{t / rate:.9g}")
            file.write(text.replace("nan", "") if "nan" in text else text)
        progress(Event(f"write {kind}", frames.stop, cells.n_frames, "frames"))
