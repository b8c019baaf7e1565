"""The six trace options on the original EXTRACT's test movie: as good as it, and what they say they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy.io import loadmat

import gpucells
from gpucells.methods.extract.settings import TraceOption
from gpucells.model.cells import Cells

# The original's run with each option; small_out.mat is the one with no bound. It was not run with "none".
REFERENCE = {
    "baseline_adjusted": "out_baseline_adjusted.mat",
    "nonneg": "out_nonneg.mat",
    "no_constraint": "small_out.mat",
    "least_squares": "out_least_squares.mat",
    "nonnegative_least_squares": "out_nonnegative_least_squares.mat",
}


@pytest.fixture(scope="module")
def small(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = shared_data / "extract_reference"
    target = tmp_path_factory.mktemp("small") / "small.mat"
    subprocess.run([sys.executable, folder / "make_small.py", target], check=True)
    made = loadmat(target)
    return {
        "movie": np.ascontiguousarray(made["M"].transpose(2, 0, 1)),
        "footprints": made["S_ground"].T,
        "traces": made["T_ground"],
        "folder": folder,
    }


@pytest.fixture(scope="module")
def results(small: dict[str, Any]) -> dict[str, Cells]:
    return {
        option: gpucells.extract_cells(small["movie"], settings={"trace_output_option": option}).accepted_only()
        for option in get_args(TraceOption)
    }


def mean_correlation(small: dict[str, Any], footprints: Any, traces: Any) -> float:
    truth = small["footprints"]
    cosine = footprints @ truth.T / np.linalg.norm(footprints, axis=1)[:, None] / np.linalg.norm(truth, axis=1)
    assert cosine.max(axis=0).min() > 0.8
    partner = cosine.argmax(axis=0)
    return float(np.mean([np.corrcoef(traces[i], t)[0, 1] for i, t in zip(partner, small["traces"], strict=True)]))


@pytest.mark.parametrize("option", REFERENCE)
def test_no_worse_than_the_original(option: str, small: dict[str, Any], results: dict[str, Cells]) -> None:
    original = loadmat(small["folder"] / REFERENCE[option])
    images = original["spatial_weights"]
    images = images.transpose(2, 0, 1).reshape(images.shape[2], -1)  # pixels in C order, as the movie's
    theirs = mean_correlation(small, images, original["temporal_weights"].T)
    cells = results[option]
    assert cells.n_cells == 15
    assert mean_correlation(small, cells.footprints.toarray(), cells.traces) >= theirs - 0.002


def test_what_is_asked_of_the_defaults(small: dict[str, Any], results: dict[str, Cells]) -> None:
    for option, bar in (("baseline_adjusted", 0.985), ("nonneg", 0.98)):
        cells = results[option]
        assert mean_correlation(small, cells.footprints.toarray(), cells.traces) >= bar


def test_bounds(results: dict[str, Cells]) -> None:
    free = results["no_constraint"].traces
    assert (free.min(axis=1) < 0).all()
    for option in ("nonneg", "nonnegative_least_squares"):
        assert results[option].traces.min() == 0
    adjusted = results["baseline_adjusted"].traces
    bound = adjusted.min(axis=1)
    assert (bound <= 0).all()
    assert (bound > free.min(axis=1)).all()
    at_bound = np.isclose(adjusted, bound[:, None], atol=1e-6).mean(axis=1)
    assert at_bound.min() > 0.1  # a quarter of the frames, less what a neighbour takes up


def test_least_squares_options_solve_least_squares(small: dict[str, Any], results: dict[str, Cells]) -> None:
    """No background here but a constant: the residual is orthogonal to every footprint."""
    cells = results["least_squares"]
    movie = small["movie"].reshape(1000, -1)
    model = np.column_stack([cells.footprints.toarray().T, np.ones(movie.shape[1])])
    expected = np.linalg.lstsq(model, movie.T, rcond=None)[0][:-1]
    for ours, theirs in zip(cells.traces, expected, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_none_leaves_the_averaged_traces(small: dict[str, Any]) -> None:
    settings = {"trace_output_option": "none", "downsample_time_by": 4}
    bends = np.abs(np.diff(gpucells.extract_cells(small["movie"], settings=settings).traces, n=2, axis=1)) > 1e-5
    assert not bends[:, 2::4].any(), "straight lines between the middles of the averages, at 1.5, 5.5, ..."
    assert bends[:, 1::4].mean() > 0.9
