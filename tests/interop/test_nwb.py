"""NWB: what is written is read back equal by pynwb, roiextractors, CIAtah's way of reading, and by ourselves."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from reference.many_cells import many_cells

import gpucells
from gpucells.cli import main
from gpucells.errors import GpucellsError, ResultFileError, SettingsError
from gpucells.export import nwb_stream
from gpucells.export.formats import export_cells
from gpucells.export.nwb_metadata import TEMPLATE, Metadata, read_metadata
from gpucells.io.nwb_cells import recognises
from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance
from gpucells.settings import Settings

pynwb = pytest.importorskip("pynwb", reason="needs the extra gpucells[nwb]")
pytestmark = pytest.mark.filterwarnings("ignore")  # of pynwb and roiextractors, about themselves

START = "session_start_time: 2024-05-17T14:30:00+02:00\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes cells as NWB, with a start alone where no metadata are given."""

    def write(cells: Cells, metadata: str = START, **options: Any) -> Path:
        (tmp_path / "m.yaml").write_text(metadata, encoding="utf-8")
        path = tmp_path / "cells.nwb"
        export_cells(cells, path, "nwb", {"metadata": str(tmp_path / "m.yaml")} | options, overwrite=True)
        return path

    return write


def require_same(found: Cells, wanted: Cells, rtol: float = 0) -> None:
    assert found.image_shape == wanted.image_shape
    np.testing.assert_allclose(found.images(), wanted.images(), rtol=rtol)
    np.testing.assert_array_equal(found.accepted, wanted.accepted)
    assert found.rejection == wanted.rejection
    for name in ("traces", "f0", "denoised", "spikes", "background_images", "background_traces"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=rtol, err_msg=name)
    for name in ("quality", "summary_images"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("ciatah", [False, True])
def test_our_own_reader_gives_all_back(write: Write, ciatah: bool) -> None:
    cells = many_cells(40, 300, (70, 131), rejection=("",) * 27 + ("zu groß: 5 µm",) * 13)
    found = gpucells.load_cells(write(cells, ciatah=ciatah))
    require_same(found, cells)
    assert (found.frame_rate_hz, found.pixel_size_um, found.method) == (12.5, 2.0, "cnmf")
    assert found.settings == cells.settings


def test_pynwb_finds_it_valid_and_reads_it(write: Write) -> None:
    cells = many_cells(40, 300, (70, 131))
    path = write(cells, TEMPLATE.replace("Example Lab", "Labor für Gehirn"))
    assert pynwb.validate(path=str(path)) == []
    with pynwb.NWBHDF5IO(path, "r") as io:
        session = io.read()
        assert session.session_start_time.isoformat() == "2024-05-17T14:30:00+02:00"
        assert (session.lab, session.subject.species) == ("Labor für Gehirn", "Mus musculus")
        assert list(session.was_generated_by[0]) == ["gpucells", gpucells.__version__]
        plane = session.imaging_planes["ImagingPlane"]
        assert (plane.location, plane.imaging_rate, plane.optical_channel[0].emission_lambda) == ("CA1", 12.5, 510)
        np.testing.assert_allclose(plane.grid_spacing, [2e-6, 2e-6])
        ophys = session.processing["ophys"]
        table = ophys["ImageSegmentation"]["PlaneSegmentation"]
        np.testing.assert_array_equal(table["image_mask"][:], cells.images().swapaxes(1, 2))
        np.testing.assert_array_equal(table["Accepted"][:], cells.accepted)
        np.testing.assert_array_equal(table["Rejected"][:], ~cells.accepted)
        np.testing.assert_array_equal(table["snr"][:], cells.quality["snr"])
        stored = {
            ("Fluorescence", "RoiResponseSeries"): cells.traces,
            ("Fluorescence", "Denoised"): cells.denoised,
            ("Fluorescence", "Deconvolved"): cells.spikes,
            ("DfOverF", "RoiResponseSeries"): cells.dff,
        }
        for (container, name), wanted in stored.items():
            series = ophys[container][name]
            np.testing.assert_array_equal(series.data[:].T, wanted)
            assert (series.rate, series.rois.table, len(series.rois.data)) == (12.5, table, 40)


def test_roiextractors_reads_it(write: Write) -> None:
    extractors = pytest.importorskip("roiextractors", reason="roiextractors is not installed")
    cells = many_cells(9, 60, (20, 31))
    found = extractors.NwbSegmentationExtractor(file_path=write(cells))
    assert tuple(found.get_image_shape()) == (20, 31)
    np.testing.assert_array_equal(np.moveaxis(found.get_roi_image_masks(), -1, 0), cells.images())
    wanted = {"raw": cells.traces, "dff": cells.dff, "denoised": cells.denoised, "deconvolved": cells.spikes}
    for name, traces in wanted.items():
        np.testing.assert_array_equal(found.get_traces(name=name).T, traces, err_msg=name)
    np.testing.assert_array_equal(found.get_property("accepted", found.get_roi_ids()), cells.accepted)
    np.testing.assert_array_equal(found.get_property("rejected", found.get_roi_ids()), ~cells.accepted)
    assert found.get_sampling_frequency() == 12.5
    for name, image in cells.summary_images.items():
        np.testing.assert_array_equal(found.get_images_dict()[name], image)


def test_nwbinspector_is_content(write: Write) -> None:
    """With all metadata it says nothing; without, what is missing, and docs/nwb.md lists that."""
    inspector = pytest.importorskip("nwbinspector", reason="nwbinspector is not installed")

    def checks(path: Path) -> set[str]:
        return {message.check_function_name for message in inspector.inspect_nwbfile(nwbfile_path=str(path))}

    assert not checks(write(many_cells(), TEMPLATE))
    without_subject = re.sub(r"subject:\n(  .*\n)+", "", TEMPLATE)
    assert checks(write(many_cells(), without_subject)) == {"check_subject_exists"}
    page = (Path(__file__).resolve().parents[2] / "docs" / "nwb.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(check_\w+)`", page, re.MULTILINE))
    assert checks(write(many_cells())) | checks(write(many_cells(1))) == listed


