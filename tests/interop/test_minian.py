"""minian's folder: as xarray and roiextractors read ours, and as we read one that xarray wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.many_cells import many_cells

import gpucells
from gpucells.errors import ResultFileError
from gpucells.export.formats import export_cells

SHAPE = (20, 31)
SERIES = ("unit_id", "frame")


@pytest.fixture
def xr() -> Any:
    pytest.importorskip("zarr", reason="zarr is not installed")
    return pytest.importorskip("xarray", reason="xarray is not installed")


def background(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "background_images": rng.random((n, *SHAPE), np.float32),
        "background_traces": rng.random((n, 50), np.float32),
    }


@pytest.mark.parametrize("consolidated", [True, False])
def test_xarray_reads_and_merges_it(xr: Any, tmp_path: Path, consolidated: bool) -> None:
    cells = many_cells(6, 50, SHAPE, **background(1))
    export_cells(cells, tmp_path / "m", "minian")
    folders = sorted(path for path in (tmp_path / "m").iterdir() if path.is_dir())
    opened = [xr.open_zarr(folder, consolidated=consolidated) for folder in folders]
    assert [next(iter(one)) for one in opened] == [folder.stem for folder in folders]  # one variable each, of that name
    merged = xr.merge(opened, compat="no_conflicts", join="exact")
    assert merged["A"].dims == ("unit_id", "height", "width")
    np.testing.assert_array_equal(merged["A"], cells.images())
    for name, values in {"YrA": cells.traces, "C": cells.denoised, "S": cells.spikes}.items():
        assert merged[name].dims == SERIES
        np.testing.assert_array_equal(merged[name], values)
    np.testing.assert_array_equal(merged["b"], cells.background_images[0])
    np.testing.assert_array_equal(merged["f"], cells.background_traces[0])
    np.testing.assert_array_equal(merged["max_proj"], cells.summary_images["max"])
    np.testing.assert_array_equal(merged["accepted"], cells.accepted)
    assert merged["frame"].values.tolist() == list(range(50))
    assert (folders[0] / ".zgroup").is_file()  # format 2
    assert opened[0]["A"].encoding["chunks"] == (1, *SHAPE)


@pytest.mark.filterwarnings("ignore:Group '/b0.zarr' not found")  # which we have not, and minian may lack
def test_roiextractors_reads_it(tmp_path: Path) -> None:
    extractors = pytest.importorskip("roiextractors", reason="roiextractors is not installed")
    pytest.importorskip("zarr", reason="zarr is not installed")
    cells = many_cells(6, 50, SHAPE, **background(1))
    export_cells(cells, tmp_path / "m", "minian")
    found = extractors.MinianSegmentationExtractor(tmp_path / "m", sampling_frequency=cells.frame_rate_hz)
    assert found.get_frame_shape() == SHAPE
    masks = np.moveaxis(found.get_roi_image_masks(found.get_roi_ids()), -1, 0)
    np.testing.assert_array_equal(masks[:6], cells.images())
    np.testing.assert_array_equal(found.get_traces(name="denoised").T, cells.denoised)
    np.testing.assert_array_equal(found.get_traces(name="deconvolved").T, cells.spikes)
    np.testing.assert_array_equal(found.get_images_dict()["maximum_projection"], cells.summary_images["max"])


def test_one_background_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed")
    cells = many_cells(3, 50, SHAPE, **background(1))
    export_cells(cells, tmp_path / "m", "minian")
    found = gpucells.load_cells(tmp_path / "m")
    np.testing.assert_array_equal(found.background_images, cells.background_images)
    np.testing.assert_array_equal(found.background_traces, cells.background_traces)
    assert found.settings == cells.settings
    assert (found.frame_rate_hz, found.pixel_size_um, found.method) == (12.5, 2.0, "cnmf")


def write_theirs(xr: Any, folder: Path, version: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Write such variables as minian saves: float64, unscaled, cells by their own numbers, another order in C."""
    rng = np.random.default_rng(2)
    units = np.array([4, 7, 9])
    sizes = {"unit_id": 3, "frame": 30, "height": SHAPE[0], "width": SHAPE[1]}
    dims = {
        "A": ("unit_id", "height", "width"),
        "b": ("height", "width"),
        "f": ("frame",),
        "max_proj": ("height", "width"),
    }
    made = {}
    for name in names:
        own = dims.get(name, SERIES)
        values = rng.random([sizes[dim] for dim in own])
        if name == "A":
            values = 5 * values * (values > 0.9)
        coords = {dim: units if dim == "unit_id" else np.arange(sizes[dim]) for dim in own}
        made[name] = xr.DataArray(values, coords, own, name=name).assign_coords(session=7)
        stored = made[name].isel(unit_id=[2, 0, 1]) if name == "C" else made[name]
        stored.to_dataset().to_zarr(folder / f"{name}.zarr", zarr_format=version, consolidated=False)
    return made


