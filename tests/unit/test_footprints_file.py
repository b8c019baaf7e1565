"""Footprints from files of every kind, and what is refused."""

from __future__ import annotations

import builtins
import pickle
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from reference.planted import footprints
from scipy import sparse

from gpucells.errors import InputError, MissingDependencyError, MissingFileError
from gpucells.io.footprints_file import from_array, read_footprints
from gpucells.io.imagej_rois import ellipse_mask, polygon_mask
from gpucells.tiles.given_footprints import check_footprints

SHAPE = (24, 36)
MASKS = footprints(SHAPE, [(6, 6), (8, 11), (17, 25)]).toarray().reshape(-1, *SHAPE)  # the first two overlap
LABELS = np.zeros(SHAPE, np.uint16)
LABELS[2:6, 3:9], LABELS[7:12, 20:30], LABELS[15:18, 1:3] = 1, 2, 3
OF_LABELS = np.stack([k == LABELS for k in (1, 2, 3)]).astype(np.float32)


def read(path: Path) -> Any:
    return check_footprints(path, SHAPE).toarray().reshape(-1, *SHAPE)


def test_stacks_of_masks(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MASKS)
    np.save(tmp_path / "flat.npy", MASKS.reshape(3, -1))
    tifffile.imwrite(tmp_path / "a.tif", MASKS, photometric="minisblack")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["some/masks"] = MASKS
        file["other"] = np.zeros((3, 5))
    with h5py.File(tmp_path / "matlab.mat", "w") as file:
        file["images"] = MASKS.swapaxes(1, 2)
        file["images"].attrs["MATLAB_class"] = np.bytes_("single")
    for name in ("a.npy", "flat.npy", "a.tif", "a.h5", "matlab.mat"):
        np.testing.assert_allclose(read(tmp_path / name), MASKS, atol=1e-6, err_msg=name)


def test_labels_and_single_masks(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS.astype(np.int32))
    np.save(tmp_path / "float.npy", LABELS.astype(np.float64))
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "a.png")
    for name in ("a.npy", "float.npy", "a.tif", "a.png"):
        np.testing.assert_array_equal(read(tmp_path / name), OF_LABELS, err_msg=name)
    for one in (LABELS > 0, 255 * (LABELS > 0).astype(np.uint8), MASKS[0], (LABELS == 1).astype(int)):
        assert from_array(one, SHAPE, "").shape[0] == 1
    with pytest.raises(InputError, match="3 whole numbers from 1 to 7: neither one mask nor labels"):
        from_array(np.where(LABELS == 3, 7, LABELS), SHAPE, "a")