def as_ciatah_reads(path: Path) -> tuple[NDArray[Any], NDArray[Any], str]:
    """Do as ``loadNeurodataWithoutBorders.m``: the last of its names that there is, MATLAB's order of dimensions."""
    root = "/processing/ophys/Fluorescence/"
    names = [
        f"{root}{series}{number}/data"
        for series in ("RoiResponseSeries", "Series", "RoiResponseSeries")
        for number in ("1", "2", "")
    ]
    with h5py.File(path) as file:
        table = "/processing/ophys/ImageSegmentation/PlaneSegmentation"
        table = table + "1" if table + "1" in file else table
        traces = file[[name for name in names if name in file][-1]][()]
        told = re.search(r"Extraction method: \w+", file[table].attrs["description"])
        assert told is not None
        return file[f"{table}/image_mask"][()].T, traces.T, told[0].split(": ")[1]


def test_ciatah_reads_it(write: Write) -> None:
    """Images come as [rows columns cells]; traces as measured, or dF/F where that was asked for."""
    cells = many_cells()
    images, traces, method = as_ciatah_reads(write(cells))
    np.testing.assert_array_equal(np.moveaxis(images, -1, 0), cells.images())
    np.testing.assert_array_equal(traces, cells.traces)
    assert method == "cnmf"
    path = write(cells, ciatah=True)
    np.testing.assert_array_equal(as_ciatah_reads(path)[1], cells.dff)
    with h5py.File(path) as file:
        ophys = file["processing/ophys"]
        assert ophys["Fluorescence/RoiResponseSeries/data"] == ophys["DfOverF/RoiResponseSeries/data"], "stored once"


