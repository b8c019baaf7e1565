"""The verbs on real files: simulate, info, compare, report, devices, demo."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from gpucells.cli import demo as demo_verb
from gpucells.cli import main
from gpucells.io.cells_file import load_cells, save_cells
from gpucells.io.truth_file import load_truth
from gpucells.methods.registry import METHOD_NAMES, find_method
from gpucells.model.cells import Cells
from gpucells.model.truth import Truth

SIMULATE = (
    "simulate movie.h5 --n-frames 60 --height 40 --width 48 --n-cells 5 --set frame_rate_hz=12.5 --seed 4".split()
)


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Truth:
    monkeypatch.chdir(tmp_path)
    assert main(SIMULATE) == 0
    assert re.fullmatch(r"wrote movie\.h5 \(.*\): 60 frames of 40 x 48 px, 5 cells\n", capsys.readouterr().out)
    return load_truth("movie.h5")


def perfect(truth: Truth) -> Cells:
    peak = np.asarray(truth.footprints.max(axis=1).todense()).ravel()
    n_cells = truth.n_cells
    return Cells(
        footprints=sparse.csr_array(sparse.diags_array(1 / peak) @ truth.footprints, dtype=np.float32),
        traces=truth.traces,
        image_shape=truth.image_shape,
        f0=np.ones(n_cells, dtype=np.float32),
        accepted=np.ones(n_cells, dtype=bool),
        rejection=("",) * n_cells,
        summary_images={"mean": np.zeros(truth.image_shape, dtype=np.float32)},
        method="truth",
    )


def test_simulate_writes_what_was_asked_for(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    assert (truth.n_cells, truth.image_shape, truth.traces.shape[1]) == (5, (40, 48), 60)
    assert main(["info", "movie.h5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [facts[name] for name in ("kind", "n_frames", "height", "width")] == ["movie", 60, 40, 48]
    assert facts["frame_rate_hz"] == 12.5
    assert main(["info", "movie.h5"]) == 0
    assert re.search(r"n_bytes +230 kB", capsys.readouterr().out)


def test_simulate_keeps_what_exists(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("movie.h5").read_bytes()
    assert main([*SIMULATE, "--seed", "5"]) == 1
    assert "movie.h5 exists" in capsys.readouterr().err
    assert Path("movie.h5").read_bytes() == before
    assert main([*SIMULATE, "--seed", "5", "--overwrite"]) == 0
    assert Path("movie.h5").read_bytes() != before


def test_simulate_explains_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "movie.h5", "--set", "snrr=3"]) == 2
    assert capsys.readouterr().err == "error: unknown setting 'snrr'\nhint: did you mean 'snr'?\n"
    assert not list(tmp_path.iterdir())


def test_compare_with_the_truth_and_with_itself(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    save_cells(perfect(truth), "cells.h5")
    assert main(["compare", "cells.h5", "cells.h5", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["matched"], scores["precision"], scores["recall"]) == (5, 1, 1)
    assert main(["compare", "cells.h5", "movie.h5"]) == 0
    assert re.search(r"precision, recall, F1 +1\.000, 1\.000, 1\.000", capsys.readouterr().out)


def test_compare_needs_a_truth_or_a_result(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    save_cells(perfect(truth), "cells.h5")
    Path("notes.txt").write_text("not HDF5")
    assert main(["compare", "cells.h5", "notes.txt"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "notes.txt" in err


def test_report_draws_page_and_picture(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    save_cells(perfect(truth), "cells.h5")
    assert main("report cells.h5 -o page.html -o picture.png --truth movie.h5".split()) == 0
    assert capsys.readouterr().out == "wrote page.html\nwrote picture.png\n"
    assert "<html" in Path("page.html").read_text(encoding="utf-8").lower()
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    assert main("report cells.h5 -o page.html".split()) == 1
    assert "page.html exists" in capsys.readouterr().err


def test_devices_has_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "cpu"
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.startswith("cpu")


@pytest.mark.slow
def test_demo_finds_the_cells_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_verb, "SHAPE", (400, 64, 64))
    folder = tmp_path / "shown"
    assert main(["demo", "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    for named in (
        "cells found",
        "cells accepted",
        "precision, recall, F1",
        "trace correlation",
        "seconds",
        "peak memory",
    ):
        assert named in out
    assert {path.name for path in folder.iterdir()} == {"movie.h5", "cells.h5", "report.html", "report.png"}
    cells = load_cells(folder / "cells.h5")
    assert cells.accepted.sum() >= 0.8 * load_truth(folder / "movie.h5").n_cells
    assert main(["demo", "--folder", str(folder)]) == 0, "the demo may be run again"


def test_demo_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "--folder", str(tmp_path / "file")]) == 1
    assert "cannot make the folder" in capsys.readouterr().err


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_settings_of_a_method_are_listed(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", method, "--preset", "one_photon"]) == 0
    shown = capsys.readouterr().out
    chosen = find_method(method).settings("one_photon", {})
    for name, _, meaning in chosen.rows():
        assert f"{name} = " in shown
        assert meaning in shown
    if find_method(method).finds:  # else nothing differs between the presets
        assert "max_eccentricity = 3.0 (> 1)" in shown
    assert main(["settings", method, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_eccentricity"] == 6.0


def test_settings_of_no_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "cmnf"]) == 2
    assert "did you mean 'cnmf'?" in capsys.readouterr().err
