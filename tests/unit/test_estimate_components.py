"""``gpucells estimate --method pcaica``: what it counts, proposes, prints and draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gpucells
from gpucells.cli import main
from gpucells.tiles.estimate_components import proposed


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("movies") / "cells.npy"
    np.save(path, gpucells.simulate_movie(shape=(300, 64, 64), n_cells=9, cell_diameter_px=8.0, seed=3).movie)
    return path


def test_numbers_and_picture(movie: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", str(movie), "--method", "pcaica", "--cell-diameter-px", "8", "--frame-rate-hz", "10"]
    assert main([*words, "--json", "--progress", "none"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 8 <= told["n_cells"] <= 10
    ics, pcs = proposed(told["n_cells"], told["n_frames"])
    assert (told["n_ics"], told["n_pcs"]) == (list(ics), list(pcs))
    assert told["n_pcs_of_run"] > told["n_standing_out"] >= told["n_cells"]
    with Image.open(told["picture"]) as picture:
        assert picture.size == (1920, 696)
    assert main(words) == 1  # the picture is there
    assert main([*words, "--overwrite", "--progress", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("n_ics ")
    assert lines[-1].startswith("wrote ")


def test_more_components_than_frames_are_never_proposed() -> None:
    assert proposed(40, 2000) == ((60, 120), (60, 180))
    assert proposed(100, 200) == ((150, 199), (150, 199))
    assert proposed(0, 200) == ((1, 1), (1, 2))


def test_noise_has_no_cells_and_a_picture_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(0).normal(100, 5, (60, 24, 24)).astype(np.float32))
    words = ["estimate", str(path), "--method", "pcaica", "--cell-diameter-px", "6", "--frame-rate-hz", "10"]
    assert main([*words, "--progress", "none"]) == 0
    assert (tmp_path / "noise.estimate.png").exists()


def test_what_does_not_go_together(movie: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", str(movie), "--method", "extract", "-o", "x.png"]) == 2
    assert "pcaica" in capsys.readouterr().err
    assert main(["estimate", str(movie), "--method", "pcaica", "--min-corr", "0.5", "-o", "x.png"]) == 2
