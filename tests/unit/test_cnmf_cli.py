"""CNMF from the command line, and its results on disk: nothing is lost on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpucells.cli import main
from gpucells.io.cells_file import load_cells, save_cells
from gpucells.methods.registry import METHOD_NAMES

SIMULATE = "simulate movie.h5 --n-frames 300 --height 48 --width 56 --n-cells 7 --seed 3 --set snr=10".split()
EXTRACT = "extract movie.h5 --method cnmf --cell-diameter-px 8 --progress none".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated movie and CNMF's cells of it."""
    path = tmp_path_factory.mktemp("cnmf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert main([*SIMULATE, "--set", "cell_diameter_px=8"]) == 0
        assert main([*EXTRACT, "-o", "out.h5"]) == 0
    return path


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_info_of_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "out.h5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["method"], facts["n_frames"]) == ("cells", "cnmf", 300)
    assert facts["n_accepted"] >= 6
    assert {"snr", "ar_1", "event_correlation"} <= set(facts["quality"])
    assert main(["info", "out.h5"]) == 0
    assert re.search(r"method +cnmf", capsys.readouterr().out)


def test_compare_with_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "out.h5", "movie.h5", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["recall"] == 1
    assert scores["f1"] > 0.85


def test_report_draws_page_and_picture(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    assert main(["report", "out.h5", "-o", str(page), "-o", str(picture), "--truth", "movie.h5"]) == 0
    assert "cnmf" in page.read_text(encoding="utf-8").lower()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_saved_and_loaded_it_has_every_part(tmp_path: Path) -> None:
    cells = load_cells("out.h5")
    save_cells(cells, tmp_path / "again.h5")
    again = load_cells(tmp_path / "again.h5")
    for name in ("traces", "denoised", "spikes", "background_images", "background_traces", "accepted"):
        assert getattr(cells, name) is not None, name
        np.testing.assert_array_equal(getattr(again, name), getattr(cells, name), err_msg=name)
    assert cells.denoised.shape == cells.spikes.shape == (cells.n_cells, 300)
    assert cells.background_images.shape[1:] == (48, 56)
    assert again.settings["cnmf"] == cells.settings["cnmf"]
    assert again.settings["cnmf"]["n_cells"] == "auto"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--set", "init=sparse_nmf"], "n_cells = 'auto'", "set n_cells"),
        (["--set", "n_cell=3"], "unknown setting 'n_cell'", "n_cells"),
        (["--set", "n_cells=-3"], "n_cells = -3", "auto"),
        (["--set", "ar_order=5"], "ar_order = 5", "calcium response"),
    ],
)
def test_wrong_settings_are_two_lines(
    words: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*EXTRACT, "-o", "no.h5", *words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "hint"))]
    assert message in error[0]
    assert hint in error[1]
    assert not Path("no.h5").exists()


def test_settings_reach_the_run(tmp_path: Path) -> None:
    Path(tmp_path / "s.toml").write_text("[cnmf]\nn_cells = 2\nar_order = 2\n", encoding="utf-8")
    words = [*EXTRACT, "-o", str(tmp_path / "few.h5"), "--settings", str(tmp_path / "s.toml"), "--set", "max_iter=2"]
    assert main(words) == 0
    cells: Any = load_cells(tmp_path / "few.h5")
    assert cells.accepted.sum() == 2
    assert {name: cells.settings["cnmf"][name] for name in ("n_cells", "ar_order", "max_iter")} == {
        "n_cells": 2, "ar_order": 2, "max_iter": 2,
    }  # fmt: skip
    assert "ar_2" in cells.quality


def test_known_cells_on_the_same_movie(tmp_path: Path) -> None:
    assert main([*EXTRACT, "-o", str(tmp_path / "held.h5"), "--footprints", "out.h5"]) == 0
    held, known = load_cells(tmp_path / "held.h5"), load_cells("out.h5").accepted_only()
    np.testing.assert_allclose(held.footprints.toarray(), known.footprints.toarray(), atol=1e-6)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(held.traces, known.traces, strict=True)]
    assert np.median(r) > 0.98


def test_what_would_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EXTRACT, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "CNMF (Pnevmatikakis et al. 2016) on cpu" in out
    assert "three passes" in out


def test_help_names_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in METHOD_NAMES)
