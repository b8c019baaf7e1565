"""CIAtah's step over folders: its files are found and read back, failures lose nothing, nothing is left behind."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from scipy.io import loadmat

import gpucells
from gpucells.compat.ciatah import TABLES, Done, model_extract_signals_from_movie, modelExtractSignalsFromMovie, run
from gpucells.compat.ciatah.folders import Recording, find_movies, locked, prefix_of, recordings
from gpucells.compat.ciatah.names import METHODS, translated
from gpucells.compat.ciatah.run_table import COLUMNS
from gpucells.compat.told_once import NotHonoured, forget
from gpucells.errors import InputError, ResultFileError, SettingsError
from gpucells.methods.registry import find_method
from gpucells.postprocess.match import compare
from gpucells.settings import RunSettings

FOLDER = "2014_04_01_p203_m19_check01"
# Options of each screen, as shared/specs/ciatah.md section 2 and shared/specs/cellmax.md section 2 list them.
SCREENS = {
    "PCAICA": "outputUnits mu term_tol max_iter",
    "ROI": "threshold",
    "CNMF": """version ssub tsub memmap patch overlap tau classify init merge_thr noise_range medw nrgthr clos_op
    snmf_max_iter beta eta err_thr maxIter bSiz p""",
    "CNMFE": """gSig gSiz ssub tsub Fs patch with_dendrites updateA_bSiz deconv_smin max_tau nk nb ring_radius bg_ssub
    merge_thr method_dist dmin dmin_only merge_thr_spatial K min_corr min_pnr bd center_psf min_corr_res min_pnr_res
    update_sn classify""",
    "EXTRACT": """use_gpu parallel_cpu multi_gpu avg_cell_radius cellfind_min_snr preprocess num_partitions_x
    num_partitions_y compact_output trace_output_option use_sparse_arrays T_min_snr cellfind_max_steps
    temporal_corrupt_thresh spatial_corrupt_thresh size_upper_limit low_ST_index_thresh low_ST_corr_thresh
    init_with_gaussian downsample_time_by downsample_space_by T_dup_corr_thresh max_iter cellfind_filter_type""",
    "CELLMax": """initMethod gridSpacing gridWidth maxSqSize sqOverlap minIters maxIters percentFramesPerIteration
    subsampleMethod percentRemainingSubsample percentFramesPCAICA nPCnIC numPhotonsPerSigma numSigmasThresh
    numFramesSampleFitNoiseSigma threshForElim sizeThresh sizeThreshMax areaOverlapThresh removeCorrProbs
    scaledPhiCorrThresh distanceThresh corrRemovalAreaOverlapThresh runMovieImageCorrThreshold movieImageCorrThreshold
    removeAutoCorrThres eccentricityThreshold numObjThreshold downsampleFactorTime downsampleFactorSpace
    dsInitializeThreshold upsampleFullIters recalculateFinalTraces spatialFilterMovie useSparseImageMatrix
    exitEarlySaveSparse readMovieChunks loadPreviousChunks saveChunksToRam saveIterMovie useGPU generateNovelSeed
    maxDeltaParams""",
}


@pytest.fixture(scope="module")
def simulated() -> Any:
    return gpucells.simulate_movie("two_photon", shape=(300, 48, 72), seed=3)


def matlab_movie(path: Path, movie: Any, dataset: str = "1") -> None:
    """Write a movie as MATLAB's h5write does: (height, width, frames) there is (frames, width, height) here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[dataset] = movie.transpose(0, 2, 1)


@pytest.fixture(scope="module")
def session(simulated: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Done]]:
    """A folder of a recording in two files, and one without a movie, through two methods and ROI."""
    top = tmp_path_factory.mktemp("ciatah")
    matlab_movie(top / FOLDER / "concat_10.h5", simulated.movie[150:])
    matlab_movie(top / FOLDER / "concat_2.h5", simulated.movie[:150])
    matlab_movie(top / FOLDER / "other.h5", simulated.movie[:5])
    (top / "empty").mkdir()
    done = model_extract_signals_from_movie(
        [top / "empty", top / FOLDER], methods=["EXTRACT", "PCAICA", "ROI"], file_filter_regexp="concat", grid_width=12,
        frame_rate_hz=10.0,
        options={"PCAICA": {"mu": 0.2, "term_tol": 1e-5}, "ROI": {"signalExtractionMethod": "EXTRACT"}},
    )  # fmt: skip
    return top, done