@pytest.mark.parametrize("version", [2, 3])
def test_theirs(xr: Any, tmp_path: Path, version: int) -> None:
    wrote = write_theirs(xr, tmp_path, version, ("A", "YrA", "C", "S", "b", "f", "b0", "c0", "max_proj"))
    cells = gpucells.load_cells(tmp_path)
    assert (cells.method, cells.image_shape) == ("minian", SHAPE)
    peak = wrote["A"].values.max(axis=(1, 2))
    images = cells.images()
    np.testing.assert_array_equal(images.max(axis=(1, 2)), 1)
    for ours, theirs in ((cells.traces, "YrA"), (cells.denoised, "C"), (cells.spikes, "S")):
        product = np.einsum("kt,khw->tkhw", ours, images)
        wanted = np.einsum("kt,khw->tkhw", wrote[theirs].values, wrote["A"].values)
        np.testing.assert_allclose(product, wanted, rtol=1e-5, atol=1e-6)
    assert cells.accepted.all()
    assert np.isnan(cells.f0).all()
    np.testing.assert_allclose(cells.background_images[0], wrote["b"], rtol=1e-6)
    shutil.rmtree(tmp_path / "YrA.zarr")
    wanted = (wrote["C"] + wrote["b0"] + wrote["c0"]).values * peak[:, None]
    np.testing.assert_allclose(gpucells.load_cells(tmp_path).traces, wanted, rtol=1e-5)


def test_what_does_not_fit_is_said(xr: Any, tmp_path: Path) -> None:
    wrote = write_theirs(xr, tmp_path, 2, ("A", "C"))
    shutil.rmtree(tmp_path / "C.zarr")
    wrote["C"].isel(unit_id=[0, 2]).to_dataset().to_zarr(tmp_path / "C.zarr", zarr_format=2)
    with pytest.raises(ResultFileError, match="C lacks unit_id 7"):
        gpucells.load_cells(tmp_path)
    shutil.rmtree(tmp_path / "C.zarr")
    wrote["C"].T.to_dataset().to_zarr(tmp_path / "C.zarr", zarr_format=2)
    np.testing.assert_allclose(gpucells.load_cells(tmp_path).denoised.argmax(axis=1), wrote["C"].argmax("frame"))
    shutil.rmtree(tmp_path / "C.zarr")
    wrote["C"].rename(frame="time").to_dataset().to_zarr(tmp_path / "C.zarr", zarr_format=2)
    with pytest.raises(ResultFileError, match=r"C has dimensions \('unit_id', 'time'\)"):
        gpucells.load_cells(tmp_path)
    shutil.rmtree(tmp_path / "C.zarr")
    wrote["C"].to_dataset().to_zarr(tmp_path / "C.zarr", zarr_format=2)
    (tmp_path / "C.zarr" / "C" / "0.0").write_bytes(b"no such thing")
    with pytest.raises(ResultFileError, match="cannot be read as minian's"):
        gpucells.load_cells(tmp_path)