def write_nwb(path: Path, tables: dict[str, dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        for name, columns in tables.items():
            group = file.create_group(f"processing/ophys/ImageSegmentation/{name}")
            group.attrs["neurodata_type"] = "PlaneSegmentation"
            for key, values in columns.items():
                group[key] = values
    return path


def pixel_mask() -> dict[str, Any]:
    cell, row, column = np.nonzero(MASKS)
    entries = np.zeros(len(cell), [("x", "u4"), ("y", "u4"), ("weight", "f4")])
    entries["x"], entries["y"], entries["weight"] = column, row, MASKS[cell, row, column]
    return {"pixel_mask": entries, "pixel_mask_index": np.cumsum(np.bincount(cell))}


def test_plane_segmentation(tmp_path: Path) -> None:
    kinds = {"xy": {"image_mask": MASKS.swapaxes(1, 2)}, "rows": {"image_mask": MASKS}, "pixels": pixel_mask()}
    for name, columns in kinds.items():
        path = write_nwb(tmp_path / f"{name}.nwb", {"PlaneSegmentation": columns})
        np.testing.assert_allclose(read(path), MASKS, atol=1e-6, err_msg=name)
    square = np.zeros((1, 24, 24), np.float32)
    square[0, 3, 9] = 1  # x 3, y 9
    path = write_nwb(tmp_path / "square.nwb", {"PlaneSegmentation": {"image_mask": square}})
    assert check_footprints(path, (24, 24)).indices.tolist() == [9 * 24 + 3]


def test_plane_segmentation_of_pynwb(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    from datetime import UTC, datetime

    file = pynwb.NWBFile(session_description="a", identifier="a", session_start_time=datetime(2020, 1, 1, tzinfo=UTC))
    device = file.create_device(name="microscope")
    channel = pynwb.ophys.OpticalChannel(name="green", description="green", emission_lambda=520.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="plane", device=device, excitation_lambda=920.0,
        indicator="GCaMP", location="CA1", imaging_rate=10.0,
    )  # fmt: skip
    table = pynwb.ophys.PlaneSegmentation(name="PlaneSegmentation", description="cells", imaging_plane=plane)
    for mask in MASKS:
        row, column = np.nonzero(mask)
        table.add_roi(pixel_mask=list(zip(column, row, mask[row, column], strict=True)))
    module = file.create_processing_module(name="ophys", description="cells")
    module.add(pynwb.ophys.ImageSegmentation(plane_segmentations=[table]))
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
    np.testing.assert_allclose(read(tmp_path / "a.nwb"), MASKS, atol=1e-6)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "has no plane segmentations"),
        ({"a": {"image_mask": MASKS}, "b": {"image_mask": MASKS}}, "2 plane segmentations.*ImageSegmentation/a"),
        ({"a": {"voxel_mask": np.zeros(3)}}, "neither image_mask nor pixel_mask"),
        ({"a": {"image_mask": MASKS[:, 1:]}}, "23 x 36 px, but the movie is 24 x 36 px"),
        ({"a": {"pixel_mask": np.array([(36, 0, 1)], [("x", "u4"), ("y", "u4"), ("weight", "f4")]),
                "pixel_mask_index": np.array([1])}}, "at least 1 x 37 px"),
    ],
)  # fmt: skip
def test_nwb_that_is_refused(tmp_path: Path, tables: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_footprints(write_nwb(tmp_path / "a.nwb", tables), SHAPE)


def test_another_size_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", MASKS.swapaxes(1, 2))
    with pytest.raises(InputError, match=r"3 x 36 x 24, but the movie is 24 x 36 px \(rows and columns"):
        read_footprints(tmp_path / "t.npy", SHAPE)
    np.save(tmp_path / "last.npy", np.moveaxis(MASKS, 0, -1))
    with pytest.raises(InputError, match="move that axis to the front"):
        read_footprints(tmp_path / "last.npy", SHAPE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cells"], file["b"] = MASKS[:, 2:], np.zeros(4)
    with pytest.raises(InputError, match=r"24 x 36 px \(it has: b \(4,\) float64; cells \(3, 22, 36\) float32"):
        read_footprints(tmp_path / "a.h5", SHAPE)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = MASKS, LABELS
    with pytest.raises(InputError, match="2 datasets that could be"):
        read_footprints(tmp_path / "two.h5", SHAPE)


def test_empty_masks_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([MASKS[0], 0 * MASKS[0]]))
    with pytest.raises(InputError, match="1 footprints are empty, the first is number 1"):
        read(tmp_path / "a.npy")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "stat.npy", np.array([{"ypix": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"suite2p's stat\.npy, and pickles are never loaded.*give the folder"):
        read_footprints(tmp_path / "stat.npy", SHAPE)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="holds no footprints: it starts with"):
        read_footprints(tmp_path / "a.pkl", SHAPE)
    np.savez(tmp_path / "a.npz", a=MASKS)
    with pytest.raises(InputError, match="several arrays"):
        read_footprints(tmp_path / "a.npz", SHAPE)
    for missing in (tmp_path, tmp_path / "none.tif"):
        with pytest.raises(MissingFileError):
            read_footprints(missing, SHAPE)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(InputError, match="masks are numbers"):
        read_footprints(tmp_path / "text.npy", SHAPE)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.roi").write_bytes(b"Iout" + bytes(60))
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "roifile":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "roifile", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gpucells\[rois\]'"):
        read_footprints(tmp_path / "a.roi", SHAPE)


def saved(folder: Path, *rois: Any) -> Path:
    roifile = pytest.importorskip("roifile")
    path = folder / "set.zip"
    roifile.roiwrite(path, list(rois), mode="w")
    return path


def test_imagej_rois(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    square = [[3, 2], [9, 2], [9, 6], [3, 6]]  # x, y
    polygon = roifile.ImagejRoi.frompoints(square, name="square")
    box = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, top=7, bottom=12, left=20, right=30, name="box", version=228)
    oval = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.OVAL, top=13, bottom=23, left=10, right=24, name="oval", version=228
    )
    images = read(saved(tmp_path, polygon, box, oval))
    np.testing.assert_array_equal(images[:2], OF_LABELS[:2])
    np.testing.assert_array_equal(images[2], ellipse_mask((13, 10, 23, 24), SHAPE))
    polygon.tofile(tmp_path / "one.roi")
    np.testing.assert_array_equal(read(tmp_path / "one.roi"), OF_LABELS[:1])


def test_imagej_rois_that_are_refused(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    away = roifile.ImagejRoi.frompoints([[40, 2], [46, 2], [46, 6]], name="away")
    with pytest.raises(InputError, match=r"ROI away .* covers no pixel of the movie's 24 x 36 px"):
        read_footprints(saved(tmp_path, away), SHAPE)
    point = roifile.ImagejRoi.frompoints([[4, 2]], name="dot")
    point.roitype = roifile.ROI_TYPE.POINT
    with pytest.raises(InputError, match=r"ROI dot .* is a point, which has no area"):
        read_footprints(saved(tmp_path, point), SHAPE)
    (tmp_path / "bad.roi").write_bytes(b"Iout" + bytes(3))
    with pytest.raises(InputError, match="no ImageJ ROIs that can be read"):
        read_footprints(tmp_path / "bad.roi", SHAPE)


def test_polygons_as_another_program_fills_them() -> None:
    """A pixel's centre decides; off the outline every rule is the same."""
    path = pytest.importorskip("matplotlib.path")
    rng, (height, width) = np.random.default_rng(4), SHAPE
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    for _ in range(20):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
        star = np.stack([18 + rng.uniform(3, 25, 9) * np.cos(angle), 12 + rng.uniform(3, 15, 9) * np.sin(angle)], -1)
        wanted = path.Path(star).contains_points(centres).reshape(SHAPE)
        np.testing.assert_array_equal(polygon_mask([star], SHAPE), wanted)


def test_polygons_that_share_an_edge_share_no_pixel() -> None:
    """Even where the edge runs through centres; and a hole is a hole."""
    left, right = (
        np.array([[2.5, 3.5], [8.5, 3.5], [8.5, 9.5], [2.5, 9.5]]),
        np.array([[8.5, 3.5], [12, 3.5], [12, 9.5], [8.5, 9.5]]),
    )
    a, b = polygon_mask([left], SHAPE), polygon_mask([right], SHAPE)
    assert not (a & b).any()
    assert a.sum() == 36
    assert a[3, 2]
    assert not a[9].any()
    np.testing.assert_array_equal(
        a | b, polygon_mask([np.array([[2.5, 3.5], [12, 3.5], [12, 9.5], [2.5, 9.5]])], SHAPE)
    )
    ring = polygon_mask([left, left + 2], SHAPE)
    assert (
        ring.sum() == a.sum() + polygon_mask([left + 2], SHAPE).sum() - 2 * (a & polygon_mask([left + 2], SHAPE)).sum()
    )


def test_an_ellipse_as_scikit_image_draws_it() -> None:
    draw = pytest.importorskip("skimage.draw")
    row, column = draw.ellipse(17.5, 16.5, 5, 7, shape=SHAPE)  # pixel i has its centre at i there
    wanted = np.zeros(SHAPE, bool)
    wanted[row, column] = True
    np.testing.assert_array_equal(ellipse_mask((13, 10, 23, 24), SHAPE), wanted)


def test_masks_stay_sparse() -> None:
    assert sparse.issparse(from_array(MASKS, SHAPE, ""))
