"""``gpucells estimate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpucells.cli import main
from gpucells.cli.estimate import beside


@pytest.fixture
def movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    words = (
        "simulate movie.h5 --kind one_photon --n-frames 200 --height 56 --width 60 --seed 4 --set cell_diameter_px=8"
    )
    assert main(words.split()) == 0
    capsys.readouterr()
    return tmp_path / "movie.h5"


def test_it_prints_numbers_with_reasons_and_draws_beside_the_movie(
    movie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", str(movie), "--preset", "one_photon", "--progress", "json"]) == 0
    shown = capsys.readouterr()
    for name in ("cell diameter", "transient decay", "frames to average", "min_corr", "min_pnr", "seeds"):
        assert name in shown.out
    assert "bright spots" in shown.out
    assert '"stage": "estimate"' in shown.err
    assert (movie.parent / "movie.estimate.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["estimate", str(movie)]) != 0  # it is there already
    assert "exists" in capsys.readouterr().err


def test_json(movie: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--json", "-o", "a.png", "--min-corr", "0.6", "--min-pnr", "5", "--cell-diameter-px", "10"]
    assert main(["estimate", str(movie), *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["min_corr"], facts["min_pnr"], facts["cell_diameter_px"]) == (0.6, 5.0, 10.0)
    assert facts["n_seeds"] == len(facts["seeds"])
    assert facts["picture"] == "a.png"
    assert Path("a.png").is_file()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nothing.h5"], "nothing.h5"),
        (["movie.h5", "-o", "a.pdf"], ".png"),
        (["movie.h5", "-o", "no/a.png"], "no folder"),
        (["movie.h5", "--min-corr", "2"], "min-corr"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str], complaint: str, movie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *words]) != 0
    assert complaint in capsys.readouterr().err
    assert not list(movie.parent.glob("*.png"))


def test_the_picture_lies_beside_files_and_folders(tmp_path: Path) -> None:
    assert beside(Path("a/b.tif")) == Path("a/b.estimate.png")
    (tmp_path / "run.1").mkdir()
    assert beside(tmp_path / "run.1") == tmp_path / "run.1.estimate.png"
