"""CIAtah's files: a round trip of each method, its units and orders, and files as CIAtah itself writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from reference.many_cells import many_cells
from scipy import sparse

import gpucells
from gpucells.errors import ResultFileError, SettingsError
from gpucells.export import ciatah
from gpucells.export.ciatah import ciatah_file_name, ciatah_names, decisions_path
from gpucells.export.formats import export_cells
from gpucells.io import ciatah_mat
from gpucells.io.matlab import open_mat
from gpucells.model.cells import Cells

METHODS = ("CELLMax", "EM", "PCAICA", "PCAICA_old", "CNMF", "CNMFE", "EXTRACT", "ROI")
MODELLED = ("CELLMax", "EM", "CNMF", "CNMFE")


def few(n_cells: int, **changes: Any) -> Cells:
    """Make cells, or none."""
    return many_cells(max(n_cells, 1), **changes).select(np.arange(n_cells))


def round_trip(cells: Cells, path: Path, **options: Any) -> Cells:
    export_cells(cells, path, "ciatah", options, overwrite=True)
    return gpucells.load_cells(path)


def assert_close(a: Any, b: Any) -> None:
    """Divided by f0 and multiplied again: two roundings of float32."""
    np.testing.assert_allclose(a, b, rtol=2.5e-7, atol=1e-30)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("method", METHODS)
def test_round_trip(tmp_path: Path, method: str, version: str) -> None:
    cells = many_cells(
        6,
        method="cnmf",
        rejection=("",) * 4 + ("größer als µ", "two\nlines"),
        settings={"cnmf": {"n_cells": 9, "a b": [1, 2]}},
    )
    found = round_trip(cells, tmp_path / "a.mat", method=method, version=version)
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    assert found.image_shape == cells.image_shape
    assert_close(found.traces, cells.traces)
    np.testing.assert_array_equal(found.f0, cells.f0)
    np.testing.assert_array_equal(found.accepted, cells.accepted)
    assert found.rejection == ("",) * 4 + ("größer als µ", "two lines")
    assert found.settings == cells.settings
    assert (found.method, found.frame_rate_hz, found.pixel_size_um) == ("cnmf", 12.5, 2.0)
    np.testing.assert_array_equal(found.quality["snr"], cells.quality["snr"])
    np.testing.assert_array_equal(found.summary_images["mean"], cells.summary_images["mean"])
    if method in MODELLED:
        assert_close(found.denoised, cells.denoised)
    assert (found.denoised is not None) == (method in MODELLED)
    if method in ("CNMF", "CNMFE"):
        assert_close(found.spikes, cells.spikes)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("method", ["CELLMax", "PCAICA", "CNMFE"])
@pytest.mark.parametrize(
    "cells",
    [
        few(0),
        few(1),
        few(4, n_frames=1),
        few(4, n_frames=4),
        few(3, denoised=None, spikes=None, frame_rate_hz=None, pixel_size_um=None, quality={}, summary_images={}),
        few(3, f0=np.full(3, np.nan, np.float32)),
        few(3, f0=np.array([2, np.nan, 3], np.float32)),
    ],
    ids=["no cells", "one cell", "one frame", "as many frames as cells", "bare", "no f0", "some f0"],
)
def test_edges(tmp_path: Path, method: str, version: str, cells: Cells) -> None:
    traces = cells.traces.copy()
    traces[~cells.accepted] = np.nan
    cells = replace(cells, traces=traces)
    found = round_trip(cells, tmp_path / "a.mat", method=method, version=version)
    assert found.image_shape == cells.image_shape
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    assert_close(found.traces, cells.traces)
    np.testing.assert_array_equal(found.f0, cells.f0)
    assert found.frame_rate_hz == cells.frame_rate_hz
    assert (found.denoised is None) == (cells.denoised is None or method == "PCAICA")
    if found.denoised is not None:
        assert_close(found.denoised, cells.denoised)


def test_the_file_is_in_dff_and_says_so(tmp_path: Path) -> None:
    cells = many_cells(6)
    export_cells(cells, tmp_path / "a.mat", "ciatah", {"method": "CNMF"})
    with open_mat(tmp_path / "a.mat") as file:
        held = file.read("cnmfAnalysisOutput")
    assert_close(held["extractedSignals"], cells.dff)
    assert (held["extractedSignalsType"], held["extractedSignalsEstType"]) == ("dfof", "model")
    np.testing.assert_array_equal(held["extractedImages"].max(axis=(0, 1)), 1)
    assert held["gpucells"]["units"].startswith("dF/F")
    assert np.isfinite(held["extractedSignalsEst"]).all(), "MATLAB's tools do not expect rows of NaN"
    unknown = many_cells(6, f0=np.full(6, np.nan, np.float32))
    export_cells(unknown, tmp_path / "b.mat", "ciatah", {"method": "CNMF"})
    with open_mat(tmp_path / "b.mat") as file:
        np.testing.assert_array_equal(file.read("cnmfAnalysisOutput.extractedSignals"), unknown.traces)
        assert "no baseline is known" in file.read("cnmfAnalysisOutput.gpucells.units")


def test_cnmfe_has_the_model_first(tmp_path: Path) -> None:
    cells = many_cells(6)
    export_cells(cells, tmp_path / "a.mat", "ciatah", {"method": "CNMFE"})
    with open_mat(tmp_path / "a.mat") as file:
        assert_close(file.read("cnmfeAnalysisOutput.extractedSignalsEst"), cells.dff)
        assert file.read("cnmfeAnalysisOutput.extractedSignalsType") == "model"


def test_cellmax_has_what_its_loader_needs(tmp_path: Path) -> None:
    """``cellTraces`` must exist; an empty ``scaledProbabilityDff`` breaks the class; centres are x, y from 1."""
    cells = many_cells(6)
    for denoised in (cells.denoised, None):
        export_cells(replace(cells, denoised=denoised), tmp_path / "a.mat", "ciatah", {"method": "CELLMax"}, True)
        with open_mat(tmp_path / "a.mat") as file:
            fields = file.fields("cellmaxAnalysisOutput")
            assert "cellTraces" in fields
            assert "scaledProbabilityDff" not in fields
            assert ("scaledProbability" in fields) == (denoised is not None)
            centres = file.read("cellmaxAnalysisOutput.centroids")
            assert "emOptions" in file.names()
    np.testing.assert_allclose(centres, cells.centroids()[:, ::-1] + 1)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_transposed_images_match_the_movie_that_matlab_sees(tmp_path: Path, version: str) -> None:
    """A movie written (frames, height, width) by Python is [width height frames] in MATLAB."""
    cells = many_cells(6)
    path = tmp_path / "a.mat"
    found = round_trip(cells, path, method="CELLMax", version=version, transposed=True)
    with open_mat(path) as file:
        images = file.read("cellmaxAnalysisOutput.cellImages")
        centres = file.read("cellmaxAnalysisOutput.centroids")
    np.testing.assert_array_equal(images, cells.images().transpose(2, 1, 0))
    np.testing.assert_allclose(centres, cells.centroids() + 1)
    assert found.image_shape == cells.image_shape
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    np.testing.assert_array_equal(found.summary_images["mean"], cells.summary_images["mean"])
    with h5py.File(tmp_path / "movie.h5", "w") as movie:
        movie["1"] = cells.images()[:3]
        as_matlab = movie["1"][:].T  # what h5read gives
    np.testing.assert_array_equal(images[:, :, :3], as_matlab)


def test_the_method_of_the_result_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    for ours, theirs in (("pcaica", "PCAICA"), ("extract", "EXTRACT"), ("roi", "ROI"), ("cellmax", "CELLMax")):
        export_cells(many_cells(3, method=ours), tmp_path / "a.mat", "ciatah", overwrite=True)
        with open_mat(tmp_path / "a.mat") as file:
            assert ciatah_names(theirs).variable in file.names()
    with pytest.raises(SettingsError, match="suite2p") as caught:
        export_cells(many_cells(3, method="suite2p"), tmp_path / "b.mat", "ciatah")
    assert "CNMFE" in caught.value.hint
    with pytest.raises(SettingsError, match="cellmax") as caught:
        ciatah_names("cellmax")
    assert "CELLMax" in caught.value.hint
    assert not (tmp_path / "b.mat").exists()


def test_names_of_files() -> None:
    assert (
        ciatah_file_name("2014_04_01_p203_m19_check01", "CELLMax") == "2014_04_01_p203_m19_check01_cellmaxAnalysis.mat"
    )
    assert ciatah_names("PCAICA_old") == ciatah_names("PCAICA")
    assert decisions_path(Path("x/m_pcaicaAnalysis.mat"), "PCAICA") == Path("x/m_ICdecisions_gpucells.mat")
    assert decisions_path(Path("x/other.mat"), "EM") == Path("x/other_emAnalysisSorted_gpucells.mat")


def test_decisions_beside_it(tmp_path: Path) -> None:
    path = tmp_path / ciatah_file_name("m", "CNMF")
    cells = many_cells(6, method="cnmf")
    export_cells(cells, path, "ciatah", {"decisions": True})
    beside = tmp_path / "m_cnmfAnalysisSorted_gpucells.mat"
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, beside.name])
    np.testing.assert_array_equal(scipy.io.loadmat(beside)["validCNMF"].ravel(), cells.accepted)
    changed = np.array([[0, 1, 2, 3, 1, 0]])
    scipy.io.savemat(beside, {"validCNMF": changed})
    found = gpucells.load_cells(path)
    np.testing.assert_array_equal(found.accepted, changed.ravel() == 1)
    assert found.rejection[0] == "rejected in the file"
    assert found.rejection[4] == ""
    assert found.rejection[5] == "snr 1.2 below 3"
    scipy.io.savemat(tmp_path / "m_cnmfAnalysisSorted_else.mat", {"validCNMF": changed})
    with pytest.raises(ResultFileError, match="2 files of decisions"):
        gpucells.load_cells(path)
    (tmp_path / "m_cnmfAnalysisSorted_else.mat").unlink()
    scipy.io.savemat(beside, {"validCNMF": changed[:, :3]})
    with pytest.raises(ResultFileError, match="decides on 3 cells"):
        gpucells.load_cells(path)


def test_decisions_that_cannot_be_written_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ciatah_file_name("m", "CNMF")
    calls: list[int] = []
    real = ciatah.write_mat_to

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(ciatah, "write_mat_to", full)
    with pytest.raises(ResultFileError, match="disk is full"):
        export_cells(many_cells(4), path, "ciatah", {"decisions": True})
    assert list(tmp_path.iterdir()) == []
    decisions_path(path, "CNMF").write_bytes(b"a person's")
    with pytest.raises(ResultFileError, match="exists already"):
        export_cells(many_cells(4), path, "ciatah", {"decisions": True})
    assert decisions_path(path, "CNMF").read_bytes() == b"a person's"
    assert not path.exists()


def theirs(tmp_path: Path, variable: str, fields: dict[str, Any], name: str = "m.mat") -> Cells:
    """Write a struct as MATLAB does, and read it."""
    scipy.io.savemat(tmp_path / name, {variable: fields}, do_compression=True)
    assert ciatah_mat.recognises(tmp_path / name)
    return gpucells.load_cells(tmp_path / name)


def test_units_are_those_of_ciatahs_loader(tmp_path: Path) -> None:
    """It multiplies CELLMax's, CNMF's and CNMF-E's traces by the maximum of each image, and no other method's."""
    cells = many_cells(4)
    images = cells.images().transpose(1, 2, 0) * np.array([1, 2, 4, 0.5], np.float32)
    traces = cells.traces
    peak = np.array([[1], [2], [4], [0.5]], np.float32)
    found = theirs(
        tmp_path, "cellmaxAnalysisOutput", {"cellImages": images, "scaledProbability": traces, "cellTraces": traces + 1}
    )
    np.testing.assert_array_equal(found.traces, (traces + 1) * peak)
    np.testing.assert_array_equal(found.denoised, traces * peak)
    np.testing.assert_allclose(found.footprints.toarray(), cells.footprints.toarray(), rtol=2e-7)
    assert np.isnan(found.f0).all()
    assert found.accepted.all()
    assert found.method == "cellmax"
    found = theirs(tmp_path, "extractAnalysisOutput", {"filters": images, "traces": traces, "config": {"kappa": 0.7}})
    np.testing.assert_array_equal(found.traces, traces)
    assert found.settings == {"kappa": 0.7}
    found = theirs(tmp_path, "roiAnalysisOutput", {"filters": images, "traces": traces * 0, "tracesDemix": traces})
    np.testing.assert_array_equal(found.traces, traces)
    pcaica = {"IcaFilters": images.transpose(2, 0, 1), "IcaTraces": traces, "imageSaveDimOrder": "zxy"}
    found = theirs(tmp_path, "pcaicaAnalysisOutput", pcaica)
    np.testing.assert_array_equal(found.traces, traces)
    assert found.image_shape == cells.image_shape
    np.testing.assert_allclose(found.footprints.toarray(), cells.footprints.toarray(), rtol=2e-7)
    cnmfe = {"extractedImages": images, "extractedSignals": traces, "extractedSignalsEst": traces + 1}
    found = theirs(tmp_path, "cnmfeAnalysisOutput", cnmfe)
    np.testing.assert_array_equal(found.traces, (traces + 1) * peak)
    np.testing.assert_array_equal(found.denoised, traces * peak)


def test_what_is_missing_or_at_odds_is_said(tmp_path: Path) -> None:
    images = many_cells(4).images().transpose(1, 2, 0)
    with pytest.raises(ResultFileError, match="has no cellImages"):
        theirs(tmp_path, "cellmaxAnalysisOutput", {"cellTraces": np.zeros((4, 9))})
    with pytest.raises(ResultFileError, match="has no traces"):
        theirs(tmp_path, "roiAnalysisOutput", {"filters": images})
    with pytest.raises(ResultFileError, match="there are 4 images"):
        theirs(tmp_path, "roiAnalysisOutput", {"filters": images, "traces": np.zeros((3, 9))})
    scipy.io.savemat(tmp_path / "other.mat", {"tmpVar": "Peace is our Profession."})
    assert not ciatah_mat.recognises(tmp_path / "other.mat")
    with pytest.raises(ResultFileError):
        gpucells.load_cells(tmp_path / "other.mat")


def test_an_image_of_nothing_stays_empty(tmp_path: Path) -> None:
    cells = many_cells(3)
    bare = cells.footprints.tolil()
    bare[1] = 0
    cells = replace(cells, footprints=sparse.csr_array(bare.tocsr()))
    found = round_trip(cells, tmp_path / "a.mat", method="CELLMax")
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    assert_close(found.traces, cells.traces)
