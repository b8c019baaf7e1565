"""EXTRACT's files: round trips, real outputs of the original, and memory while a large result is written."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from reference.many_cells import many_cells
from scipy import sparse

import gpucells
from gpucells.errors import ResultFileError
from gpucells.export import values
from gpucells.export.extract_mat import MEASURES
from gpucells.export.formats import export_cells
from gpucells.export.matlab import write_mat
from gpucells.io import extract_mat
from gpucells.io.matlab import mat_version, open_mat
from gpucells.model.cells import Cells


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("n_cells", [0, 1, 6])
def test_round_trip(tmp_path: Path, as_sparse: bool, n_cells: int) -> None:
    cells = many_cells(max(1, n_cells), method="extract", settings={"extract": {"max_iter": 5}}).select(
        np.arange(n_cells)
    )
    path = tmp_path / "a.mat"
    export_cells(cells, path, "extract", {"sparse": as_sparse})
    assert mat_version(path) == "7.3"
    found = gpucells.load_cells(path)
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    assert found.image_shape == cells.image_shape
    np.testing.assert_allclose(found.traces, cells.traces, rtol=2.5e-7, atol=1e-30)
    np.testing.assert_array_equal(found.f0, cells.f0)
    np.testing.assert_array_equal(found.accepted, cells.accepted)
    assert found.rejection == cells.rejection
    assert found.settings == cells.settings


def test_the_struct_is_extracts(tmp_path: Path) -> None:
    quality = {"trace_snr": np.arange(6, dtype=np.float32), "own": np.ones(6, np.float32)}
    settings = {"extract": {"max_iter": 5, "sizes": [1, 2], "none": None}}
    cells = many_cells(6, method="extract", settings=settings, quality=quality)
    export_cells(cells, tmp_path / "a.mat", "extract")
    with open_mat(tmp_path / "a.mat") as file:
        output = file.read("output")
    assert output["spatial_weights"].shape == (20, 31, 6)
    assert output["spatial_weights"].dtype == np.float32
    np.testing.assert_array_equal(output["spatial_weights"][:, :, 2], cells.images()[2])
    np.testing.assert_array_equal(output["temporal_weights"], cells.dff.T)
    assert output["config"]["max_iter"].item() == 5
    assert output["config"]["sizes"].tolist() == [[1, 2]]
    assert output["config"]["preprocess"].item() is True
    assert output["info"]["version"] == "1.3.0"
    np.testing.assert_array_equal(output["info"]["F_per_pixel"], cells.summary_images["mean"])
    check, partition = output["info"]["cellcheck"], output["info"]["summary"]
    np.testing.assert_array_equal(check["is_bad"].ravel(), ~cells.accepted)
    assert check["metrics"].shape == (30, 6)
    for name, column in MEASURES.items():
        expected = cells.quality.get(column, np.full(6, np.nan))
        np.testing.assert_array_equal(check["metrics"][list(MEASURES).index(name)], expected)
    assert check["is_attr_bad"].shape == (9, 6)
    assert partition["fov_occupation"].shape == (20, 31)
    assert partition["fov_occupation"].all()
    assert partition["S_bad"].shape == (20 * 31, 0)
    assert partition["T_bad"].shape == (0, cells.n_frames)


def test_without_a_baseline_it_is_not_called_dff(tmp_path: Path) -> None:
    cells = many_cells(4, f0=np.full(4, np.nan, np.float32), summary_images={})
    export_cells(cells, tmp_path / "a.mat", "extract")
    with open_mat(tmp_path / "a.mat") as file:
        assert file.read("output.config.preprocess").item() is False
        np.testing.assert_array_equal(file.read("output.temporal_weights"), cells.traces.T)
    found = gpucells.load_cells(tmp_path / "a.mat")
    np.testing.assert_array_equal(found.traces, cells.traces)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("cells_first", [False, True])
def test_a_struct_of_extract_itself(tmp_path: Path, version: Any, cells_first: bool) -> None:
    cells = many_cells(4)
    images = cells.images().transpose(1, 2, 0)
    output = {
        "spatial_weights": images,
        "temporal_weights": cells.traces if cells_first else cells.traces.T.copy(),
        "config": {"avg_cell_radius": 6.0, "trace_output_option": "nonneg", "S_init": images, "x": None},
        "info": {"version": "1.3.0", "max_image": images[..., 0], "cellcheck": {"is_bad": np.array([[0, 0, 1, 0]])}},
    }
    write_mat(tmp_path / "a.mat", {"output": output, "other": 1}, version=version)
    found = gpucells.load_cells(tmp_path / "a.mat")
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    np.testing.assert_array_equal(found.traces, cells.traces)
    assert np.isnan(found.f0).all()
    assert found.accepted.tolist() == [True, True, False, True]
    assert found.rejection[2] == "rejected in the file"
    assert found.settings == {
        "avg_cell_radius": 6.0,
        "trace_output_option": "nonneg",
        "S_init": "array of size 20 x 31 x 4",
        "x": None,
    }
    np.testing.assert_array_equal(found.summary_images["max_above_mean"], images[..., 0])


def test_as_many_frames_as_cells_is_frames_first(tmp_path: Path) -> None:
    cells = many_cells(4, n_frames=4, f0=np.full(4, np.nan, np.float32))
    export_cells(cells, tmp_path / "a.mat", "extract")
    np.testing.assert_array_equal(gpucells.load_cells(tmp_path / "a.mat").traces, cells.traces)


def test_columns_of_pixels_need_an_image_for_their_height(tmp_path: Path) -> None:
    cells = many_cells(4)
    columns = cells.images().transpose(1, 2, 0).reshape(-1, 4, order="F")
    for weights in (columns, sparse.csc_array(columns)):
        info = {"F_per_pixel": cells.summary_images["mean"]}
        fields = {"spatial_weights": weights, "temporal_weights": cells.traces.T.copy()}
        for version in ("5", "7.3"):
            write_mat(tmp_path / "a.mat", {"output": fields | {"info": info}}, True, version)
            found = gpucells.load_cells(tmp_path / "a.mat")
            np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    write_mat(tmp_path / "b.mat", {"output": fields})
    with pytest.raises(ResultFileError, match="no image tells their height"):
        gpucells.load_cells(tmp_path / "b.mat")


def test_extracts_own_sparse_arrays_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write_mat(path, {"output": {"temporal_weights": np.zeros((9, 3)), "info": {"version": "1.3.0"}}}, version="7.3")
    with h5py.File(path, "r+") as file:
        item = file.create_dataset("output/spatial_weights", data=np.zeros((1, 6), np.uint32))
        item.attrs["MATLAB_class"] = np.bytes_("ndSparse")
        item.attrs["MATLAB_object_decode"] = np.int32(3)
    with pytest.raises(ResultFileError, match="class ndSparse") as caught:
        gpucells.load_cells(path)
    assert "full(output.spatial_weights)" in caught.value.hint


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", {"output": {"x": 1}})
    with pytest.raises(ResultFileError, match="has no spatial_weights"):
        gpucells.load_cells(tmp_path / "a.mat")
    write_mat(tmp_path / "b.mat", {"output": {"spatial_weights": np.ones((3, 4, 2))}})
    with pytest.raises(ResultFileError, match="temporal_weights is missing"):
        gpucells.load_cells(tmp_path / "b.mat")
    scipy.io.savemat(tmp_path / "c.mat", {"x": np.zeros(3)}, format="4")
    with pytest.raises(ResultFileError, match="version 4"):
        gpucells.load_cells(tmp_path / "c.mat")
    for name, content in (("d.mat", b""), ("e.mat", b"MATLAB 5.0 MAT-file" + bytes(20)), ("f.mat", bytes(600))):
        (tmp_path / name).write_bytes(content)
        assert not extract_mat.recognises(tmp_path / name)
    assert not extract_mat.recognises(tmp_path)


def test_real_outputs_of_the_original(shared_data: Path) -> None:
    folder = shared_data / "extract_reference"
    for name in ("small_out", "out_baseline_adjusted", "out_nonneg"):
        held = scipy.io.loadmat(folder / f"{name}.mat")
        found = gpucells.load_cells(folder / f"{name}.mat")
        assert found.image_shape == (64, 64)
        np.testing.assert_array_equal(found.images(), held["spatial_weights"].transpose(2, 0, 1))
        np.testing.assert_array_equal(found.traces, held["temporal_weights"].T)
        assert found.method == "extract"
        assert found.summary_images["max_above_mean"].shape == (64, 64)
    assert not extract_mat.recognises(folder / "fix_in.mat")


@pytest.mark.parametrize(
    ("to", "options"), [("extract", {}), ("ciatah", {"version": "5"}), ("ciatah", {"version": "7.3"})]
)
def test_nothing_large_is_held_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, options: dict[str, str]
) -> None:
    """400 cells x 20,000 frames, 128 x 160 px: dense images would be 33 MB, traces 32 MB each; blocks are 4 MB."""
    monkeypatch.setattr(values, "BLOCK_BYTES", 4 << 20)
    n_cells, n_frames = 400, 20_000
    cells = Cells(
        sparse.csr_array(
            (np.ones(n_cells, np.float32), (np.arange(n_cells), np.arange(n_cells))), (n_cells, 128 * 160)
        ),
        np.ones((n_cells, n_frames), np.float32),
        (128, 160),
        np.ones(n_cells, np.float32),
        np.ones(n_cells, bool),
        ("",) * n_cells,
        denoised=np.ones((n_cells, n_frames), np.float32),
        method="cellmax",
    )
    export_cells(many_cells(3, method="cellmax"), tmp_path / "warm.mat", to, options)
    tracemalloc.start()
    export_cells(cells, tmp_path / "a.mat", to, options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * cells.traces.nbytes
