"""The page on the drop-in for CaImAn: its tables are the code's, its example runs, the script of a user too."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gpucells
from gpucells.compat.caiman.parameter_table import table
from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates
from gpucells.compat.told_once import NotHonoured
from gpucells.postprocess.match import compare


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "compat" / "caiman.md").read_text(encoding="utf-8")


def rows_of(page: str, title: str) -> list[list[str]]:
    section = re.split(r"^## ", page.split(f"\n## {title}\n", 1)[1], flags=re.MULTILINE)[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def test_the_table_of_parameters_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- parameters -->\n(.*?)<!-- end of parameters -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == table(), "replace it by what gpucells.compat.caiman.parameter_table.table() returns"


def test_names_that_the_page_lists_exist(page: str) -> None:
    for module, names in rows_of(page, "What is there"):
        found = importlib.import_module(f"gpucells.compat.caiman.{module.strip('`')}")
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(found, name) or hasattr(found.CNMF, name), (module, name)
    attributes = [name for row in rows_of(page, "Estimates") for name in re.findall(r"`(\w+)`", row[0])]
    assert len(attributes) > 20
    assert all(hasattr(Estimates(), name) for name in attributes)


def test_the_example_finds_cells(page: str) -> None:
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    movie = gpucells.simulate_movie("two_photon", shape=(300, 64, 64), seed=0).movie
    names: dict[str, object] = {"images": np.asarray(movie)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotHonoured)
        exec(compile(code[1], "caiman.md", "exec"), names)
    assert len(names["cnm"].estimates.idx_components) > 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["two_photon", "one_photon"])
def test_a_users_script_runs_but_for_its_imports(
    kind: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.syspath_prepend(str(repository / "benchmarks" / "peers"))
    sys.modules.pop("caiman_script", None)
    script = importlib.import_module("caiman_script")
    made = gpucells.simulate_movie(kind, shape=(400, 96, 110), n_cells=30, cell_diameter_px=9, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotHonoured)
        script.analyse(np.asarray(made.movie, np.float32), kind, str(tmp_path))
    assert "components" in capsys.readouterr().out
    scores = compare(tmp_path / "analysis_results.hdf5", made.truth)
    assert scores.truth >= 10
    assert scores.f1 > 0.85
