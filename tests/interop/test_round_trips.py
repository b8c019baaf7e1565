"""Every format that is registered: what is written and read again is what it was."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.many_cells import many_cells

import gpucells
from gpucells.errors import GpucellsError, InputError, MissingDependencyError, ResultFileError, SettingsError
from gpucells.export import values
from gpucells.export.formats import FORMATS, export_cells
from gpucells.io.footprints_file import read_footprints
from gpucells.io.results import READERS, foreign_reader
from gpucells.model.cells import Cells
from gpucells.progress import Event
from gpucells.settings import Settings

SHAPE = (20, 31)
#: What a format cannot do without, beside the result.
NEEDS: dict[str, dict[str, Any]] = {"nwb": {"metadata": str(Path(__file__).with_name("session.yaml"))}}
VARIANTS: dict[str, Callable[[], Cells]] = {
    "all": lambda: many_cells(7, 60, SHAPE),
    "no model": lambda: many_cells(5, 60, SHAPE, denoised=None, spikes=None),
    "no baseline": lambda: many_cells(5, 60, SHAPE, f0=np.full(5, np.nan, np.float32)),
    "no frame rate": lambda: many_cells(5, 60, SHAPE, frame_rate_hz=None, pixel_size_um=None),
    "no images": lambda: many_cells(5, 60, SHAPE, summary_images={}, background_images=None, background_traces=None),
    "one background": lambda: many_cells(
        5, 60, SHAPE, background_images=np.ones((1, *SHAPE), np.float32), background_traces=np.ones((1, 60), np.float32)
    ),
    "accepted only": lambda: many_cells(6, 60, SHAPE).accepted_only(),
    "one cell": lambda: many_cells(1, 60, SHAPE),
    "one frame": lambda: many_cells(4, 1, SHAPE),
    "missing frames": lambda: with_missing_frames(),
    "other letters": lambda: many_cells(2, 60, SHAPE, settings={"größe": "µm, “zitiert”", "list": [1, None, True]}),
    "no cells": lambda: many_cells(2, 60, SHAPE).select(np.zeros(2, bool)),
}


def with_missing_frames() -> Cells:
    cells = many_cells(4, 60, SHAPE)
    cells.traces[:, 20:23] = np.nan
    return cells


def written(cells: Cells, folder: Path, name: str, **more: Any) -> Path:
    path = folder / f"cells{FORMATS[name].ending}"
    try:
        export_cells(cells, path, name, NEEDS.get(name), **more)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return path


def baseline(cells: Cells) -> Any:
    return np.nan_to_num(cells.f0)[:, None]


def of_model(cells: Cells) -> Any:
    """CaImAn's file has the model's trace and what is left of it, so that the sum is rounded like the larger."""
    return 0 if cells.denoised is None else 2 * np.nan_to_num(np.abs(cells.denoised))


def assert_close(found: Any, wanted: Any, scale: Any, message: str) -> None:
    """Equal to float32: two units in the last place of the largest number that was written."""
    assert found is not None, message
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), message)
    error = np.abs(np.nan_to_num(found.astype(np.float64) - wanted))
    allowed = 2 * np.finfo(np.float32).eps * (np.abs(np.nan_to_num(wanted)) + scale)
    assert (error <= allowed).all(), f"{message}: off by {error.max()}"


def test_every_format_is_one_of_ours() -> None:
    assert set(FORMATS) == {"nwb", "caiman", "extract", "ciatah", "suite2p", "minian", "table"}
    for name, kind in FORMATS.items():
        assert kind.name == name
        assert issubclass(kind.options(), Settings)
        assert all(field.description for field in kind.options().model_fields.values())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(name: str, variant: str, tmp_path: Path) -> None:
    cells, keeps = VARIANTS[variant](), FORMATS[name].keeps
    try:
        path = written(cells, tmp_path, name)
    except (SettingsError, InputError):
        # What a format cannot do without, it says, and leaves nothing behind.
        assert variant in ("no cells", "no baseline", "no frame rate", "no model", "one frame")
        assert not list(tmp_path.iterdir())
        return
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.is_dir() == FORMATS[name].folder
    assert foreign_reader(path) in READERS.values()
    found = gpucells.load_cells(path)
    assert (found.n_cells, found.n_frames, found.image_shape) == (cells.n_cells, cells.n_frames, SHAPE)
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    if "traces" in keeps:
        assert_close(found.traces, cells.traces, baseline(cells) + of_model(cells), "traces")
    elif "dff" in keeps:
        assert_close(found.traces, cells.dff, 1, "dF/F")
    if "dff" in keeps and "traces" in keeps:
        assert_close(found.dff, cells.dff, 2, "dF/F")
    if "accepted" in keeps:
        np.testing.assert_array_equal(found.accepted, cells.accepted)
        assert [bool(reason) for reason in found.rejection] == (~found.accepted).tolist()
    for kind in set(keeps) & {"denoised", "spikes"}:
        ours, theirs = getattr(cells, kind), getattr(found, kind)
        if ours is None or not np.nan_to_num(ours).any():  # what is 0 throughout may be left out
            assert theirs is None or not np.nan_to_num(theirs).any(), kind
        else:  # a format without NaN has something else for rejected cells
            assert_close(theirs[cells.accepted], ours[cells.accepted], 0, kind)
    assert found.frame_rate_hz in (None, cells.frame_rate_hz)
    for image in found.summary_images.values():
        assert image.shape == SHAPE


@pytest.mark.parametrize("name", FORMATS)
def test_a_result_is_footprints_to_begin_with(name: str, tmp_path: Path) -> None:
    cells = many_cells(5, 30, SHAPE)
    path = written(cells, tmp_path, name)
    found = read_footprints(path, SHAPE)
    images = found.footprints if isinstance(found, Cells) else found
    np.testing.assert_array_equal(images.toarray(), cells.footprints.toarray())
    with pytest.raises(InputError, match=r"20 x 31.*movie is 24 x 31"):
        read_footprints(path, (24, SHAPE[1]))


@pytest.mark.parametrize("name", FORMATS)
def test_what_exists_is_not_replaced_unasked(name: str, tmp_path: Path) -> None:
    cells = many_cells(3, 30, SHAPE)
    path = written(cells, tmp_path, name)
    with pytest.raises(ResultFileError, match="exists"):
        export_cells(cells, path, name, NEEDS.get(name))
    export_cells(many_cells(2, 30, SHAPE), path, name, NEEDS.get(name), overwrite=True)
    assert gpucells.load_cells(path).n_cells == 2
    if FORMATS[name].folder:
        other = tmp_path / "mine"
        other.mkdir()
        (other / "work.txt").write_text("a year of it")
        with pytest.raises(ResultFileError, match="something else"):
            export_cells(cells, other, name, overwrite=True)
        assert (other / "work.txt").read_text() == "a year of it"
    with pytest.raises(ResultFileError, match="there is no folder"):
        export_cells(cells, tmp_path / "none" / "x", name, NEEDS.get(name))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("over", [False, True])
def test_an_error_half_way_leaves_nothing_behind(
    name: str, over: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after some blocks: what was there before is as it was."""
    cells = many_cells(6, 40, SHAPE)
    if over:
        written(many_cells(2, 30, SHAPE), tmp_path, name)
    monkeypatch.setattr(values, "BLOCK_BYTES", 100)
    events: list[Event] = []

    def full(event: Event) -> None:
        events.append(event)
        if len(events) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResultFileError, match="the disk is full"):
        written(cells, tmp_path, name, overwrite=over, progress=full)
    assert events[2].done < events[2].total  # so that it was half-way indeed
    left = list(tmp_path.iterdir())
    assert len(left) == over
    if over:
        assert gpucells.load_cells(left[0]).n_cells == 2


