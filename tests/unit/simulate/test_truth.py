"""The truth and its file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

from gpucells.errors import InputError, MissingFileError
from gpucells.io.truth_file import has_truth, load_truth, save_truth
from gpucells.model.truth import Truth, largest_overlap
from gpucells.simulate.movie import simulate_movie


@pytest.fixture(scope="module")
def truth() -> Truth:
    return simulate_movie(shape=(30, 24, 32), n_cells=5, cell_diameter_px=6.0).truth


def test_round_trip(truth: Truth, tmp_path: Path) -> None:
    path = tmp_path / "truth.h5"
    save_truth(path, truth)
    save_truth(path, truth)
    back = load_truth(path)
    assert back.image_shape == (24, 32)
    assert (back.footprints != truth.footprints).nnz == 0
    for name in ("traces", "spikes", "snr", "max_overlap", "at_border"):
        np.testing.assert_array_equal(getattr(back, name), getattr(truth, name))
        assert getattr(back, name).dtype == getattr(truth, name).dtype


def test_image_shape_comes_from_the_movie_where_the_truth_does_not_say(truth: Truth, tmp_path: Path) -> None:
    path = tmp_path / "truth.h5"
    save_truth(path, truth)
    with h5py.File(path, "a") as file:
        del file["truth"].attrs["image_shape"]
    with pytest.raises(InputError, match="how large"):
        load_truth(path)
    with h5py.File(path, "a") as file:
        file["movie"] = np.zeros((2, 24, 32), np.uint8)
    assert load_truth(path).image_shape == (24, 32)
    with h5py.File(path, "a") as file:
        file["truth"].attrs["image_shape"] = (24, 40)
    with pytest.raises(InputError, match="24 x 40"):
        load_truth(path)


def test_what_is_missing_is_said(truth: Truth, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_truth(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("no")
    assert not has_truth(tmp_path / "text.h5")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["movie"] = np.zeros((2, 4, 4))
    with pytest.raises(InputError, match="no group /truth"):
        load_truth(tmp_path / "movie.h5")
    datasets = truth.as_datasets()
    del datasets["footprints_indptr"]
    with pytest.raises(InputError, match="footprints_indptr"):
        Truth.from_datasets(datasets, truth.image_shape)


def test_optional_columns_have_defaults(truth: Truth) -> None:
    needed = {name: a for name, a in truth.as_datasets().items() if name == "traces" or name.startswith("footprints")}
    bare = Truth.from_datasets(needed, truth.image_shape)
    assert not bare.at_border.any()
    assert (bare.snr > 1e9).all()
    np.testing.assert_allclose(bare.max_overlap, truth.max_overlap, atol=1e-6)


def test_shapes_that_do_not_go_together_are_refused(truth: Truth) -> None:
    with pytest.raises(InputError, match="the image has 32"):
        Truth.from_datasets(truth.as_datasets(), (1, 32))
    with pytest.raises(InputError, match="true spikes"):
        Truth.from_datasets(truth.as_datasets() | {"spikes": truth.spikes[:, 1:]}, truth.image_shape)
    with pytest.raises(InputError, match="values of snr"):
        Truth.from_datasets(truth.as_datasets() | {"snr": np.ones(2)}, truth.image_shape)


def test_largest_overlap_leaves_out_the_cell_itself() -> None:
    rows = sparse.csr_array(np.array([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]))
    np.testing.assert_allclose(largest_overlap(rows), [0.5, 0.5, 0, 0])
    assert largest_overlap(rows[:1]) == [0]


def test_shared_movies_are_read(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("sim_*.h5")):
        truth = load_truth(path)
        with h5py.File(path) as file:
            assert truth.traces.shape[1] == file["movie"].shape[0], path.name
        assert 0 < ((truth.snr >= 5) & ~truth.at_border).sum() <= truth.n_cells
