"""The result file: round trip, versions, and that a write is whole or nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from gpucells.errors import InputError, MissingFileError, ResultFileError
from gpucells.io import cells_file
from gpucells.io.cells_file import LAYOUT, load_cells, save_cells
from gpucells.model.cells import FIELD_NAMES, Cells
from gpucells.model.provenance import Provenance, StageCost


def make_cells(n_cells: int = 4, n_frames: int = 30, shape: tuple[int, int] = (6, 5), full: bool = True) -> Cells:
    rng = np.random.default_rng(3)
    n_pixels = shape[0] * shape[1]

    def draw(*size: int) -> Any:
        return rng.random(size).astype(np.float32)

    footprints = sparse.random_array((n_cells, n_pixels), density=0.3, rng=rng, dtype=np.float32, format="csr")
    f0 = draw(n_cells)
    f0[:1] = np.nan
    optional: dict[str, Any] = {
        "quality": {"snr": draw(n_cells), "eccentricity": draw(n_cells)},
        "denoised": draw(n_cells, n_frames),
        "spikes": draw(n_cells, n_frames),
        "background_images": draw(2, *shape),
        "background_traces": draw(2, n_frames),
        "summary_images": {"mean": draw(*shape), "max": draw(*shape)},
        "frame_rate_hz": 10.1,
        "pixel_size_um": 1.25,
        "settings": {"kappa": 0.7, "nested": {"trace": "nonneg", "sizes": [1, 2]}, "none": None},
        "provenance": Provenance(
            versions={"gpucells": "0.1.0"},
            source="Maus µ.h5",
            seed=4,
            stages=(StageCost("read", 1.0, 0.5, 10, 20),),
            warnings=("a", "b"),
        ),
    }
    return Cells(
        footprints=footprints,
        traces=draw(n_cells, n_frames),
        image_shape=shape,
        f0=f0,
        accepted=np.arange(n_cells) % 2 == 0,
        rejection=tuple("" if k % 2 == 0 else f"größer, cell {k}" for k in range(n_cells)),
        method="extract",
        **(optional if full else {}),
    )


def assert_same(a: Cells, b: Cells) -> None:
    for name in FIELD_NAMES:
        x, y = getattr(a, name), getattr(b, name)
        if name == "footprints":
            np.testing.assert_array_equal(x.toarray(), y.toarray())
            assert x.dtype == y.dtype
        elif isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y, err_msg=name)
            assert x.dtype == y.dtype, name
        elif name in ("quality", "summary_images"):
            assert x.keys() == y.keys()
            for key in x:
                np.testing.assert_array_equal(x[key], y[key], err_msg=f"{name}/{key}")
        else:
            assert x == y, name


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_cells=st.integers(0, 5),
    n_frames=st.integers(0, 9),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    full=st.booleans(),
)
def test_read_of_write_is_the_same(
    tmp_path: Path, n_cells: int, n_frames: int, shape: tuple[int, int], full: bool
) -> None:
    cells = make_cells(n_cells, n_frames, shape, full)
    save_cells(cells, tmp_path / "cells.h5", overwrite=True)
    assert_same(cells, load_cells(tmp_path / "cells.h5"))


def test_chunked_and_packed_arrays_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_file, "CHUNK_BYTES", 256)
    monkeypatch.setattr(cells_file, "BLOCK_BYTES", 1000)
    cells = make_cells(37, 21)
    save_cells(cells, tmp_path / "cells.h5")
    assert_same(cells, load_cells(tmp_path / "cells.h5"))
    with h5py.File(tmp_path / "cells.h5") as file:
        assert file["traces"].chunks == (3, 21)
        assert file["spikes"].compression == "gzip"


def test_other_types_are_stored_as_documented(tmp_path: Path) -> None:
    cells = make_cells()
    changed = replace(
        cells,
        traces=cells.traces.astype(np.float64),
        settings={"a": np.float32(0.5), "b": np.arange(3), "c": Path("x")},
    )
    save_cells(changed, tmp_path / "cells.h5")
    loaded = load_cells(tmp_path / "cells.h5")
    assert loaded.traces.dtype == np.float32
    assert loaded.settings == {"a": 0.5, "b": [0, 1, 2], "c": "x"}


def paths_in(name: Path) -> set[str]:
    found: set[str] = set()
    with h5py.File(name) as file:
        found |= {f"/@{key}" for key in file.attrs}

        def visit(path: str, item: Any) -> None:
            parent = path.rpartition("/")[0]
            if isinstance(item, h5py.Dataset):
                found.add(f"/{parent}/<name>" if parent in ("quality", "summary_images") else f"/{path}")
            found.update(f"/{path}@{key}" for key in item.attrs)

        file.visititems(visit)
    return found


def test_the_file_holds_what_the_table_says_and_nothing_else(tmp_path: Path) -> None:
    save_cells(make_cells(), tmp_path / "full.h5")
    save_cells(make_cells(full=False), tmp_path / "small.h5")
    assert paths_in(tmp_path / "full.h5") == {entry.path for entry in LAYOUT}
    assert paths_in(tmp_path / "small.h5") == {entry.path for entry in LAYOUT if entry.required}


def test_stored_types_and_shapes_are_those_of_the_table(tmp_path: Path) -> None:
    cells = make_cells()
    save_cells(cells, tmp_path / "cells.h5")
    sizes = {
        "n_cells": 4, "n_cells + 1": 5, "n_frames": 30, "height": 6, "width": 5, "n_background": 2, "2": 2,
        "n_weights": cells.footprints.nnz,
    }  # fmt: skip
    examples = {"/quality/<name>": "/quality/snr", "/summary_images/<name>": "/summary_images/mean"}
    with h5py.File(tmp_path / "cells.h5") as file:
        for entry in LAYOUT:
            path, _, attribute = examples.get(entry.path, entry.path).partition("@")
            kind = file[path].attrs.get_id(attribute) if attribute else file[path].id
            named = () if entry.shape == "scalar" else entry.shape.strip("()").split(", ")
            assert kind.shape == tuple(sizes[name.strip(",")] for name in named), entry.path
            stored = "string" if kind.dtype.kind == "S" else kind.dtype.name
            assert stored in entry.type.split(" or "), entry.path


def test_the_page_holds_the_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "cells_file.md"
    assert cells_file.layout_table() in page.read_text(encoding="utf-8"), (
        "put the output of gpucells.io.cells_file.layout_table() into docs/cells_file.md"
    )


def test_existing_file_is_refused_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "cells.h5"
    target.write_bytes(b"precious")
    with pytest.raises(ResultFileError, match="exists already"):
        save_cells(make_cells(), target)
    assert target.read_bytes() == b"precious"
    save_cells(make_cells(), target, overwrite=True)
    assert load_cells(target).n_cells == 4
    assert [file.name for file in tmp_path.iterdir()] == ["cells.h5"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool) -> None:
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    old = tmp_path / "old.h5"
    save_cells(make_cells(2), old)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cells_file, "_write_strings", full)
    with pytest.raises(ResultFileError, match="disk is full") as caught:
        save_cells(make_cells(), tmp_path / "new.h5")
    assert "free some space" in caught.value.hint
    with pytest.raises(ResultFileError, match="disk is full"):
        save_cells(make_cells(), old, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["old.h5"]
    assert load_cells(old).n_cells == 2


def test_a_name_taken_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "cells.h5"
    monkeypatch.setattr(cells_file, "_write_strings", lambda *_: target.write_bytes(b"someone else's"))
    with pytest.raises(ResultFileError, match="exists already"):
        save_cells(make_cells(), target)
    assert target.read_bytes() == b"someone else's"


CHILD = """
import os, resource, signal, sys
import numpy as np
from gpucells.io import cells_file
from gpucells.errors import ResultFileError
from gpucells.model.cells import Cells
from scipy import sparse
n = 50
cells = Cells(sparse.csr_array((n, 12), dtype=np.float32), np.ones((n, 40000), np.float32), (3, 4),
              np.ones(n, np.float32), np.ones(n, bool), ("",) * n)
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
else:
    cells_file._write_strings = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