@pytest.mark.parametrize("name", FORMATS)
def test_blocks_make_no_difference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = many_cells(6, 40, SHAPE)
    monkeypatch.setattr(values, "BLOCK_BYTES", 100)
    found = gpucells.load_cells(written(cells, tmp_path, name))
    np.testing.assert_array_equal(found.footprints.toarray(), cells.footprints.toarray())
    if "traces" in FORMATS[name].keeps:
        assert_close(found.traces, cells.traces, baseline(cells) + of_model(cells), "traces")


@pytest.mark.parametrize("module", READERS.values())
def test_strange_paths_are_not_recognised(module: str, tmp_path: Path) -> None:
    recognises = importlib.import_module(module).recognises
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text.h5").write_bytes(b"no such thing " * 100)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "stat.npy").mkdir()
    (tmp_path / "folder" / "movie.json").mkdir()
    (tmp_path / "folder" / "A.zarr").write_text("")
    for path in (tmp_path, tmp_path / "none", *tmp_path.iterdir(), tmp_path / "empty" / "below"):
        assert not recognises(path), path


def test_unknown_names_are_said() -> None:
    with pytest.raises(SettingsError, match="did you mean 'suite2p'"):
        export_cells(many_cells(1), "x", "suit2p")
    with pytest.raises(GpucellsError, match=r"unknown setting 'tau'.*'tau_s'"):
        export_cells(many_cells(1), "x", "suite2p", {"tau": 1})
