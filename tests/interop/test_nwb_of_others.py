"""NWB files as other tools lay them out, read as cells: the layouts are facts of each writer's code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from reference.many_cells import many_cells

import gpucells
from gpucells.errors import ResultFileError
from gpucells.io.footprints_file import read_footprints
from gpucells.io.nwb_cells import recognises

pynwb = pytest.importorskip("pynwb", reason="needs the extra gpucells[nwb]")
from pynwb.base import Images  # noqa: E402
from pynwb.image import GrayscaleImage  # noqa: E402
from pynwb.ophys import (  # noqa: E402
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
)

pytestmark = pytest.mark.filterwarnings("ignore")
SHAPE = (20, 31)
CELLS = many_cells(5, 40, SHAPE)
NORM = np.linalg.norm(CELLS.images().reshape(5, -1), axis=1).astype(np.float32)


class Session:
    """A file with one imaging plane, and shorthands for what goes into it."""

    def __init__(self, description: str, rate: float | None = 12.5) -> None:
        self.file = pynwb.NWBFile("a session", "id", datetime(2020, 1, 1, tzinfo=UTC))
        channel = OpticalChannel(name="green", description="green", emission_lambda=520.0)
        self.plane = self.file.create_imaging_plane(
            name="ImagingPlane", optical_channel=channel, description="plane", indicator="GCaMP", location="CA1",
            device=self.file.create_device(name="Microscope"), excitation_lambda=920.0, imaging_rate=rate,
        )  # fmt: skip
        self.ophys = self.file.create_processing_module(name="ophys", description="cells")
        self.table = PlaneSegmentation(name="PlaneSegmentation", description=description, imaging_plane=self.plane)
        self.ophys.add(ImageSegmentation(name="ImageSegmentation", plane_segmentations=[self.table]))

    def series(self, name: str, traces: NDArray[Any], rows: list[int] | None = None, **timing: Any) -> Any:
        """Return a series of ``(n_cells, n_frames)`` traces."""
        region = self.table.create_roi_table_region(
            region=rows if rows is not None else list(range(len(traces))), description="ROIs"
        )
        return RoiResponseSeries(name=name, data=traces.T, rois=region, unit="lumens", **(timing or {"rate": 12.5}))

    def images(self, name: str, **images: NDArray[Any]) -> None:
        self.ophys.add(Images(name=name, images=[GrayscaleImage(name=key, data=data) for key, data in images.items()]))

    def save(self, path: Path) -> Path:
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(self.file)
        return path


def caiman(path: Path) -> Path:
    """``Estimates.save_NWB``: unit norm, pixels of Fortran order in an array of C order, backgrounds among the rows."""
    session = Session("CNMF_ROIs")
    for name in ("r", "snr", "accepted", "rejected", "keep"):
        session.table.add_column(name, name)
    for k, image in enumerate(CELLS.images()):
        mask = (image / NORM[k]).ravel(order="F").reshape(SHAPE)
        session.table.add_roi(image_mask=mask, r=0.5, snr=float(k), accepted=False, rejected=False, keep=k != 3)
    mask = np.ones(SHAPE).ravel(order="F").reshape(SHAPE)
    session.table.add_roi(image_mask=mask, r=np.nan, snr=np.nan, accepted=False, rejected=False, keep=False)
    stamps = np.arange(40) / 12.5
    model = np.nan_to_num(CELLS.denoised) * NORM[:, None]
    traces = Fluorescence(name="Fluorescence")
    session.ophys.add(traces)
    traces.add_roi_response_series(session.series("RoiResponseSeries", model, timestamps=stamps))
    background = session.series("Background_Fluorescence_Response", np.ones((1, 40)), [5], timestamps=stamps)
    traces.add_roi_response_series(background)
    residuals = CELLS.traces * NORM[:, None] - model
    session.ophys.add(
        pynwb.TimeSeries(name="residuals", description="residuals", data=residuals.T, timestamps=stamps, unit="NA")
    )
    return session.save(path)


def suite2p(path: Path) -> Path:
    """``save_nwb``: rows are x and columns y; pictures have rows first; the verdict is a column of two values."""
    session = Session("suite2p output")
    for image in CELLS.images():
        row, column = np.nonzero(image)
        session.table.add_roi(pixel_mask=list(zip(row, column, 3 * image[row, column], strict=True)))
    session.table.add_column("iscell", "two columns", np.stack([CELLS.accepted, np.full(5, 0.7)], axis=1))
    for name, traces in (
        ("Fluorescence", CELLS.traces), ("Neuropil", CELLS.traces * 9), ("Deconvolved", np.nan_to_num(CELLS.spikes)),
    ):  # fmt: skip
        session.ophys.add(Fluorescence(name=name, roi_response_series=[session.series("plane0", traces)]))
    picture = CELLS.summary_images
    session.images("Backgrounds_0", meanImg=picture["mean"], Vcorr=picture["correlation"], max_proj=picture["max"])
    return session.save(path)


def extract(path: Path) -> Path:
    """``EXTRACT_output_to_nwb``: dF/F alone, a table of metrics, ``is_bad``, a container of its own type."""
    session = Session("EXTRACT ouput")
    for image in CELLS.images():
        session.table.add_roi(image_mask=image.T)
    session.table.add_column("metrics", "cellcheck", np.ones((5, 7)))
    session.table.add_column("is_attr_bad", "cellcheck", np.zeros((5, 7)))
    session.table.add_column("is_bad", "cellcheck", (~CELLS.accepted).astype(float))
    session.ophys.add(DfOverF(name="DfOverF", roi_response_series=[session.series("RoiResponseSeries", CELLS.traces)]))
    session.images("EXTRACTSegmentationImages", max_img=CELLS.summary_images["max"].T)
    session.save(path)
    with h5py.File(path, "r+") as file:
        file["processing/ophys/ImageSegmentation"].attrs["neurodata_type"] = "EXTRACTSegmentation"
    return path


def neuroconv(path: Path) -> Path:
    """roiextractors' names: ``Accepted``, ``SegmentationImages``, dF/F beside raw, a table of the background."""
    session = Session("Segmented ROIs")
    for image in CELLS.images():
        session.table.add_roi(image_mask=image.T)
    session.table.add_column("Accepted", "1 if ROI was accepted", CELLS.accepted.astype(np.uint8))
    session.table.add_column("Rejected", "1 if ROI was rejected", (~CELLS.accepted).astype(np.uint8))
    other = PlaneSegmentation(name="BackgroundPlaneSegmentation", description="bg", imaging_plane=session.plane)
    other.add_roi(image_mask=np.ones(SHAPE).T)
    session.ophys["ImageSegmentation"].add_plane_segmentation(other)
    region = other.create_roi_table_region(region=[0], description="bg")
    background = RoiResponseSeries(name="Background", data=np.ones((40, 1)), rois=region, unit="n.a.", rate=12.5)
    series = [session.series("RoiResponseSeries", CELLS.traces), session.series("Denoised", CELLS.denoised), background]
    session.ophys.add(Fluorescence(name="Fluorescence", roi_response_series=series))
    session.ophys.add(DfOverF(name="DfOverF", roi_response_series=[session.series("RoiResponseSeries", CELLS.dff)]))
    session.images("SegmentationImages", correlation=CELLS.summary_images["correlation"].T)
    return session.save(path)


