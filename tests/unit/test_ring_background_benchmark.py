"""The benchmark of CNMF-E's background: its formula beside a plain loop, and errors that tell right from wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from gpucells.io.truth_file import save_truth
from gpucells.model.truth import Truth

SMALL = {"shape": (200, 40, 44), "n_cells": 4, "cell_diameter_px": 5.0, "vessels": 0}


@pytest.fixture(scope="module")
def script(repository: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import ring_background as module

        yield module
    finally:
        sys.path.remove(str(repository / "benchmarks"))


@pytest.fixture(scope="module")
def case(script: ModuleType) -> Any:
    return script.simulated(seed=0, **SMALL)


def test_rings_are_those_of_the_paper(script: ModuleType) -> None:
    offsets = script.formula_offsets(4.7)  # gSig 3, gSiz 13: r = 9 averaged pixels
    distance = np.hypot(*offsets.T)
    assert ((distance > 9) & (distance <= 10)).all()
    assert 48 <= len(offsets) <= 72


def test_the_formula_is_that_of_each_pixel(script: ModuleType, case: Any) -> None:
    told = script.ring_formula(case.movie, case.footprints, case.traces, case.shape, case.radius_px)
    height, width = case.shape
    left = (case.movie - case.footprints.T @ case.traces).astype(np.float64).reshape(height, width, -1)
    mean = left.mean(axis=2, keepdims=True)
    small = (left - mean).reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
    for row, column in ((0, 0), (19, 23), (39, 43)):
        near = [(row // 2 + y, column // 2 + x) for y, x in script.formula_offsets(case.radius_px)]
        ring = np.array([small[y, x] for y, x in near if 0 <= y < height // 2 and 0 <= x < width // 2])
        gram = ring @ ring.T
        weights = np.linalg.solve(gram + 1e-5 * np.trace(gram) * np.eye(len(gram)), ring @ small[row // 2, column // 2])
        np.testing.assert_allclose(told[row * width + column], mean[row, column] + weights @ ring, rtol=1e-6)


def test_errors_are_0_for_the_truth_and_1_for_nothing(script: ModuleType, case: Any) -> None:
    fluctuating = case.background - case.background.mean(axis=1, keepdims=True)
    bright = np.arange(len(fluctuating)) % 2 == 0
    assert script._relative(case.background, fluctuating, bright)["cells"] == pytest.approx(0, abs=1e-5)
    nothing = np.zeros_like(fluctuating)
    assert script._relative(nothing, fluctuating, bright) == {"everywhere": 1, "cells": 1}


@pytest.mark.parametrize("traces", ["true", "solved"])
def test_every_estimate_is_near_a_background_that_shows(script: ModuleType, case: Any, traces: str) -> None:
    strong = replace(case, movie=case.movie + 9 * (case.background - case.background.mean(axis=1, keepdims=True)))
    strong = replace(strong, background=10 * case.background)
    found = script.errors(strong, traces)
    assert list(found) == [*script.OURS, "CaImAn's formula"]
    for name, row in found.items():
        assert row["everywhere"] < 0.3, name
        assert row["cells"] < 0.3, name


def test_files_with_a_background_beside_them_are_taken(
    script: ModuleType, case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, n_cells = case.movie.T.reshape(-1, *case.shape), len(case.traces)
    measures = np.ones(n_cells, np.float32), np.zeros(n_cells, np.float32), np.zeros(n_cells, bool)
    truth = Truth(case.footprints, case.traces, case.shape, np.zeros_like(case.traces), *measures)
    for name in ("with", "without"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["movie"] = frames.astype(np.uint16)
            file.attrs["cell_diameter_px"] = 2 * case.radius_px
        save_truth(tmp_path / f"{name}.h5", truth)
    np.save(tmp_path / "with.background.npy", case.background.T.reshape(-1, *case.shape))
    output = tmp_path / "table.json"
    given = [str(tmp_path), "--seeds", "0", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["ring_background.py", *given])
    assert script.main() == 0
    table = output.with_suffix(".md").read_text()
    assert "| with |" in table
    assert "without" not in table
    read = script.stored(tmp_path / "with.h5")
    np.testing.assert_array_equal(read.movie, case.movie)
    np.testing.assert_allclose(read.background, case.background)
