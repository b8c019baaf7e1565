"""suite2p's folder: as roiextractors reads ours, and as we read one such as suite2p writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.many_cells import many_cells

import gpucells
from gpucells.errors import InputError, ResultFileError
from gpucells.export.formats import export_cells
from gpucells.io.footprints_file import read_footprints

SHAPE = (20, 31)


def test_roiextractors_reads_it(tmp_path: Path) -> None:
    extractors = pytest.importorskip("roiextractors", reason="roiextractors is not installed")
    cells = many_cells(6, 50, SHAPE)
    export_cells(cells, tmp_path / "s", "suite2p")
    found = extractors.Suite2pSegmentationExtractor(tmp_path / "s")
    assert found.get_frame_shape() == SHAPE
    assert found.get_sampling_frequency() == cells.frame_rate_hz
    assert found.get_num_samples() == cells.n_frames
    images = np.moveaxis(found.get_roi_image_masks(), -1, 0)
    np.testing.assert_array_equal(images, cells.images())
    np.testing.assert_array_equal(found.get_traces(name="raw").T, cells.traces + cells.f0[:, None])
    np.testing.assert_array_equal(found.get_traces(name="neuropil"), 0)
    np.testing.assert_array_equal(found.get_traces(name="deconvolved").T, np.nan_to_num(cells.spikes))
    np.testing.assert_array_equal(found.get_property("iscell", found.get_roi_ids()), cells.accepted)
    summary = found.get_images_dict()
    np.testing.assert_array_equal(summary["mean"], cells.summary_images["mean"])
    np.testing.assert_array_equal(summary["correlation"], cells.summary_images["correlation"])


def test_what_stands_in_the_files(tmp_path: Path) -> None:
    yx = np.stack(np.mgrid[:40, :50])
    disk = (np.hypot(yx[0] - 18, yx[1] - 30) <= 8).astype(np.float32)
    from scipy import sparse

    trace = np.array([[0, 0, 0, 4]], np.float32)
    cells = many_cells(1, 4, (40, 50), traces=trace, footprints=sparse.csr_array(disk.reshape(1, -1)))
    export_cells(cells, tmp_path / "s", "suite2p", {"tau_s": 0.7})
    plane = tmp_path / "s" / "plane0"
    ops = np.load(plane / "ops.npy", allow_pickle=True).item()  # our own file
    (stat,) = np.load(plane / "stat.npy", allow_pickle=True)
    assert (ops["Ly"], ops["Lx"], ops["nframes"], ops["fs"], ops["tau"]) == (40, 50, 4, 12.5, 0.7)
    assert stat["med"] == [18, 30]
    assert stat["npix"] == disk.sum()
    assert stat["npix_norm"] == 1
    assert not stat["overlap"].any()
    assert stat["radius"] == pytest.approx(8, rel=0.03)
    assert stat["aspect_ratio"] == pytest.approx(1, abs=1e-5)
    assert stat["compact"] == pytest.approx(1, abs=0.02)
    assert stat["std"] == pytest.approx(np.std(trace))
    assert stat["skew"] == pytest.approx(2 / np.sqrt(3))  # of one in four
    export_cells(many_cells(1, 4, (40, 50), frame_rate_hz=None), tmp_path / "t", "suite2p")
    ops = np.load(tmp_path / "t" / "plane0" / "ops.npy", allow_pickle=True).item()
    assert not {"fs", "tau"} & set(ops)


def write_theirs(plane: Path, n_cells: int = 3, n_frames: int = 20, **more: Any) -> dict[str, Any]:
    """Write a plane as suite2p does: unscaled lam, neuropil, images of the registered part alone."""
    plane.mkdir(parents=True)
    rng = np.random.default_rng(0)
    stat = np.empty(n_cells, object)
    for k in range(n_cells):
        y, x = (part.ravel() for part in np.mgrid[4 + k : 7 + k, 5 + 4 * k : 9 + 4 * k])
        stat[k] = {
            "ypix": y,
            "xpix": x,
            "lam": rng.random(y.size).astype(np.float32) * 7,
            "med": [5, 6],
            "npix": y.size,
        }
    f = rng.random((2, n_cells, n_frames)).astype(np.float32)
    ops = {
        "Ly": SHAPE[0],
        "Lx": SHAPE[1],
        "fs": np.float64(30),
        "tau": 1.25,
        "neucoeff": 0.5,
        "yrange": [2, 18],
        "xrange": [1, 30],
        "meanImg": rng.random(SHAPE, np.float32),
        "max_proj": rng.random((16, 29), np.float32),
        "save_path": Path("/data/µ"),
        "xoff": np.zeros(5000),
        "diameter": np.array([12, 12]),
    } | more
    np.save(plane / "F.npy", f[0])
    np.save(plane / "Fneu.npy", f[1])
    np.save(plane / "spks.npy", rng.random((n_cells, n_frames)).astype(np.float32))
    np.save(plane / "iscell.npy", np.array([[1, 0.9], [0, 0.2], [1, 0.6]])[:n_cells])
    np.save(plane / "stat.npy", stat)
    np.save(plane / "ops.npy", np.array(ops, object))
    return {"f": f, "stat": stat, "ops": ops}


@pytest.mark.parametrize("given", ["", "suite2p", "suite2p/plane0", "suite2p/plane0/stat.npy"])
def test_theirs(tmp_path: Path, given: str) -> None:
    wrote = write_theirs(tmp_path / "suite2p" / "plane0")
    cells = gpucells.load_cells(tmp_path / given)
    assert (cells.method, cells.image_shape, cells.frame_rate_hz) == ("suite2p", SHAPE, 30)
    np.testing.assert_allclose(cells.traces, wrote["f"][0] - 0.5 * wrote["f"][1], rtol=1e-6)
    assert np.isnan(cells.f0).all()
    assert cells.accepted.tolist() == [True, False, True]
    assert cells.rejection == ("", "rejected in the file", "")
    for image, roi in zip(cells.images(), wrote["stat"], strict=True):
        np.testing.assert_array_equal(image[roi["ypix"], roi["xpix"]], roi["lam"] / roi["lam"].max())
        assert np.count_nonzero(image) == roi["npix"]
    np.testing.assert_array_equal(cells.summary_images["max"][2:18, 1:30], wrote["ops"]["max_proj"])
    assert cells.settings["tau"] == 1.25
    assert cells.settings["save_path"] == str(Path("/data/µ"))
    assert "xoff" not in cells.settings


def test_theirs_since_ops_was_split(tmp_path: Path) -> None:
    write_theirs(tmp_path / "plane0")
    (tmp_path / "plane0" / "ops.npy").unlink()
    with pytest.raises(ResultFileError, match="size of the image"):
        gpucells.load_cells(tmp_path)
    np.save(tmp_path / "plane0" / "db.npy", np.array({"Ly": 20, "Lx": 31, "fs": 5.0}, object))
    assert gpucells.load_cells(tmp_path).frame_rate_hz == 5


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    write_theirs(tmp_path / "a" / "plane0")
    write_theirs(tmp_path / "a" / "plane1")
    with pytest.raises(ResultFileError, match="several planes: plane0, plane1"):
        gpucells.load_cells(tmp_path / "a")
    with pytest.raises(InputError, match=r"20 x 31.*rows and columns are exchanged"):
        read_footprints(tmp_path / "a" / "plane1", SHAPE[::-1])
    write_theirs(tmp_path / "b" / "plane0", Ly=8)
    with pytest.raises(ResultFileError, match="ROI 2 reaches row 8, column 16, outside the 8 x 31 px"):
        gpucells.load_cells(tmp_path / "b")
    np.save(tmp_path / "a" / "plane0" / "F.npy", np.zeros((2, 20), np.float32))
    with pytest.raises(ResultFileError, match=r"traces \(2, 20\), but 3 ROIs"):
        gpucells.load_cells(tmp_path / "a" / "plane0")


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("file", ["stat.npy", "ops.npy", "F.npy", "iscell.npy"])
def test_hostile_folders_run_nothing(tmp_path: Path, file: str) -> None:
    write_theirs(tmp_path / "plane0")
    np.save(tmp_path / "plane0" / file, np.array([Hostile(tmp_path / "mark")] * 3, object))
    for read in (gpucells.load_cells, lambda path: read_footprints(path, SHAPE)):
        with pytest.raises((InputError, ResultFileError)):
            read(tmp_path)
    assert not (tmp_path / "mark").exists()