@pytest.mark.parametrize("writer", [caiman, suite2p, extract, neuroconv])
def test_cells_of_other_writers(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    path = writer(tmp_path / "a.nwb")
    assert recognises(path)
    found = gpucells.load_cells(path)
    name = writer.__name__
    assert found.method == {"neuroconv": "nwb"}.get(name, name)
    assert (found.image_shape, found.frame_rate_hz) == (SHAPE, pytest.approx(12.5))
    np.testing.assert_allclose(found.images(), CELLS.images(), rtol=1e-6)
    np.testing.assert_allclose(found.traces, CELLS.traces, rtol=1e-5, atol=1e-6)
    assert np.isnan(found.f0).all()
    accepted = np.arange(5) != 3 if name == "caiman" else CELLS.accepted
    np.testing.assert_array_equal(found.accepted, accepted)
    assert found.rejection == tuple("" if kept else "rejected in the file" for kept in accepted)
    if name in ("caiman", "neuroconv"):
        assert found.denoised is not None
        np.testing.assert_allclose(np.nan_to_num(found.denoised), np.nan_to_num(CELLS.denoised), rtol=1e-5)
    if name == "suite2p":
        np.testing.assert_array_equal(found.spikes, np.nan_to_num(CELLS.spikes))
    pictures = {"caiman": [], "suite2p": ["mean", "max", "correlation"], "extract": ["max"]}
    assert set(found.summary_images) == set(pictures.get(name, ["correlation"]))
    for key, image in found.summary_images.items():
        np.testing.assert_array_equal(image, CELLS.summary_images[key])
    assert set(found.quality) == ({"r", "snr"} if name == "caiman" else set())


@pytest.mark.parametrize("writer", [caiman, suite2p, extract, neuroconv])
def test_their_footprints_alone(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    """``--footprints`` places them alike; where the file says how large the image is does not matter there."""
    found = read_footprints(writer(tmp_path / "a.nwb"), SHAPE)
    masks = found.toarray().reshape(-1, *SHAPE)
    np.testing.assert_allclose(masks / masks.max(axis=(1, 2), keepdims=True), CELLS.images(), rtol=1e-6)


def test_voxels_of_one_plane_and_of_several(tmp_path: Path) -> None:
    """Without a picture the image is as large as its cells; several planes are refused."""
    for planes in (1, 2):
        session = Session("volume")
        for k, image in enumerate(CELLS.images()):
            row, column = np.nonzero(image)
            depth = np.full(len(row), k % planes)
            session.table.add_roi(voxel_mask=list(zip(column, row, depth, image[row, column], strict=True)))
        traces = [session.series("RoiResponseSeries", CELLS.traces)]
        session.ophys.add(Fluorescence(name="Fluorescence", roi_response_series=traces))
        session.save(tmp_path / f"{planes}.nwb")
    found = gpucells.load_cells(tmp_path / "1.nwb")
    height, width = found.image_shape
    assert (height, width) == tuple(np.argwhere(CELLS.images().max(axis=0)).max(axis=0) + 1)
    np.testing.assert_allclose(found.images(), CELLS.images()[:, :height, :width], rtol=1e-6)
    with pytest.raises(ResultFileError, match="masks in several planes"):
        gpucells.load_cells(tmp_path / "2.nwb")


def test_series_the_wrong_way_round_and_of_other_length(tmp_path: Path) -> None:
    """(ROIs, frames) is a known mistake of writers; a conversion counts; another number of ROIs is refused."""
    session = Session("a")
    for image in CELLS.images():
        session.table.add_roi(image_mask=image.T)
    series = session.series("RoiResponseSeries", CELLS.traces)
    session.ophys.add(Fluorescence(name="Fluorescence", roi_response_series=[series]))
    path = session.save(tmp_path / "a.nwb")
    data = "processing/ophys/Fluorescence/RoiResponseSeries/data"
    for stored in (CELLS.traces, CELLS.traces[:4]):
        with h5py.File(path, "r+") as file:
            del file[data]
            file[data] = stored
            file[data].attrs.update({"conversion": 2.0, "offset": 1.0})
        if len(stored) == 5:
            np.testing.assert_allclose(gpucells.load_cells(path).traces, CELLS.traces * 2 + 1, rtol=1e-5, atol=1e-6)
    with pytest.raises(ResultFileError, match=r"\(4, 40\), of 5 ROIs"):
        gpucells.load_cells(path)


def test_a_movie_or_masks_alone_are_no_result(tmp_path: Path) -> None:
    session = Session("a")
    session.table.add_roi(image_mask=np.ones(SHAPE).T)
    path = session.save(tmp_path / "a.nwb")
    assert not recognises(path)
    assert read_footprints(path, SHAPE).shape == (1, 620)
    with pytest.raises(ResultFileError, match="not a result of gpucells"):
        gpucells.load_cells(path)
