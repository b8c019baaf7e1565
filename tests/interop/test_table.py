"""The table: what a plain reader of CSV sees, exact text, damaged files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from reference.many_cells import many_cells

import gpucells
from gpucells.errors import ResultFileError
from gpucells.export.formats import export_cells

SHAPE = (20, 31)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_every_field_comes_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wide = (rng.standard_normal((4, 30)) * 10.0 ** rng.integers(-38, 38, (4, 30))).astype(np.float32)
    wide[0, :5] = np.nan, np.inf, -np.inf, np.finfo(np.float32).tiny / 4, -0.0
    wide[:, 7] = np.nan
    reasons = ("", "snr 1.2, below “3”\nby far", "größe", 'a "b"')
    cells = many_cells(4, 30, SHAPE, traces=wide, rejection=reasons, f0=np.array([1, np.nan, 0.1, 3e7], np.float32))
    export_cells(cells, tmp_path / "t", "table")
    found = gpucells.load_cells(tmp_path / "t")
    for name in ("traces", "denoised", "spikes", "f0"):
        np.testing.assert_array_equal(getattr(found, name), getattr(cells, name), name)
        assert getattr(found, name).dtype == np.float32
    for name in ("rejection", "settings", "frame_rate_hz", "pixel_size_um", "method", "provenance", "image_shape"):
        assert getattr(found, name) == getattr(cells, name), name
    assert list(found.quality) == list(cells.quality)
    for name, column in cells.quality.items():
        np.testing.assert_array_equal(found.quality[name], column)
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())


def test_what_a_reader_of_csv_sees(tmp_path: Path) -> None:
    cells = many_cells(3, 6, SHAPE)
    export_cells(cells, tmp_path / "t", "table")
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        "movie.json", "cells.csv", "traces.csv", "dff.csv", "denoised.csv", "spikes.csv", "footprints.csv"
    }  # fmt: skip
    head, *rows = rows_of(tmp_path / "t" / "cells.csv")
    table = {name: [row[k] for row in rows] for k, name in enumerate(head)}
    assert table["cell"] == ["0", "1", "2"]
    assert table["accepted"] == ["1", "1", "0"]
    np.testing.assert_allclose(np.array([table["row_px"], table["column_px"]], float).T, cells.centroids(), rtol=1e-8)
    np.testing.assert_allclose(np.array(table["row_um"], float), 2 * cells.centroids()[:, 0], rtol=1e-8)
    assert table["area_px"] == ["12"] * 3
    head, *rows = rows_of(tmp_path / "t" / "dff.csv")
    assert head == ["time_s", "cell_0", "cell_1", "cell_2"]
    assert [row[0] for row in rows] == ["0", "0.08", "0.16", "0.24", "0.32", "0.4"]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float).T, cells.dff, rtol=1e-7)
    assert [row[3] for row in rows_of(tmp_path / "t" / "spikes.csv")[1:]] == [""] * 6  # NaN of the rejected cell
    head, *rows = rows_of(tmp_path / "t" / "footprints.csv")
    cell, row, column, weight = np.array(rows, float).T
    np.testing.assert_array_equal(
        cells.images()[cell.astype(int), row.astype(int), column.astype(int)], weight.astype(np.float32)
    )
    export_cells(many_cells(1, 6, SHAPE, frame_rate_hz=None, spikes=None), tmp_path / "u", "table")
    assert rows_of(tmp_path / "u" / "traces.csv")[0][0] == "frame"
    assert not (tmp_path / "u" / "spikes.csv").exists()


def test_damaged_tables_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    export_cells(many_cells(3, 6, SHAPE), folder, "table")
    whole = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    lines = whole["traces.csv"].splitlines()
    facts = json.loads(whole["movie.json"])
    for name, text, message in (
        ("traces.csv", "\n".join(lines[:-1]) + "\n", "has not the 6 frames"),
        ("traces.csv", "\n".join([*lines, lines[-1]]) + "\n", "has not the 6 frames"),
        ("traces.csv", "\n".join([*lines[:-1], "0.4,1,2"]) + "\n", "not 4 numbers"),
        ("traces.csv", "\n".join([*lines[:-1], "0.4,1,x,3"]) + "\n", "not 4 numbers|cannot be read"),
        ("footprints.csv", "cell,row,column,weight\n9,1,1,1\n", "cannot be read as a table"),
        ("movie.json", json.dumps(facts | {"version": 9}), "layout version 9"),
        ("cells.csv", "cell\n0\n", "cannot be read as a table"),
    ):
        (folder / name).write_text(text, encoding="utf-8")
        with pytest.raises(ResultFileError, match=message):
            gpucells.load_cells(folder)
        (folder / name).write_text(whole[name], encoding="utf-8")
    for name in ("traces.csv", "cells.csv", "footprints.csv"):
        (folder / name).unlink()
        with pytest.raises(ResultFileError, match=f"lacks {name}"):
            gpucells.load_cells(folder)
        (folder / name).write_text(whole[name], encoding="utf-8")
    (folder / "traces.csv").write_bytes(whole["traces.csv"].replace("\n", "\r\n").encode())  # saved again on Windows
    assert gpucells.load_cells(folder).n_frames == 6