@pytest.mark.parametrize(
    "changes",
    [
        {"f0": np.full(6, np.nan, np.float32)},
        {"denoised": None, "spikes": None},
        {"background_images": None, "background_traces": None, "summary_images": {}, "quality": {}},
        {"pixel_size_um": None, "settings": {}},
        {"traces": np.full((6, 50), np.nan, np.float32)},
    ],
    ids=["no f0", "no model", "no extras", "no pixel size", "NaN"],
)
def test_what_a_result_may_lack(write: Write, changes: dict[str, Any]) -> None:
    cells = many_cells(**changes)
    path = write(cells)
    assert pynwb.validate(path=str(path)) == []
    require_same(gpucells.load_cells(path), cells)
    with h5py.File(path) as file:
        assert ("DfOverF" in file["processing/ophys"]) == bool(np.isfinite(cells.f0).any())


@pytest.mark.parametrize(("n_cells", "n_frames"), [(0, 50), (1, 50), (3, 1)])
def test_few_cells_and_few_frames(write: Write, n_cells: int, n_frames: int) -> None:
    cells = many_cells(3, n_frames).select(np.arange(n_cells))
    path = write(cells)
    assert pynwb.validate(path=str(path)) == []
    found = gpucells.load_cells(path)
    assert (found.n_cells, found.n_frames) == (n_cells, n_frames)
    require_same(found, cells)


def test_identifier_is_that_of_the_cells(write: Write) -> None:
    def identifier(cells: Cells) -> str:
        with h5py.File(write(cells)) as file:
            return file["identifier"].asstr()[()]

    assert identifier(many_cells()) == identifier(many_cells()) != identifier(many_cells(seed=1))


def test_frame_rate_and_start_are_never_made_up(tmp_path: Path, write: Write) -> None:
    cells = many_cells(frame_rate_hz=None)
    with pytest.raises(SettingsError, match=r"no frame rate.*--set frame_rate_hz=10"):
        write(cells)
    assert gpucells.load_cells(write(cells, frame_rate_hz=7)).frame_rate_hz == 7
    with pytest.raises(SettingsError, match=r"when the session started.*session_start_time: 2024.*metadata=FILE"):
        export_cells(many_cells(), tmp_path / "b.nwb", "nwb")
    assert not (tmp_path / "b.nwb").exists()
    source = write(many_cells())  # any NWB file: the start is that of the movie's session
    of_source = replace(many_cells(), provenance=Provenance(source=str(source)))
    export_cells(of_source, tmp_path / "b.nwb", "nwb")
    with h5py.File(tmp_path / "b.nwb") as file:
        assert file["session_start_time"].asstr()[()] == "2024-05-17T14:30:00+02:00"
        assert file["session_description"].asstr()[()] == "cells of cells.nwb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", r"is a list \(it must have lines such as"),
        ("lab: [1\n", "is not YAML"),
        ("lab: \xff".encode("latin-1"), "is not YAML"),
        ("sessionstart_time: 2024-05-17", r"unknown key 'sessionstart_time' \(did you mean 'session_start_time'"),
        (START + "subject:\n  specie: Mus musculus", r"unknown key 'subject.specie' \(did you mean 'species'"),
        (START + "imaging_plane:\n  optical_channel:\n    lambda: 3", "'imaging_plane.optical_channel.lambda'"),
        (START + "subject:\n  sex: male", "subject.sex = 'male'"),
        (START + "subject: m12", "subject = 'm12'"),
        (START + "experimenter: {a: 1}", "experimenter"),
        ("session_start_time: 2024-05-17", "session_start_time.*time zone, such as"),
        ("session_start_time: 2024-05-17T14:30:00", "session_start_time.*time zone, such as"),
        ("session_start_time: 2024-13-45", "session_start_time.*time zone, such as|not YAML"),
        ("session_start_time: yesterday", "session_start_time.*time zone, such as"),
    ],
)
def test_wrong_metadata_are_told(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=message):
        export_cells(many_cells(), tmp_path / "a.nwb", "nwb", {"metadata": str(path)})
    with pytest.raises(GpucellsError, match="there is no file"):
        export_cells(many_cells(), tmp_path / "a.nwb", "nwb", {"metadata": str(tmp_path / "none.yaml")})
    assert [one.name for one in tmp_path.iterdir()] == ["m.yaml"]


