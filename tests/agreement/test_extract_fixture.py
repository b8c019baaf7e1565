"""Every array that the original EXTRACT returns on the contaminated fixture, against ours.

``fix_in.mat`` has 400 pixels x 300 frames x 6 cells + 2 hidden contaminants; ``fix_out.mat`` what the original's
functions return on it, in single precision. The bar is a relative error of 1e-3; ours are at most 2e-5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.one_factor import fit, fit_adaptively
from scipy import sparse
from scipy.io import loadmat

from gpucells.methods.extract.admm import robust_loss, solve_admm
from gpucells.ops.contamination import estimate_epsilon, k_from_epsilon
from gpucells.ops.footprint_shape import footprint_shape
from gpucells.ops.noise import noise_std
from gpucells.ops.trace_quality import temporal_corruption, trace_snr
from gpucells.preprocess.spatial_filter import SpatialFilter

BAR = 1e-3
REACHED = 1e-5  # what was measured is 2e-6 or less; a looser agreement means that something changed

SOLVERS: dict[str, dict[str, Any]] = {
    "T_fp": {"constraint": "none"},
    "T_admm": {},
    "T_adaptive": {"adaptive": "components"},
    "T_raw": {"adaptive": "components", "constraint": "none"},
    "T_base": {"adaptive": "components", "constraint": "baseline"},
    "T_admmbase": {"constraint": "baseline"},
    "T_filter": {"adaptive": "rows"},
}


class Fixture:
    """The arrays with frames as rows, and what the original made of them."""

    def __init__(self, folder: Path) -> None:
        given = loadmat(folder / "fix_in.mat")
        self.wanted = {k: v for k, v in loadmat(folder / "fix_out.mat").items() if not k.startswith("__")}
        self.movie, self.footprints = given["M"], given["S"]
        self.kappa, self.noise = float(given["kappa"].item()), float(given["noise"].item())
        self.truth = given["T_true"]
        self.problem = (self.movie.T.copy(), self.footprints.T.copy(), given["T0"].T.copy(), self.kappa)

    def error(self, name: str, ours: Any) -> float:
        wanted = self.wanted[name].astype(float)
        return float(np.linalg.norm(np.reshape(ours, wanted.shape) - wanted) / np.linalg.norm(wanted))


@pytest.fixture(scope="module")
def fixture(shared_data: Path) -> Fixture:
    folder = shared_data / "extract_reference"
    if not folder.is_dir():
        pytest.skip("shared/data has no extract_reference")
    return Fixture(folder)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver(fixture: Fixture, name: str) -> None:
    found = solve_admm(*fixture.problem, stop_early=False, **SOLVERS[name])
    assert found.coefficients.dtype == np.float32
    assert found.n_iterations == 100
    assert fixture.error(name, found.coefficients) < REACHED


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_that_stops_early(fixture: Fixture, name: str) -> None:
    found = solve_admm(*fixture.problem, **SOLVERS[name])
    assert fixture.error(name, found.coefficients) < BAR


def test_losses_of_admm(fixture: Fixture) -> None:
    found = solve_admm(*fixture.problem, stop_early=False, track_loss=True)
    assert fixture.error("loss_admm", found.losses) < 1e-4  # 2.1e-5: the original sums in single precision


def test_losses_of_fixed_point(fixture: Fixture) -> None:
    """The original records the loss before each step, we after it."""
    found = solve_admm(*fixture.problem, stop_early=False, track_loss=True, constraint="none")
    data, components, start, kappa = fixture.problem
    first = robust_loss(data - start @ components, kappa)
    assert fixture.error("loss_fp", [first, *found.losses[:-1]]) < 1e-4


def test_one_factor(fixture: Fixture) -> None:
    assert fixture.error("x_fixed", fit(fixture.movie, fixture.footprints[:, 0], fixture.kappa)) < REACHED


def test_one_factor_with_adaptive_kappa(fixture: Fixture) -> None:
    found = fit_adaptively(fixture.movie, fixture.footprints[:, 0], fixture.noise, "fit")
    assert fixture.error("x_adapt", found) < REACHED


def test_one_factor_with_the_exact_relation_is_no_worse(fixture: Fixture) -> None:
    def correlation(trace: Any) -> float:
        return float(np.corrcoef(np.ravel(trace), fixture.truth[0])[0, 1])

    found = fit_adaptively(fixture.movie, fixture.footprints[:, 0], fixture.noise)
    assert correlation(found) >= correlation(fixture.wanted["x_adapt"])


def test_noise(fixture: Fixture) -> None:
    assert fixture.error("noise_px", noise_std(fixture.movie)) < REACHED


def test_contamination(fixture: Fixture) -> None:
    fraction, k = fixture.wanted["dgrid"], fixture.wanted["kgrid"].T
    epsilon = estimate_epsilon(fraction, k)
    assert fixture.error("epsmap", epsilon) < REACHED
    assert fixture.error("kapmap", k_from_epsilon(epsilon, "fit")) < REACHED


def test_footprint_measures(fixture: Fixture) -> None:
    # The fixture's pixels are in MATLAB's order.
    images = np.ascontiguousarray(fixture.footprints.reshape(20, 20, 6, order="F").transpose(2, 0, 1))
    shape = footprint_shape(sparse.csr_array(images.reshape(6, 400)), (20, 20))
    assert fixture.error("spat", shape.corruption) < REACHED
    assert fixture.error("ecc", shape.eccentricity) < REACHED
    assert fixture.error("circ", shape.circularity) < REACHED


def test_trace_measures(fixture: Fixture) -> None:
    traces = np.ascontiguousarray(fixture.wanted["T_admm"].T)
    assert fixture.error("tsnr", trace_snr(traces)) < REACHED
    assert fixture.error("tcor", temporal_corruption(traces)) < REACHED


def test_spatial_filter(fixture: Fixture) -> None:
    frames = fixture.movie.reshape(20, 20, 300, order="F").transpose(2, 0, 1)
    band_pass = SpatialFilter(20, 20, radius_px=3, highpass_cutoff=5, lowpass_cutoff=2, edges="power_of_two")
    assert fixture.error("bp", band_pass.apply(frames).transpose(1, 2, 0)) < REACHED


def test_every_array_is_compared(fixture: Fixture) -> None:
    compared = {*SOLVERS, "loss_admm", "loss_fp", "x_fixed", "x_adapt", "noise_px", "epsmap", "kapmap"}
    compared |= {"spat", "circ", "ecc", "tsnr", "tcor", "bp"}
    assert set(fixture.wanted) - compared == {"dgrid", "kgrid"}  # the grid that epsmap and kapmap are on