try:
    cells_file.save_cells(cells, sys.argv[1])
except ResultFileError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of file size and unnamed files are Linux's")
@pytest.mark.parametrize(("how", "code"), [("limit", 1), ("kill", -signal.SIGKILL)])
def test_a_write_that_the_system_ends_leaves_nothing(tmp_path: Path, how: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "cells.h5"), how], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert list(tmp_path.iterdir()) == []
    if how == "limit":
        assert "larger than the system or file system allows" in done.stderr


def test_folder_that_is_missing_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultFileError, match="there is no folder"):
        save_cells(make_cells(), tmp_path / "no" / "cells.h5")
    with pytest.raises(ResultFileError, match="is a folder"):
        save_cells(make_cells(), tmp_path)

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ResultFileError, match="no permission"):
        save_cells(make_cells(), tmp_path / "cells.h5")


def test_name_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a/b"):
        save_cells(replace(make_cells(), quality={"a/b": np.zeros(4, np.float32)}), tmp_path / "cells.h5")


def test_no_file_and_no_result(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no file"):
        load_cells(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ResultFileError, match="cannot be read as a result file"):
        load_cells(tmp_path / "text.h5")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["movie"] = np.zeros((2, 3, 4))
    with pytest.raises(ResultFileError, match="not a result of gpucells") as caught:
        load_cells(tmp_path / "movie.h5")
    assert "open_movie" in caught.value.hint


def test_truncated_file_is_a_clear_error(tmp_path: Path) -> None:
    target = tmp_path / "cells.h5"
    save_cells(make_cells(), target)
    target.write_bytes(target.read_bytes()[:-400])
    with pytest.raises(ResultFileError, match="cannot be read"):
        load_cells(target)


def test_newer_layout_is_refused_and_additions_are_not(tmp_path: Path) -> None:
    target = tmp_path / "cells.h5"
    cells = make_cells()
    save_cells(cells, target)
    with h5py.File(target, "r+") as file:
        file["labels/by_hand"] = np.zeros(3)
        file.attrs["licence"] = "MIT"
        values = json.loads(file["provenance"].asstr()[()])
        values["host"] = "x"
        values["stages"][0]["joules"] = 3
        del values["stages"][0]["device_peak_bytes"]
        del values["warnings"], file["provenance"], file["settings"], file["quality"], file["denoised"]
        file["provenance"] = json.dumps(values)
    stages = tuple(replace(stage, device_peak_bytes=0) for stage in cells.provenance.stages)
    provenance = replace(cells.provenance, warnings=(), stages=stages)
    expected = replace(cells, settings={}, quality={}, denoised=None, provenance=provenance)
    assert_same(load_cells(target), expected)
    with h5py.File(target, "r+") as file:
        file.attrs["version"] = cells_file.VERSION + 1
    with pytest.raises(ResultFileError, match="layout version 2; this gpucells reads up to 1") as caught:
        load_cells(target)
    assert "newer gpucells" in caught.value.hint


def test_two_writes_of_the_same_cells_are_equal_byte_by_byte(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        save_cells(make_cells(), tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_traces_are_not_copied_in_memory(tmp_path: Path) -> None:
    n_cells, n_frames = 400, 20_000
    cells = Cells(
        sparse.csr_array((n_cells, 4), dtype=np.float32),
        np.ones((n_cells, n_frames), np.float32),
        (2, 2),
        np.ones(n_cells, np.float32),
        np.ones(n_cells, bool),
        ("",) * n_cells,
    )
    save_cells(cells, tmp_path / "warm.h5")
    tracemalloc.start()
    save_cells(cells, tmp_path / "cells.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cells.traces.nbytes / 2
