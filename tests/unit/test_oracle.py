"""The benchmark's oracle: on small simulated movies, what knows more is better, and nothing perturbed beats it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, sparse

import gpucells
from gpucells.io.cells_file import save_cells
from gpucells.model.cells import Cells
from gpucells.model.truth import Truth

SHAPE = (30, 30)
T = 400


@pytest.fixture(scope="module")
def oracle(repository: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import oracle as module

        yield module
    finally:
        sys.path.remove(str(repository / "benchmarks"))


def scene(background: float = 0.0, shared: float = 0.0, gain: float = 1.0, seed: int = 0) -> tuple[Any, Truth, Any]:
    """Six cells, two of them overlapping; a background that breathes; slow noise that neighbours share."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = [(7, 7), (7, 20), (15, 14), (17, 16), (23, 7), (23, 22)]
    images = np.array([np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8) for y, x in centres])
    footprints = np.where(images > 0.1, images, 0).reshape(6, -1)
    events = (rng.random((6, T)) < 0.02) * rng.uniform(2, 4, (6, T))
    traces = np.array([np.convolve(row, np.exp(-np.arange(40) / 8))[:T] for row in events])
    vignette = np.exp(-((rows - 15) ** 2 + (columns - 10) ** 2) / 300).ravel()
    breath = ndimage.gaussian_filter1d(rng.normal(0, 1, T), 12)
    light = background * vignette * breath[:, None] / breath.std()
    noise = rng.normal(0, 1, (T, *SHAPE))
    if shared:
        noise += shared * 10 * ndimage.gaussian_filter(rng.normal(0, 1, (T, *SHAPE)), (8, 1, 1))
    movie = gain * (traces.T @ footprints + light + 20 * vignette).reshape(T, *SHAPE) + noise
    truth = Truth.from_datasets(
        {f"footprints_{n}": getattr(sparse.csr_array(footprints), n) for n in ("data", "indices", "indptr")}
        | {"traces": traces},
        SHAPE,
    )
    return movie.astype(np.float32), truth, light.reshape(T, *SHAPE)


def test_without_a_background_it_is_least_squares(oracle: ModuleType) -> None:
    movie, truth, _ = scene()
    found = oracle.oracle_traces(movie, truth, weights="none")
    dense = truth.footprints.toarray().astype(np.float64)
    rows = movie.reshape(T, -1) - movie.reshape(T, -1).mean(axis=0)
    wanted = np.linalg.lstsq(dense.T, rows.T.astype(np.float64), rcond=None)[0]
    assert found.rank == 0
    np.testing.assert_allclose(found.traces, wanted, atol=1e-4 * np.abs(wanted).max())


def test_the_background_is_found_and_helps(oracle: ModuleType) -> None:
    movie, truth, _ = scene(background=3.0)
    found = oracle.all_oracles(movie, truth)
    r = {kind: result.figures()[0] for kind, result in found.items()}
    clean = oracle.oracle_traces(scene()[0], truth, "footprints").figures()[0]
    assert found["images"].rank == 1
    assert r["footprints"] < 0.8 < r["images"]
    assert r["images"] > clean - 0.03
    assert r["known"] == pytest.approx(clean, abs=0.01)
    again = oracle.oracle_traces(movie, truth, "images")
    np.testing.assert_array_equal(again.traces, found["images"].traces)


def test_noise_that_neighbours_share_is_no_background(oracle: ModuleType) -> None:
    movie, truth, _ = scene(shared=1.0)
    assert oracle.oracle_traces(movie, truth).rank == 0
    movie, truth, _ = scene(shared=1.0, background=5.0)
    assert oracle.oracle_traces(movie, truth).rank == 1


def test_the_scale_of_the_truth_does_not_matter(oracle: ModuleType) -> None:
    movie, truth, _ = scene(background=3.0, gain=5.0)
    background = oracle.find_background(oracle.make_problem(movie, truth), oracle.counted(truth))
    np.testing.assert_allclose(background.scale, 5, rtol=0.1)


def test_nothing_perturbed_beats_it(oracle: ModuleType) -> None:
    movie, truth, _ = scene(background=3.0)
    found = oracle.oracle_traces(movie, truth)
    rng = np.random.default_rng(1)
    for amount in (0.1, 0.3, 1.0):
        noisy = found.traces + amount * rng.normal(0, found.traces.std(axis=1, keepdims=True), found.traces.shape)
        assert (oracle.correlation(noisy, truth.traces) <= found.r).all()
        moved = truth.footprints.toarray() * rng.uniform(1 - amount, 1 + amount, truth.footprints.shape)
        worse = Truth.from_datasets(truth.as_datasets(), SHAPE)
        worse = type(truth)(**{**vars(worse), "footprints": sparse.csr_array(moved.astype(np.float32))})
        assert oracle.oracle_traces(movie, worse).r.mean() <= found.r.mean() + 1e-3


def test_weights_by_noise_help_where_it_differs(oracle: ModuleType) -> None:
    movie, truth, _ = scene()
    rng = np.random.default_rng(2)
    movie += rng.normal(0, 1, movie.shape) * np.where(np.arange(SHAPE[1]) % 2, 6, 0)  # every other column is noisy
    by_variance, alike = (oracle.oracle_traces(movie, truth, weights=w).r.mean() for w in ("variance", "none"))
    assert by_variance > alike + 0.05


def test_it_prints_a_table_and_a_result_beside_it(
    oracle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.h5"
    gpucells.simulate_movie("two_photon", shape=(150, 64, 64), n_cells=6, seed=0, path=path)
    truth = oracle.load_truth(path)
    n = truth.n_cells
    cells = Cells(
        footprints=truth.footprints, traces=truth.traces, image_shape=truth.image_shape, f0=np.ones(n, np.float32),
        accepted=np.ones(n, bool), rejection=("",) * n,
    )  # fmt: skip
    save_cells(cells, tmp_path / "small.cells.h5")
    monkeypatch.setattr(sys, "argv", ["oracle.py", str(tmp_path), "--result", str(tmp_path)])
    assert oracle.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in printed[2:]] == [
        "oracle, footprints", "oracle, images", "oracle, known", "**small.cells.h5**",
    ]  # fmt: skip
    assert printed[-1].split("|")[5].strip() == "1.000"
    assert float(printed[-1].split("|")[8]) > 0