def test_every_method_leaves_the_file_that_the_loader_expects(session: Any, simulated: Any) -> None:
    top, done = session
    folder = top / FOLDER
    assert [(row.folder.name, row.method, row.status) for row in done] == [
        ("empty", "EXTRACT", "failed"), ("empty", "PCAICA", "failed"), ("empty", "ROI", "failed"),
        (FOLDER, "EXTRACT", "done"), (FOLDER, "PCAICA", "done"), (FOLDER, "ROI", "done"),
    ]  # fmt: skip
    assert all("no movie whose name matches 'concat'" in row.error for row in done[:3])
    for row, stem in zip(done[3:], ("extract", "pcaica", "roi"), strict=True):
        assert row.error == ""
        assert row.files[0] == folder / f"{FOLDER}_{stem}Analysis.mat"
        assert row.accepted > 5
        assert row.cells >= row.accepted
        read = gpucells.load_cells(row.files[0])
        assert read.image_shape == (48, 72)
        assert read.n_frames == 300
        assert read.n_cells == row.accepted
        # a mean of pixels has the neighbours' light in it, so that a trace may fail to match
        assert compare(read, simulated.truth).f1 >= (0.75 if row.method == "ROI" else 0.9), row.method
    png = sorted(path.name for path in folder.glob("objMapsGeneral_*.png"))
    assert png == [f"objMapsGeneral_{FOLDER}_{stem}Analysis.png" for stem in ("extract", "pcaica", "roi")]


def test_the_files_hold_what_our_method_finds(session: Any, simulated: Any) -> None:
    _, done = session
    direct = gpucells.extract_cells(simulated.movie, cell_diameter_px=12, frame_rate_hz=10.0).accepted_only()
    read = gpucells.load_cells(done[3].files[0])
    np.testing.assert_allclose(read.images(), direct.images(), atol=1e-5)
    np.testing.assert_allclose(read.traces / read.traces.max(axis=1, keepdims=True),
                               direct.traces / direct.traces.max(axis=1, keepdims=True), atol=1e-4)  # fmt: skip


def test_nothing_is_left_beside_the_results(session: Any) -> None:
    top, _ = session
    kinds = {"concat_10.h5", "concat_2.h5", "other.h5"}
    left = [p.name for p in (top / FOLDER).iterdir() if p.name not in kinds and p.suffix not in (".mat", ".png")]
    assert left == []
    assert list((top / "empty").iterdir()) == []


