"""NWB 2: cells as a plane segmentation with ROI responses, by pynwb, streamed and whole or not at all.

Names are those that readers look for: ``PlaneSegmentation``, ``Fluorescence`` with ``RoiResponseSeries``, ``Denoised``
and ``Deconvolved``, ``DfOverF`` with ``RoiResponseSeries``, ``SegmentationImages``, columns ``Accepted`` and
``Rejected`` (roiextractors 0.10, ``NwbSegmentationExtractor``); the description that CIAtah's loader takes the method
from (``loadNeurodataWithoutBorders.m``). ``docs/nwb.md`` has the table.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

import gpucells
from gpucells.errors import MissingDependencyError, SettingsError
from gpucells.export.nwb_metadata import Metadata, read_metadata, start_of_source
from gpucells.export.nwb_stream import in_chunks, mask_data, trace_data
from gpucells.export.values import Kind, blocks, has
from gpucells.io.atomic_file import LateErrors, written_atomically
from gpucells.io.nwb_cells import BACKGROUND_IMAGES, BACKGROUND_TRACES, MEASURED, METHOD_TEXT, SETTINGS_TEXT
from gpucells.model.cells import Cells
from gpucells.progress import ProgressSink
from gpucells.settings import Settings

#: Traces beside those as measured: which, in what container, under what name, unit, meaning.
_SERIES: tuple[tuple[Kind, str, str, str, str], ...] = (
    ("dff", "DfOverF", "RoiResponseSeries", "n.a.", "change of fluorescence relative to the ROI's baseline f0"),
    ("denoised", "Fluorescence", "Denoised", "a.u.", "traces by the method's model, in the unit of the traces"),
    ("spikes", "Fluorescence", "Deconvolved", "a.u.", "activity by the method's model: 1 lets the trace jump by 1"),
)
_PICTURES = {
    "mean": "mean of the movie over time",
    "max": "maximum of the movie over time",
    "correlation": "correlation of each pixel with its neighbours",
    "noise": "noise of each pixel",
}
_DFF, _CIATAH = (f"/processing/ophys/{container}/RoiResponseSeries" for container in ("DfOverF", "Fluorescence"))
_MEASURED = "fluorescence as measured, in the movie's unit above the ROI's baseline f0"
_NO_RATE = "give it with --set frame_rate_hz=10 (frames a second)"
_NO_START = (
    "NWB demands it: write a YAML file with the line 'session_start_time: 2024-05-17T14:30:00+02:00' and give it with "
    "--set metadata=FILE; docs/nwb.md has the template of all keys"
)


class Options(Settings):
    """What an NWB file needs that the result may not have."""

    metadata: str | None = Field(
        None, description="YAML file with the session's start, subject, microscope, …; docs/nwb.md has a template"
    )
    frame_rate_hz: float | None = Field(None, gt=0, description="frames a second, where the result does not say")
    ciatah: bool = Field(
        False,
        description="put dF/F where CIAtah's loader takes traces from (Fluorescence/RoiResponseSeries, which others "
        "call raw); those as measured are Fluorescence/Measured then",
    )


def write(cells: Cells, path: Path, options: Options, overwrite: bool, progress: ProgressSink) -> None:
    """Write cells as an NWB file.

    Parameters
    ----------
    cells : Cells
        The result; memory beside it stays within some blocks of traces, whatever its size.
    path : Path
        The file to make.
    options : Options
        Metadata, frame rate.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : ProgressSink
        Told of every block of cells.

    Raises
    ------
    SettingsError
        The frame rate or the session's start is not known; the metadata file is wrong.
    ResultFileError
        The file exists, its folder cannot be written to, or the disk is full. Nothing is left behind.
    MissingDependencyError
        pynwb is not installed.
    """
    try:
        from pynwb import NWBHDF5IO
    except ImportError:
        raise MissingDependencyError("pynwb is not installed", "pip install 'gpucells[nwb]'") from None
    import h5py

    rate = cells.frame_rate_hz or options.frame_rate_hz
    if rate is None:
        raise SettingsError("the result has no frame rate, and NWB cannot do without", _NO_RATE)
    if options.ciatah and not has(cells, "dff"):
        raise SettingsError("ciatah = True, but no cell has a baseline f0 for dF/F", "leave ciatah out")
    metadata = read_metadata(options.metadata)
    with warnings.catch_warnings(), written_atomically(path, overwrite) as stream:
        warnings.simplefilter("ignore")  # pynwb's deprecations are ours to follow, not the user's
        session = _session(cells, metadata, rate)
        _add_cells(session, cells, rate, options.ciatah, progress)
        sink = LateErrors(stream.raw)
        try:
            with h5py.File(sink, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
                io.write(session)
                if options.ciatah:  # a second name; pynwb would store the data again
                    file[_CIATAH] = h5py.SoftLink(_DFF)
        finally:
            sink.raise_first()


def _session(cells: Cells, metadata: Metadata, rate: float) -> Any:
    """Make the file's head: session, subject, microscope."""
    from pynwb import NWBFile
    from pynwb.file import Subject

    start = metadata.session_start_time or start_of_source(cells.provenance.source)
    if start is None:
        raise SettingsError("when the session started is not known", _NO_START)
    given = metadata.model_dump(exclude={"subject", "device", "imaging_plane"}, exclude_none=True)
    movie = Path(cells.provenance.source).name
    given["session_start_time"] = start
    given.setdefault("session_description", f"cells of {movie}" if movie else "cells of a calcium-imaging movie")
    given.setdefault("identifier", _identifier(cells, start.isoformat()))
    versions = cells.provenance.versions
    session = NWBFile(
        **given,
        data_collection=SETTINGS_TEXT + json.dumps(cells.settings, default=str),
        was_generated_by=[["gpucells", versions.get("gpucells", gpucells.__version__)]],
    )
    if metadata.subject is not None:
        session.subject = Subject(**metadata.subject.model_dump(exclude_none=True))
    _add_plane(session, cells, metadata, rate)
    return session