def test_the_template_has_every_key(tmp_path: Path) -> None:
    def require_all(model: Settings) -> None:
        for name, value in model:
            assert name in model.model_fields_set, name
            if isinstance(value, Settings):
                require_all(value)

    (tmp_path / "m.yaml").write_text(TEMPLATE, encoding="utf-8")
    require_all(read_metadata(str(tmp_path / "m.yaml")))
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    assert read_metadata(str(tmp_path / "empty.yaml")).model_fields_set == read_metadata(None).model_fields_set == set()
    page = (Path(__file__).resolve().parents[2] / "docs" / "nwb.md").read_text(encoding="utf-8")
    assert f"```yaml\n{TEMPLATE}```" in page
    assert set(Metadata.model_fields) >= {"session_start_time", "subject", "device", "imaging_plane"}


def test_nothing_is_left_of_what_fails(tmp_path: Path, write: Write) -> None:
    path = write(many_cells())
    before = path.read_bytes()
    metadata = {"metadata": str(tmp_path / "m.yaml")}
    with pytest.raises(ResultFileError, match="exists"):
        export_cells(many_cells(seed=3), path, "nwb", metadata)

    def stop(event: Any) -> None:
        if event.stage == "write spikes":
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        export_cells(many_cells(seed=3), path, "nwb", metadata, overwrite=True, progress=stop)
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cells.nwb", "m.yaml"]


def test_memory_does_not_grow_with_the_result(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four series of 16 MB, and masks of 96 MB were they dense, a few blocks are held at a time."""
    cells = many_cells(200, 20_000, (300, 400))
    monkeypatch.setattr(nwb_stream, "BLOCK_BYTES", 1 << 20)
    write(many_cells())  # what pynwb keeps of its schema
    tracemalloc.start()
    try:
        write(cells)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    resource = pytest.importorskip("resource", reason="no limits on this system")
    (tmp_path / "m.yaml").write_text(START)
    cells = many_cells(60, 3000)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, old[1]))
    try:
        with pytest.raises(ResultFileError, match=r"larger than the system .* nothing was left behind"):
            export_cells(cells, tmp_path / "a.nwb", "nwb", {"metadata": str(tmp_path / "m.yaml")})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert [one.name for one in tmp_path.iterdir()] == ["m.yaml"]


def test_command_line(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A result of NWB goes in and out; info says what cells a file has, and after a movie that it has both."""
    path = write(many_cells())
    out = tmp_path / "again.nwb"
    assert main(["export", str(path), "--to", "nwb", "-o", str(out), "--which", "accepted"]) == 0
    require_same(gpucells.load_cells(out), many_cells().accepted_only())
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"kind +cells\n", shown)
    assert re.search(r"n_accepted +4\n", shown)
    with pynwb.NWBHDF5IO(path, "r+") as io:
        session = io.read()
        frames = np.zeros((7, 31, 20), np.int16)
        plane = session.imaging_planes["ImagingPlane"]
        session.add_acquisition(
            pynwb.ophys.OnePhotonSeries(name="Movie", data=frames, imaging_plane=plane, rate=12.5, unit="n.a.")
        )
        io.write(session)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    for line in (r"kind +movie and cells\n", r"n_frames +7\n", r"n_cells +6\n", r"height +20\n"):
        assert re.search(line, shown), line
    with gpucells.open_movie(path) as movie:
        assert movie.shape == (7, 20, 31)


def test_strange_files_are_not_recognised(tmp_path: Path, write: Write) -> None:
    assert recognises(write(many_cells()))
    (tmp_path / "text.nwb").write_text("nwb")
    (tmp_path / "short.nwb").write_bytes(write(many_cells()).read_bytes()[:2000])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["traces"] = np.zeros(3)
    for name in ("text.nwb", "short.nwb", "a.h5", "none.nwb", "."):
        assert not recognises(tmp_path / name), name
