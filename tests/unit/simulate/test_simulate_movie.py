"""Simulated movies: the same for a seed however they are made, and what their truth says is what they show."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import gpucells
from gpucells.errors import ResultFileError, SettingsError
from gpucells.io.truth_file import load_truth
from gpucells.progress import Event
from gpucells.simulate.movie import simulate_movie
from gpucells.simulate.noise import transient_amplitude
from gpucells.simulate.settings import SimulationSettings

SMALL = {"shape": (60, 40, 48), "n_cells": 6, "cell_diameter_px": 8.0, "seed": 3}
KINDS = ["two_photon", "one_photon"]


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_movie_and_other_seed_another(kind: str) -> None:
    first, again = (simulate_movie(kind, **SMALL) for _ in range(2))
    other = simulate_movie(kind, **SMALL | {"seed": 4})
    np.testing.assert_array_equal(first.movie, again.movie)
    np.testing.assert_array_equal(first.truth.traces, again.truth.traces)
    assert (first.movie != other.movie).mean() > 0.5
    assert (first.truth.footprints != other.truth.footprints).nnz > 0


@pytest.mark.parametrize("kind", KINDS)
def test_movie_does_not_depend_on_chunks(kind: str, tmp_path) -> None:
    changes = {"motion_px": 1.0, "correlated_noise": 0.3}
    whole = simulate_movie(kind, **SMALL | changes)
    pieces = simulate_movie(kind, frames_at_once=7, **SMALL | changes)
    np.testing.assert_array_equal(whole.movie, pieces.movie)
    on_disk = simulate_movie(kind, path=tmp_path / "movie.h5", frames_at_once=1, **SMALL | changes)
    with h5py.File(on_disk.movie) as file:
        np.testing.assert_array_equal(file["movie"][:], whole.movie)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_type_and_shape(dtype: str) -> None:
    movie = simulate_movie(**SMALL | {"dtype": dtype}).movie
    assert movie.dtype == dtype
    assert movie.shape == SMALL["shape"]
    assert movie.std() > 0


def test_file_carries_what_a_reader_needs(tmp_path) -> None:
    path = tmp_path / "movie.h5"
    made = simulate_movie("one_photon", path=path, **SMALL)
    with h5py.File(path) as file:
        assert file.attrs["imaging"] == "one_photon"
        assert file.attrs["frame_rate_hz"] == 20
        assert file.attrs["cell_diameter_px"] == 8
        assert (file["movie"].attrs["scale"], file["movie"].attrs["offset"]) == (1, 0)
        assert SimulationSettings.model_validate_json(file.attrs["simulation"]) == made.settings
    truth = load_truth(path)
    np.testing.assert_array_equal(truth.traces, made.truth.traces)
    assert [p.name for p in tmp_path.iterdir()] == ["movie.h5"]


def test_truth_describes_the_movie() -> None:
    """Without noise to speak of, background or motion, the movie is the true footprints times the true traces."""
    plain = {"read_noise": 1e-3, "gain": 0.0, "snr": 1e5, "background": 0.0, "background_change": 0.0, "vessels": 0}
    made = simulate_movie(**SMALL | plain | {"dtype": "float32", "resting_brightness": 0.0, "dark_level": 0.0})
    drawn = (made.truth.footprints.T @ made.truth.traces).T.reshape(made.movie.shape)
    np.testing.assert_allclose(made.movie, drawn, atol=0.02)
    assert drawn.max() > 50


@pytest.mark.parametrize("kind", KINDS)
def test_truth_properties(kind: str) -> None:
    made = simulate_movie(kind, **SMALL | {"n_cells": 12, "shape": (400, 64, 64)})
    truth = made.truth
    np.testing.assert_allclose(truth.footprints.max(axis=1).toarray().ravel(), 1, rtol=1e-6)
    assert truth.footprints.data.min() > 0
    assert (truth.traces >= 0).all()
    assert truth.spikes.any(axis=1).all()
    assert ((truth.max_overlap >= 0) & (truth.max_overlap <= 1)).all()
    images = truth.footprints.toarray().reshape(-1, 64, 64)
    on_edge = np.maximum(images[:, [0, -1]].max(axis=(1, 2)), images[:, :, [0, -1]].max(axis=(1, 2)))
    assert truth.at_border[on_edge > 0.5].all()
    assert not truth.at_border[on_edge < 0.05].any()
    assert 0 < truth.at_border.sum() < truth.n_cells


def test_snr_is_that_of_a_matched_filter() -> None:
    """Filtering the noisy movie with one true footprint gives the noise and the peak that ``snr`` says."""
    still = {"background_change": 0.0, "shape": (600, 40, 40), "n_cells": 1, "event_rate_hz": 0.02, "seed": 1}
    made = simulate_movie(**SMALL | still)
    weights = made.truth.footprints.toarray().ravel()
    silent = made.truth.traces[0] == 0
    pixels = made.movie.reshape(len(made.movie), -1).astype(np.float64)
    variance = pixels[silent].var(axis=0)
    filtered = (pixels - pixels[silent].mean(axis=0)) @ (weights / variance) / (weights**2 / variance).sum()
    peak = made.truth.traces[0].max()
    assert silent.sum() > 100
    assert made.truth.snr[0] == pytest.approx(peak / filtered[silent].std(), rel=0.2)
    assert filtered[made.truth.traces[0].argmax()] == pytest.approx(peak, rel=0.1)


def test_snr_setting_is_that_of_the_brightest_pixel() -> None:
    settings = SimulationSettings.for_kind("two_photon", {"snr": 6.0, "background": 3.0})
    amplitude = transient_amplitude(settings)
    noise = np.sqrt(settings.gain * settings.background * amplitude + settings.read_noise**2)
    assert amplitude / noise == pytest.approx(6)


def test_cells_keep_their_distance_and_too_many_do_not_fit() -> None:
    made = simulate_movie(**SMALL | {"n_cells": 10, "min_distance": 1.0, "halo": 0.0, "shape": (5, 60, 60)})
    rows, columns = np.divmod(np.arange(3600), 60)
    inside = made.truth.footprints[np.flatnonzero(~made.truth.at_border)]
    centres = np.stack([inside @ rows, inside @ columns], axis=1) / inside.sum(axis=1)[:, None]
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) + 100 * np.eye(len(centres))
    assert apart.min() > 7
    with pytest.raises(SettingsError, match="of 500 cells fit"):
        simulate_movie(**SMALL | {"n_cells": 500, "min_distance": 1.0})


def test_no_cells_one_frame_one_pixel() -> None:
    assert simulate_movie(shape=(3, 8, 8), n_cells=0).truth.n_cells == 0
    assert simulate_movie(shape=(1, 16, 16), n_cells=2).movie.shape == (1, 16, 16)
    assert simulate_movie("one_photon", shape=(4, 1, 1), n_cells=1, motion_px=1.0).movie.shape == (4, 1, 1)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="three_photon"):
        simulate_movie("three_photon")
    with pytest.raises(SettingsError) as error:
        simulate_movie(n_cels=3)
    assert "n_cells" in error.value.hint
    with pytest.raises(SettingsError, match="snr"):
        simulate_movie(snr=-1)


def test_unwritable_path_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ResultFileError, match="cannot write"):
        simulate_movie(path=tmp_path / "missing" / "movie.h5", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_frames() -> None:
    seen: list[Event] = []
    simulate_movie(progress=seen.append, frames_at_once=25, **SMALL)
    assert [event.done for event in seen] == [25, 50, 60]


def test_it_is_public() -> None:
    assert gpucells.simulate_movie is simulate_movie
