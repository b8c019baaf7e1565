"""Scores on the movies of ``shared/data``, with the preset alone; what was measured last is beside each floor."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

import gpucells
from gpucells.postprocess.match import compare

# movie: F1, trace correlation (median), cross-talk (a ceiling)
FLOORS = {
    "sim_2p_sparse": (0.98, 0.985, 0.05),  # 1, .996, .040
    "sim_2p_crowded": (0.98, 0.97, 0.15),  # .997, .984, .128
    "sim_2p_rings": (0.95, 0.92, 0.20),  # .983, .944, .155
    "sim_1p_clean": (0.96, 0.98, 0.15),  # 1, .992, .122
    "sim_1p_background": (0.82, 0.98, 0.04),  # .875, .995, .012
    "sim_1p_real_background": (0.90, 0.95, 0.05),  # .939, .966, .029
    "sim_1p_full": (0.60, 0.75, 0.25),  # .708, .817, .183
}
# movie: fewest and most accepted cells; nobody knows the true ones, but neither none nor hundreds is right
REAL = {
    "real_2p_tiny": (10, 60),  # 33
    "real_2p_mouse_small": (10, 80),  # 41
    "real_1p_pfc_tiny": (5, 40),  # 22
    "real_1p_ca1": (30, 160),  # 77
}


def preset_of(name: str) -> str:
    return "two_photon" if "_2p_" in name else "one_photon"


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOORS)
def test_simulated(shared_data: Path, name: str) -> None:
    path = shared_data / f"{name}.h5"
    scores = compare(gpucells.extract_cells(path, preset=preset_of(name)), path)
    f1, correlation, crosstalk = FLOORS[name]
    assert scores.f1 >= f1
    assert scores.trace_r_median >= correlation
    assert scores.crosstalk <= crosstalk


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real(shared_data: Path, name: str) -> None:
    cells = gpucells.extract_cells(shared_data / f"{name}.h5", preset=preset_of(name))
    fewest, most = REAL[name]
    assert fewest <= int(cells.accepted.sum()) <= most
    assert np.isfinite(cells.traces).all()
    assert np.isfinite(cells.f0[cells.accepted]).all()
    assert all(cells.rejection[i] for i in np.flatnonzero(~cells.accepted))


@pytest.fixture(scope="module")
def reference_movie(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The movie that the original was run on, made by the script beside its results."""
    target = tmp_path_factory.mktemp("reference") / "small.mat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make_small.py", str(target)])
        runpy.run_path(str(shared_data / "extract_reference" / "make_small.py"))
    return scipy.io.loadmat(target)


@pytest.mark.parametrize(("option", "correlation"), [("baseline_adjusted", 0.985), ("nonneg", 0.98)])  # .9921, .9894
def test_movie_of_the_original(reference_movie: dict[str, Any], option: str, correlation: float) -> None:
    movie = np.ascontiguousarray(reference_movie["M"].transpose(2, 0, 1))
    cells = gpucells.extract_cells(movie, settings={"trace_output_option": option}).accepted_only()
    truth, traces = reference_movie["S_ground"].T, reference_movie["T_ground"]
    found = cells.footprints.toarray()
    cosine = found @ truth.T / np.linalg.norm(found, axis=1)[:, None] / np.linalg.norm(truth, axis=1)
    partner = cosine.argmax(axis=1)
    np.testing.assert_array_equal(np.sort(partner), np.arange(15))  # every cell once: precision = recall = 1
    assert cosine.max(axis=1).min() > 0.95  # .968
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(cells.traces, traces[partner], strict=True)]) >= correlation
