"""CaImAn's result file: what we write is what h5py and CaImAn read, and what CaImAn writes is read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from reference.many_cells import many_cells
from scipy import sparse

import gpucells
from gpucells.errors import ResultFileError
from gpucells.io import caiman_file
from gpucells.model.cells import Cells


def written(cells: Cells, folder: Path) -> Path:
    gpucells.export_cells(cells, folder / "cells.hdf5", "caiman")
    return folder / "cells.hdf5"


@pytest.mark.parametrize(
    "cells",
    [
        many_cells(),
        many_cells(n_cells=1, n_frames=1),
        many_cells().select(np.zeros(6, bool)),
        many_cells(denoised=None, spikes=None, background_images=None, background_traces=None, summary_images={},
                   frame_rate_hz=None, f0=np.full(6, np.nan, np.float32)),
        many_cells(spikes=None, n_cells=300, n_frames=700),
    ],
    ids=["everything", "one", "none", "bare", "many"],
)  # fmt: skip
def test_cells_come_back(cells: Cells, tmp_path: Path) -> None:
    back = gpucells.load_cells(written(cells, tmp_path))
    np.testing.assert_array_equal(back.footprints.toarray(), cells.footprints.toarray())
    np.testing.assert_allclose(back.traces, cells.traces, atol=1e-5)
    np.testing.assert_array_equal(back.accepted, cells.accepted)
    assert back.rejection == cells.rejection
    assert back.frame_rate_hz == cells.frame_rate_hz
    assert back.image_shape == cells.image_shape
    np.testing.assert_array_equal(back.f0, cells.f0)
    assert back.pixel_size_um == cells.pixel_size_um
    for name in ("background_images", "background_traces"):
        if getattr(cells, name) is not None:
            np.testing.assert_array_equal(getattr(back, name), getattr(cells, name))
    if cells.spikes is not None:
        assert back.spikes is not None
        assert back.denoised is not None
        assert cells.denoised is not None
        good = cells.accepted
        np.testing.assert_allclose(back.spikes[good], cells.spikes[good], atol=1e-5)
        np.testing.assert_allclose(back.denoised[good], cells.denoised[good], atol=1e-5)
    for name, image in back.summary_images.items():
        np.testing.assert_array_equal(image, cells.summary_images[name])


def test_the_file_is_laid_out_as_caiman_has_it(tmp_path: Path) -> None:
    cells = many_cells()
    with h5py.File(written(cells, tmp_path)) as file:
        found = file["estimates"]
        parts = tuple(found[f"A/{part}"][()] for part in ("data", "indices", "indptr"))
        footprints = sparse.csc_matrix(parts, shape=found["A/shape"][()])
        assert footprints.shape == (620, 6)
        np.testing.assert_allclose(footprints.power(2).sum(axis=0), 1, rtol=1e-5)
        image = footprints[:, 2].toarray().reshape((20, 31), order="F")
        np.testing.assert_allclose(image / image.max(), cells.images()[2], atol=1e-6)
        left = footprints @ (found["C"][()] + found["YrA"][()])
        expected = cells.footprints.T @ cells.traces
        np.testing.assert_allclose(left.reshape((20, 31, 50), order="F"), expected.reshape(20, 31, 50), atol=1e-5)
        assert found["W"][()] == found["F_dff"][()] == file["dview"][()] == b"NoneType"
        assert found["g"][()] == 0
        assert tuple(file["dims"]) == (20, 31)
        np.testing.assert_array_equal(found["idx_components_bad"], [4, 5])
        assert file["params/data/fr"][()] == 12.5


def test_traps_of_caimans_own_files(tmp_path: Path) -> None:
    path = written(many_cells(), tmp_path)
    with h5py.File(path, "a") as file:
        group = file["estimates"]
        del group["bl"], group["idx_components"], group["YrA"], group["SNR_comp"], group["center"], file["params"]
        group["bl"] = np.array([b"1.5", b"None", b"[2.0]", b"0", b"1", b"-3e-1"], dtype="|S32")
        group["idx_components"] = np.bytes_("NoneType")
        group["C"][...] = group["C"][()].astype(np.float64)
    back = gpucells.load_cells(path)
    assert back.accepted.all()
    assert back.rejection == ("",) * 6
    assert np.isnan(back.quality["deconvolution_baseline"]).tolist() == [False, True, False, False, False, False]


def test_broken_and_other_files_are_told_apart(tmp_path: Path) -> None:
    path = written(many_cells(), tmp_path)
    with h5py.File(path, "a") as file:
        del file["estimates/A/indptr"]
    assert caiman_file.recognises(path)
    with pytest.raises(ResultFileError, match="cannot be read"):
        gpucells.load_cells(path)
    (tmp_path / "text.hdf5").write_text("no")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["movie"] = np.zeros(3)
    for other in (tmp_path / "text.hdf5", tmp_path / "movie.h5", tmp_path, tmp_path / "absent"):
        assert not caiman_file.recognises(other)


def test_an_existing_file_stays_unless_it_may_go(tmp_path: Path) -> None:
    path = written(many_cells(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ResultFileError, match="exists"):
        gpucells.export_cells(many_cells(n_cells=2), path, "caiman")
    assert path.read_bytes() == before
    gpucells.export_cells(many_cells(n_cells=2), path, "caiman", {"compression": 4}, overwrite=True)
    assert gpucells.load_cells(path).n_cells == 2
    assert [item.name for item in tmp_path.iterdir()] == ["cells.hdf5"]


def test_the_drop_in_saves_and_loads_what_it_has(tmp_path: Path) -> None:
    from gpucells.compat.caiman.source_extraction.cnmf import cnmf
    from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates

    first = cnmf.CNMF(1, k=7, gSig=[3, 3])
    first.estimates, first.dims = Estimates.of(many_cells()), (20, 31)
    first.estimates.select_components([0, 1, 3])
    first.estimates.W = sparse.eye_array(4, format="csr")
    first.save(tmp_path / "x.hdf5")
    second = cnmf.load_CNMF(tmp_path / "x.hdf5")
    assert second.params == first.params
    for name in ("C", "S", "YrA", "b", "f", "bl", "sn", "Cn"):
        np.testing.assert_array_equal(getattr(second.estimates, name), getattr(first.estimates, name), name)
    for name in ("A", "W"):
        np.testing.assert_array_equal(
            getattr(second.estimates, name).toarray(), getattr(first.estimates, name).toarray()
        )
    assert second.estimates.discarded_components.A.shape == (620, 3)
    second.estimates.restore_discarded_components()
    assert second.estimates.A.shape == (620, 6)
    assert gpucells.load_cells(tmp_path / "x.hdf5").n_cells == 3
    gpucells.save_cells(many_cells(), tmp_path / "own.h5")
    assert cnmf.load_CNMF(tmp_path / "own.h5").estimates.idx_components.tolist() == [0, 1, 2, 3]


def test_caiman_itself_reads_the_file(tmp_path: Path) -> None:
    # The name belongs to another project on the package index, so the module inside is asked for.
    try:
        there = importlib.util.find_spec("caiman.source_extraction.cnmf.cnmf")
    except ModuleNotFoundError:
        there = None
    if there is None:
        pytest.skip("CaImAn is not installed: its own load_CNMF was not tried")
    path = written(many_cells(), tmp_path)
    code = (
        "import sys; from caiman.source_extraction.cnmf.cnmf import load_CNMF; e = load_CNMF(sys.argv[1]).estimates; "
        "print(e.A.shape, e.C.shape, e.dims, len(e.idx_components))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().splitlines()[-1] == "(620, 6) (6, 50) (20, 31) 4"