def _add_plane(session: Any, cells: Cells, metadata: Metadata, rate: float) -> None:
    from pynwb.ophys import OpticalChannel

    plane = metadata.imaging_plane
    more: dict[str, Any] = {}
    if cells.pixel_size_um is not None:
        more = {"grid_spacing": [cells.pixel_size_um * 1e-6] * 2, "grid_spacing_unit": "meters"}
    session.create_imaging_plane(
        name="ImagingPlane",
        device=session.create_device(**metadata.device.model_dump(exclude_none=True)),
        optical_channel=OpticalChannel(**plane.optical_channel.model_dump()),
        imaging_rate=float(rate),
        **plane.model_dump(exclude={"optical_channel"}),
        **more,
    )


def _identifier(cells: Cells, start: str) -> str:
    """Make a UUID of the cells and the session's start, so that the same result has the same identifier."""
    seen = hashlib.sha256(f"{start} {cells.method} {cells.image_shape}".encode())
    for part in (cells.footprints.indptr, cells.footprints.indices, cells.footprints.data):
        seen.update(np.ascontiguousarray(part).data)
    for some in blocks(cells.n_cells, 4 * cells.n_frames):
        seen.update(np.ascontiguousarray(cells.traces[some]).data)
    return str(uuid.UUID(bytes=seen.digest()[:16]))


