"""The pages of the drop-ins: their tables are the code's, and their examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import pytest
import tifffile

import gpucells
from gpucells.compat import cellsort, ciatah
from gpucells.compat.extract import CONFIG, THRESHOLDS

TABLES: dict[str, dict[str, Any]] = {
    "extract": {"CONFIG": CONFIG, "THRESHOLDS": THRESHOLDS},
    "cellsort": {f"TABLES[{name!r}]": table for name, table in cellsort.TABLES.items()},
    "ciatah": {f"TABLES[{name!r}]": table for name, table in ciatah.TABLES.items()},
}


def text_of(repository: Path, name: str) -> str:
    return (repository / "docs" / "compat" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_the_codes(repository: Path, page: str) -> None:
    pattern = r"<!-- table: made by (.*?)\.markdown\(\).*?-->\n(.*?)\n?<!-- end of table -->"
    written = dict(re.findall(pattern, text_of(repository, page), re.DOTALL))
    assert list(written) == list(TABLES[page])
    for name, table in TABLES[page].items():
        assert written[name] == table.markdown(), f"replace the table {name} by what its markdown() returns"


@pytest.mark.parametrize("page", TABLES)
def test_the_example_runs(repository: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", text_of(repository, page), re.DOTALL)
    assert code is not None
    assert len([line for line in code[1].splitlines() if line and not line.startswith("from")]) <= 3
    movie = gpucells.simulate_movie("two_photon", shape=(240, 40, 56), seed=1).movie
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("movie.tif", movie, photometric="minisblack")
    folder = Path("2014_04_01_p203_m19_check01")
    folder.mkdir()
    for path in (Path("movie.h5"), folder / "concat.h5"):
        with h5py.File(path, "w") as file:
            file["1"] = movie.transpose(0, 2, 1)
    names: dict[str, Any] = {}
    exec(code[1], names)
    if page == "ciatah":
        assert [row.status for row in names["done"]] == ["done", "done"]
    else:
        found = names["output"].spatial_weights.shape[2] if page == "extract" else len(names["ica_sig"])
        assert found > 1
