"""The result file in MATLAB: only types that h5read takes, and the recipe of the documentation run under Octave."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

from gpucells.io.cells_file import save_cells
from gpucells.model.cells import Cells

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cells_file.md"


@pytest.fixture
def cells() -> Cells:
    rng = np.random.default_rng(5)
    footprints = sparse.random_array((3, 20), density=0.4, rng=rng, dtype=np.float32, format="csr")
    return Cells(
        footprints=footprints,
        traces=rng.random((3, 7)).astype(np.float32),
        image_shape=(4, 5),
        f0=np.array([1, np.nan, 2], np.float32),
        accepted=np.array([True, False, True]),
        rejection=("", "duplicate of 0", ""),
        quality={"snr": np.arange(3, dtype=np.float32)},
        spikes=np.zeros((3, 7), np.float32),
        summary_images={"mean": rng.random((4, 5)).astype(np.float32)},
        frame_rate_hz=10.0,
        settings={"kappa": 0.7},
    )


def test_only_types_that_h5read_takes(cells: Cells, tmp_path: Path) -> None:
    """MATLAB reads integers, floats and strings as such; not so enums (h5py's bool), compounds and references."""
    save_cells(cells, tmp_path / "cells.h5")
    allowed = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING}
    filters = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
    seen = 0

    def check(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal seen
        kinds = [item.attrs.get_id(key) for key in item.attrs]
        if isinstance(item, h5py.Dataset):
            kinds.append(item.id)
            used = item.id.get_create_plist()
            assert {used.get_filter(k)[0] for k in range(used.get_nfilters())} <= filters, name
        for kind in kinds:
            seen += 1
            assert kind.get_type().get_class() in allowed, name
            assert kind.get_space().get_simple_extent_type() in (h5py.h5s.SIMPLE, h5py.h5s.SCALAR), name

    with h5py.File(tmp_path / "cells.h5") as file:
        check("/", file)
        file.visititems(check)
    assert seen > 15


def test_old_matlab_releases_can_open_it(cells: Cells, tmp_path: Path) -> None:
    """Superblock version 0 (byte 8) is HDF5 1.6's; every MATLAB with h5read has at least 1.8."""
    save_cells(cells, tmp_path / "cells.h5")
    assert (tmp_path / "cells.h5").read_bytes()[8] == 0


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="GNU Octave is not installed")
def test_recipe_of_the_page_rebuilds_the_footprints(cells: Cells, tmp_path: Path) -> None:
    """Octave has no h5read: a stand-in with h5read's axis order (reversed, like MATLAB's) supplies it."""
    save_cells(cells, tmp_path / "cells.h5")
    recipe = re.search(r"```matlab\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert recipe is not None
    script = tmp_path / "check.m"
    script.write_text(
        "1;\n"
        "function x = h5read(file, path)\n"
        "  x = load('-hdf5', file);\n"
        "  for part = strsplit(path(2:end), '/'), x = x.(part{1}); end\n"
        "  if size(x, 1) == 1, x = x(:); end\n"  # MATLAB gives columns for vectors
        "end\n"
        "function x = h5readatt(file, path, name)\n"
        f"  x = int64([{cells.image_shape[0]}; {cells.image_shape[1]}]);\n"
        "end\n" + recipe[1] + "\nprintf('%.9g ', images); printf('\\n'); printf('%.9g ', traces); printf('\\n');\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["octave-cli", "--norc", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    images, traces = (np.array(line.split(), dtype=np.float32) for line in done.stdout.strip().splitlines()[-2:])
    np.testing.assert_array_equal(images.reshape(4, 5, 3, order="F"), cells.images().transpose(1, 2, 0))
    np.testing.assert_array_equal(traces.reshape(7, 3, order="F"), cells.traces.T)