def test_the_table_of_run_times_has_ciatahs_columns(session: Any) -> None:
    top, done = session
    with (top / "database_processing_runtimes_gpucells.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert len(COLUMNS) == 22
    assert [row["algorithm"] for row in rows] == ["EXTRACT", "PCAICA", "ROI"]
    assert (rows[0]["frames"], rows[0]["width"], rows[0]["height"]) == ("300", "72", "48")
    assert [int(row["numSignalsDetected"]) for row in rows] == [row.accepted for row in done[3:]]


@pytest.fixture
def quick(simulated: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Cells of the truth in the place of a method's; a list of what each call was told."""
    calls: list[dict[str, Any]] = []

    def found(movie: Any, method: str = "roi", **told: Any) -> Any:
        calls.append({"method": method, "shape": movie.shape, **told})
        truth = simulated.truth.footprints
        if movie.shape[1:] != (48, 72):
            raise InputError("not that movie")
        return gpucells.apply_footprints(movie, truth[:4], method="roi", settings={"traces": "mean"})

    monkeypatch.setattr(run, "extract_cells", found)
    return calls


def call(folders: Any, *methods: str, **more: Any) -> list[Done]:
    return model_extract_signals_from_movie(folders, list(methods), **{"view_results": False, **more})


def test_what_is_done_is_skipped_or_replaced(quick: Any, simulated: Any, tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "a_concat.h5", simulated.movie)
    first = call(tmp_path / FOLDER, "CNMF", overwrite=False)[0]
    assert first.status == "done"
    before = first.files[0].stat().st_mtime_ns
    again = call(tmp_path / FOLDER, "CNMF", overwrite=False)[0]
    assert (again.status, again.files) == ("skipped", first.files[:1])
    assert len(quick) == 1
    other = first.files[0].rename(tmp_path / FOLDER / "2014_04_01_p1_m1_x1_cnmfAnalysis.mat")
    replaced = call(tmp_path / FOLDER, "CNMF", overwrite=True)[0]
    assert replaced.files[0] == other  # one file of a method, whatever it is called
    assert other.stat().st_mtime_ns != before
    assert len(list((tmp_path / FOLDER).glob("*.mat"))) == 1


def test_a_failed_folder_costs_nothing_but_itself(
    quick: Any, simulated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    matlab_movie(tmp_path / "a" / "concat.h5", simulated.movie[:, :40])
    matlab_movie(tmp_path / "b" / "concat.h5", simulated.movie, "Data")
    matlab_movie(tmp_path / "c" / "concat.h5", simulated.movie)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "concat.h5").write_bytes(b"no movie")
    done = call([tmp_path / name for name in "abcde"], "CNMF", "CNMFE")
    assert [row.status for row in done] == ["failed"] * 4 + ["done"] * 2 + ["failed"] * 4
    assert "Data" in done[2].error  # the datasets that are there
    assert "no folder" in done[-1].error
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 8
    for name in "abd":
        assert [path.name for path in (tmp_path / name).iterdir()] == ["concat.h5"]

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(run, "write_ciatah", full)
    late = call(tmp_path / "c", "EXTRACT")[0]
    assert (late.status, late.error) == ("failed", "MemoryError: no room")
    assert not list((tmp_path / "c").glob(".*"))
    monkeypatch.setattr(run, "write_ciatah", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path / "c", "EXTRACT")
    assert not list((tmp_path / "c").glob(".*"))


def test_a_picture_that_fails_does_not_take_the_result_back(quick: Any, simulated: Any, tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "concat.h5", simulated.movie)
    (tmp_path / FOLDER / f"objMapsGeneral_{FOLDER}_cnmfAnalysis.png").mkdir()
    row = call(tmp_path / FOLDER, "CNMF", view_results=True)[0]
    assert row.status == "done"
    assert "the figure was not written" in row.error
    assert row.files[0].is_file()


def test_another_computers_lock_is_kept_and_a_dead_one_is_not(quick: Any, simulated: Any, tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "concat.h5", simulated.movie)
    lock = tmp_path / FOLDER / f".{FOLDER}_cnmfAnalysis.mat.lock"
    lock.write_text(json.dumps({"host": "elsewhere", "process": 1, "since": "2026-01-01"}))
    row = call(tmp_path / FOLDER, "CNMF")[0]
    assert row.status == "failed"
    assert "by process 1 on elsewhere since 2026-01-01" in row.error
    assert "delete" in row.error
    assert lock.is_file()
    lock.write_text("")
    assert "nothing says by whom" in call(tmp_path / FOLDER, "CNMF")[0].error
    lock.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": "now"}))
    assert call(tmp_path / FOLDER, "CNMF")[0].status == "failed"
    lock.write_text(json.dumps({"host": socket.gethostname(), "process": 2**22 + 7, "since": "long ago"}))
    assert call(tmp_path / FOLDER, "CNMF")[0].status == "done"
    assert not lock.exists()
    with pytest.raises(ResultFileError), locked(tmp_path / "nowhere" / "x.mat"):
        pass


def test_pictures_are_as_matlab_sees_the_movie(quick: Any, simulated: Any, tmp_path: Path) -> None:
    """A file that Python wrote (frames, height, width) is (width, height, frames) in MATLAB, and so are its images."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    with h5py.File(folder / "concat.h5", "w") as file:
        file["1"] = simulated.movie
    tiff = tmp_path / "tiff"
    tiff.mkdir()
    tifffile.imwrite(tiff / "concat.tif", simulated.movie, photometric="minisblack")
    turned, plain = call([folder, tiff], "EXTRACT", axes="TYX", keep_rejected=True)
    assert turned.error == plain.error == ""
    mats = [in_mat(row, "filters") for row in (turned, plain)]
    assert [images.shape for images in mats] == [(72, 48, 4), (48, 72, 4)]
    np.testing.assert_array_equal(mats[0].transpose(1, 0, 2), mats[1])
    assert list(folder.glob("*_extractAnalysisSorted_*.mat"))


def in_mat(row: Done, name: str) -> Any:
    return loadmat(row.files[0], simplify_cells=True)["extractAnalysisOutput"][name]


def test_a_movie_that_is_dff_is_not_divided_again(simulated: Any, tmp_path: Path, quick: Any) -> None:
    light = simulated.movie.astype(np.float32)
    mean = light.mean(axis=0)
    matlab_movie(tmp_path / "dff" / "concat.h5", light / mean - 1)
    matlab_movie(tmp_path / "raw" / "concat.h5", light)
    relative, divided = (in_mat(row, "traces") for row in call([tmp_path / "dff", tmp_path / "raw"], "EXTRACT"))
    as_told = in_mat(call(tmp_path / "raw", "EXTRACT", dff=True)[0], "traces")
    assert 0.3 < relative.std() / divided.std() < 3
    assert as_told.std() > 20 * divided.std()


def test_what_the_call_says_reaches_the_methods(quick: Any, simulated: Any, tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "concat.h5", simulated.movie)
    call(tmp_path / FOLDER, "PCAICA", "CELLMax", "CNMF", grid_width={"m19": 10}, grid_spacing=15,
         n_pcs_n_ics={FOLDER: [40, 30]}, run={"preset": "one_photon"}, settings={"CNMF": {"max_iter": 2}},
         options={"CELLMax": {"sizeThresh": 5, "maxIters": 80}, "CNMF": {"p": 1}})  # fmt: skip
    pcaica, cellmax, cnmf = quick
    assert pcaica["settings"] == {"n_pcs": 40, "n_ics": 30, "whole_field": True}
    assert pcaica["cell_diameter_px"] == 10.0
    assert pcaica["preset"] == "one_photon"
    assert cellmax["settings"] == {"max_iter": 80, "grid_spacing": 3.0, "min_size": pytest.approx(5 / (np.pi * 25))}
    assert cnmf["settings"] == {"n_cells": 30, "ar_order": 1, "max_iter": 2}
    row = call(tmp_path / FOLDER, "PCAICA", grid_width={"m20": 10})[0]
    assert "no value for" in row.error


def test_unknown_names_are_refused_before_anything_runs(quick: Any, tmp_path: Path) -> None:
    for wrong, words in (
        ({"methods": ["CNMFEE"]}, "did you mean 'CNMFE'"),
        ({"options": {"CNMF": {"merge_th": 1}}}, "did you mean 'merge_thr'"),
        ({"options": {"cnmf": {}}}, "one of CELLMax, EM"),
        ({"file_filter": "x"}, "did you mean 'file_filter_regexp'"),
        ({"file_filter_regexp": "("}, "regular expression"),
    ):
        with pytest.raises(SettingsError, match=words):
            model_extract_signals_from_movie(tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="no folders"):
        model_extract_signals_from_movie([])
    assert quick == []
    assert modelExtractSignalsFromMovie is model_extract_signals_from_movie


@pytest.mark.parametrize("screen", SCREENS)
def test_every_option_of_the_screens_is_honoured_or_has_a_reason(screen: str) -> None:
    table = TABLES[screen]
    missing = set(SCREENS[screen].split()) - set(table.parameters)
    assert not missing
    settings = set(find_method(METHODS[screen]).settings("two_photon", {}).model_dump())
    for one in table:
        assert one.honoured or len(one.reason) > 5, one.name
        assert not one.setting or one.setting in settings, one.name
        assert not one.run or one.run in RunSettings.model_fields, one.name


@pytest.mark.parametrize("screen", [name for name in SCREENS if name != "ROI"])
def test_every_default_of_the_screens_is_a_value_that_ours_takes(screen: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotHonoured)
        settings, told = translated(screen, TABLES[screen].defaults(), 12.0)
    if settings.get("ar_order") == 2:
        settings["optimize_g"] = 0
    find_method(METHODS[screen]).settings("two_photon", settings)
    RunSettings.from_values(told)


def test_general_options_that_change_nothing_warn_once(quick: Any, tmp_path: Path) -> None:
    forget()
    with pytest.warns(NotHonoured, match="workers is not honoured"):
        call(tmp_path, "CNMF", workers=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(tmp_path, "CNMF", workers=4)


@pytest.mark.parametrize(
    ("folder", "movie", "prefix"),
    [
        (FOLDER, "concat.h5", FOLDER),
        ("20140401-m19", "x.h5", "2014_04_01_p000_m19_NULL000"),
        ("session", "2015_06_07_p3_f2_openfield4_dfof.h5", "2015_06_07_p3_f2_openfield4"),
        ("whatever", "concat_1.h5", "0000_00_00_p000_m000_NULL000"),
    ],
)
def test_prefixes(tmp_path: Path, folder: str, movie: str, prefix: str) -> None:
    assert prefix_of(Recording(tmp_path / folder, (tmp_path / folder / movie,))) == prefix


def test_movies_are_found_in_natural_order_and_files_sorted_by_folder(tmp_path: Path) -> None:
    for name in ("Concat_10.h5", "concat_9.tif", "x.h5", ".concat.h5", "concat.txt", "concat_1.mat"):
        (tmp_path / name).touch()
    pattern = re.compile("concat", re.IGNORECASE)
    found = find_movies(Recording(tmp_path), pattern)
    assert [path.name for path in found] == ["concat_9.tif", "Concat_10.h5"]
    several = recordings([tmp_path / "b" / "m2.h5", tmp_path, tmp_path / "b" / "m1.h5"])
    assert [(one.folder.name, [m.name for m in one.movies]) for one in several] == [
        ("b", ["m1.h5", "m2.h5"]), (tmp_path.name, []),
    ]  # fmt: skip


def test_nwb_is_written_where_it_is_asked_for(quick: Any, simulated: Any, tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "concat.h5", simulated.movie)
    pytest.importorskip("pynwb")
    row = call(tmp_path / FOLDER, "CNMF", save_nwb=True, frame_rate_hz=10.0)[0]
    assert row.status == "done"  # the result stays
    assert "the NWB was not written: when the session started is not known" in row.error
    metadata = tmp_path / "session.yaml"
    metadata.write_text("session_start_time: 2024-05-17T14:30:00+02:00\n")
    row = call(tmp_path / FOLDER, "CNMF", save_nwb=True, nwb_metadata=metadata, frame_rate_hz=10.0)[0]
    assert row.error == ""
    assert (tmp_path / FOLDER / "nwbFiles" / f"{FOLDER}_cnmfAnalysis.nwb").is_file()


def test_nwb_of_a_movie_that_is_dff_has_what_the_mat_file_has(quick: Any, simulated: Any, tmp_path: Path) -> None:
    pytest.importorskip("pynwb")
    light = simulated.movie.astype(np.float32)
    matlab_movie(tmp_path / FOLDER / "concat.h5", light / light.mean(axis=0) - 1)
    metadata = tmp_path / "session.yaml"
    metadata.write_text("session_start_time: 2024-05-17T14:30:00+02:00\n")
    row = call(tmp_path / FOLDER, "EXTRACT", save_nwb=True, nwb_metadata=metadata, frame_rate_hz=10.0)[0]
    assert row.error == ""
    with h5py.File(tmp_path / FOLDER / "nwbFiles" / f"{FOLDER}_extractAnalysis.nwb") as file:
        found = file["processing/ophys/Fluorescence/RoiResponseSeries/data"][()]
    np.testing.assert_allclose(found.T, in_mat(row, "traces"), rtol=1e-6)


def test_no_cells_at_all(tmp_path: Path) -> None:
    matlab_movie(tmp_path / FOLDER / "concat.h5", np.random.default_rng(0).normal(100, 5, (80, 40, 56)))
    row = call(tmp_path / FOLDER, "EXTRACT", grid_width=12, view_results=True)[0]
    assert (row.status, row.accepted, row.error) == ("done", 0, "")
    assert gpucells.load_cells(row.files[0]).n_cells == 0