def _add_cells(session: Any, cells: Cells, rate: float, ciatah: bool, progress: ProgressSink) -> None:
    from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation

    module = session.create_processing_module(name="ophys", description="cells of a calcium-imaging movie")
    table = _table(session.imaging_planes["ImagingPlane"], cells, progress)
    module.add(ImageSegmentation(name="ImageSegmentation", plane_segmentations=[table]))
    containers = {"Fluorescence": Fluorescence(name="Fluorescence")}
    if has(cells, "dff"):
        containers["DfOverF"] = DfOverF(name="DfOverF")
    for container in containers.values():
        module.add(container)

    def add(container: str, name: str, data: Any, unit: str, description: str) -> Any:
        region = table.create_roi_table_region(region=list(range(cells.n_cells)), description="all ROIs")
        timing = {"rate": float(rate), "starting_time": 0.0}
        return containers[container].create_roi_response_series(
            name=name, data=data, unit=unit, description=description, rois=region, **timing
        )

    first = MEASURED if ciatah else "RoiResponseSeries"
    add("Fluorescence", first, trace_data(cells, "traces", progress), "a.u.", _MEASURED)
    for kind, container, name, unit, description in _SERIES:
        if has(cells, kind):
            add(container, name, trace_data(cells, kind, progress), unit, description)
    _add_images(module, cells, rate)


def _table(plane: Any, cells: Cells, progress: ProgressSink) -> Any:
    """Make the table of ROIs: masks, verdict and quality."""
    from hdmf.common import ElementIdentifiers, VectorData
    from pynwb.ophys import PlaneSegmentation

    masks = VectorData(
        name="image_mask", description="weights of the ROI's pixels, maximum 1", data=mask_data(cells, progress)
    )
    columns = {
        "Accepted": ("whether the ROI was accepted as a cell", cells.accepted),
        "Rejected": ("whether the ROI was rejected", ~cells.accepted),
        "rejection": ("why the ROI was rejected; empty for an accepted one", np.asarray(cells.rejection, "U")),
        "f0": ("baseline fluorescence in the movie's unit; NaN where there is none", cells.f0),
    }
    for name, column in cells.quality.items():
        key = _allowed(name)
        taken = key in {*columns, "image_mask", "id"}
        columns["quality_" + key if taken else key] = (f"quality measure {name}", column)
    kept = {name: told for name, told in columns.items() if not _nothing_but_nan(told[1])}
    method = re.sub(r"\W", "", cells.method) or "unknown"
    return PlaneSegmentation(
        name="PlaneSegmentation",
        description=f"{METHOD_TEXT}{method}. Cells found by gpucells.",
        imaging_plane=plane,
        id=ElementIdentifiers(name="id", data=list(range(cells.n_cells))),
        columns=[masks, *(VectorData(name=name, description=about, data=data) for name, (about, data) in kept.items())],
        colnames=["image_mask", *kept],
    )


def _allowed(name: str) -> str:
    """Return a name without what NWB's names may not have."""
    return re.sub(r"[/:]", "_", name)


def _nothing_but_nan(column: Any) -> bool:
    """Say whether a column tells nothing: a number that no ROI has."""
    values = np.asarray(column)
    return values.dtype.kind == "f" and values.size > 0 and not bool(np.isfinite(values).any())


def _add_images(module: Any, cells: Cells, rate: float) -> None:
    """Add pictures of the movie, and the background; the standard has x before y."""
    from pynwb import TimeSeries
    from pynwb.base import Images
    from pynwb.image import GrayscaleImage

    def pictures(name: str, description: str, images: dict[str, Any]) -> None:
        made = [
            GrayscaleImage(name=_allowed(key), data=image.T, description=_PICTURES.get(key, f"image {key}"))
            for key, image in images.items()
        ]
        module.add(Images(name=name, description=description, images=made))

    if cells.summary_images:
        pictures("SegmentationImages", "summary images of the movie", cells.summary_images)
    if cells.background_images is not None and len(cells.background_images):
        told = {f"background_{k}": image for k, image in enumerate(cells.background_images)}
        pictures(BACKGROUND_IMAGES, "images of the background, in the movie's unit", told)
    if cells.background_traces is not None and len(cells.background_traces):
        about = "traces of the background, a column for each of the background's images"
        data = in_chunks(cells.background_traces.T)
        timing = {"rate": float(rate), "starting_time": 0.0}
        module.add(TimeSeries(name=BACKGROUND_TRACES, data=data, unit="a.u.", description=about, **timing))
