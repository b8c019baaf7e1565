"""CellSort's functions: a translated script finds the cells, with CellSort's shapes, scales and numbers from 1."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import gpucells
from gpucells.compat import cellsort
from gpucells.compat.told_once import NotHonoured, forget
from gpucells.errors import InputError, SettingsError
from gpucells.postprocess.match import score_cells

# CellSort's own example, translated: brackets and semicolons apart, the lines are MATLAB's.
SCRIPT = """
from gpucells.compat.cellsort import *

fn = 'movie.tif'
flims = [1, 600]
nPCs = 60
dsamp = []
badframes = []
outputdir = []
[mixedsig, mixedfilters, CovEvals, covtrace, movm, movtm] = CellsortPCA(fn, flims, nPCs, dsamp, outputdir, badframes)

[PCuse] = [CellsortChoosePCs(fn, mixedfilters)]
figure = CellsortPlotPCspectrum(fn, CovEvals, PCuse)

mu = 0.2
nIC = len(PCuse)
ica_A_guess = []
termtol = 1e-6
maxrounds = 200
[ica_sig, ica_filters, ica_A, numiter] = CellsortICA(mixedsig, mixedfilters, CovEvals, PCuse, mu, nIC, ica_A_guess,
                                                     termtol, maxrounds)
smwidth = 1.5
thresh = 2.5
arealims = [25, 400]
plotting = 0
[ica_segments, segmentlabel, segcentroid] = CellsortSegmentation(ica_filters, smwidth, thresh, arealims, plotting)

subtractmean = 1
cell_sig = CellsortApplyFilter(fn, ica_segments, flims, movm, subtractmean)

deconvtau = 0.8
[spmat, spt, spc, zsig] = CellsortFindspikes(ica_sig, 4, 0.1, deconvtau, 1)
"""


@pytest.fixture(scope="module")
def simulated() -> Any:
    return gpucells.simulate_movie("two_photon", shape=(600, 64, 88), n_cells=12, seed=5, snr=8.0, vessels=0)


@pytest.fixture(scope="module")
def script(simulated: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cellsort"))
        tifffile.imwrite("movie.tif", simulated.movie, photometric="minisblack")
        exec(SCRIPT, names)
    return names


def test_a_translated_script_finds_the_cells(script: dict[str, Any], simulated: Any) -> None:
    truth, segments = simulated.truth, script["ica_segments"]
    signals = script["ica_sig"][script["segmentlabel"] - 1]
    flat = np.maximum(segments, 0).reshape(len(segments), -1)
    scores = score_cells(flat, signals, truth.footprints, truth.traces, truth.image_shape, at_border=truth.at_border,
                         snr=truth.snr, max_overlap=truth.max_overlap)  # fmt: skip
    assert scores.recall >= 0.9
    assert scores.f1 >= 0.8  # 3 of 15 segments are noise at the border, where smoothing repeats the last pixel
    assert np.median(scores.pair_trace_r) >= 0.9
    spikes = script["spmat"]
    assert spikes.shape == (600, len(script["ica_sig"]))
    assert spikes.sum() == len(script["spt"]) == len(script["spc"]) > 20
    frames = np.round(script["spt"] / 0.1).astype(int)
    assert (spikes.toarray()[frames - 1, script["spc"] - 1] == 1).all()
    assert script["zsig"].shape == spikes.shape


def test_scales_are_cellsorts(script: dict[str, Any], simulated: Any) -> None:
    signals, images, values = script["mixedsig"], script["mixedfilters"], script["CovEvals"]
    n_frames, n_pixels = 600, 64 * 88
    assert signals.shape == (60, n_frames)
    assert images.shape == (64, 88, 60)
    np.testing.assert_allclose(np.linalg.norm(signals, axis=1), n_frames, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(images.reshape(-1, 60), axis=0), n_frames * n_pixels, rtol=1e-3)
    movie = simulated.movie.reshape(n_frames, -1).T.astype(np.float64)
    relative = movie / movie.mean(axis=1, keepdims=True) - 1
    np.testing.assert_allclose(script["movtm"], relative.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(script["movm"].ravel(), movie.mean(axis=1), rtol=1e-5)
    relative -= relative.mean(axis=0)
    singular = np.linalg.svd(relative, compute_uv=False)
    np.testing.assert_allclose(values, singular[:60] ** 2 / n_pixels**2, rtol=1e-3)
    assert script["covtrace"] == pytest.approx((singular**2).sum() / n_pixels**2, rel=1e-4)
    again = script["ica_filters"].reshape(len(script["ica_sig"]), -1) @ relative
    np.testing.assert_allclose(again, script["ica_sig"], atol=2e-3 * np.abs(script["ica_sig"]).max())
    rotation = script["ica_A"]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(rotation.shape[1]), atol=1e-8)
    skewness = ((script["ica_sig"] / script["ica_sig"].std(axis=1, keepdims=True)) ** 3).mean(axis=1)
    assert (np.diff(skewness) < 1e-3).all()


def test_filters_applied_are_the_sums_that_the_words_say(script: dict[str, Any], simulated: Any) -> None:
    movie = simulated.movie.astype(np.float64)
    relative = movie / movie.mean(axis=0) - 1
    segments = script["ica_segments"].astype(np.float64)
    whole = np.einsum("kyx,tyx->kt", segments, relative)
    level = segments.sum(axis=(1, 2))[:, None] * relative.mean(axis=(1, 2))
    np.testing.assert_allclose(script["cell_sig"], whole - level, atol=1e-3 * np.abs(whole).max())
    plain = cellsort.cellsort_apply_filter(simulated.movie, segments, [101, 150], [], 0)
    later = np.einsum("kyx,tyx->kt", segments, movie[100:150] - 1)  # no mean is 1, as in CellSort
    np.testing.assert_allclose(plain, later, atol=1e-5 * np.abs(later).max())
    mean = np.where(np.arange(88) < 40, 0, movie.mean(axis=0))  # black: also 1
    dark = cellsort.cellsort_apply_filter(simulated.movie, segments, [101, 150], mean)
    shown = movie[100:150] / np.where(mean == 0, 1, mean)
    even = shown - shown.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(dark, np.einsum("kyx,tyx->kt", segments, even), atol=1e-5 * np.abs(later).max())


def test_a_column_is_one_signal() -> None:
    signal = np.zeros(50)
    signal[[10, 30]] = 5
    for given in (signal, signal[None], signal[:, None]):
        found, times, numbers, _ = cellsort.cellsort_find_spikes(given, 3, 0.1)
        assert found.shape == (50, 1)
        assert times.tolist() == pytest.approx([1.1, 3.1])
        assert numbers.tolist() == [1, 1]


def test_centroids_are_x_and_y_from_1(script: dict[str, Any]) -> None:
    segments, centres = script["ica_segments"], script["segcentroid"]
    for image, (x, y) in zip(segments, centres, strict=True):
        row, column = np.unravel_index(np.argmax(image), image.shape)
        assert abs(x - 1 - column) < 8
        assert abs(y - 1 - row) < 8
    assert script["segmentlabel"].min() >= 1
    assert script["segmentlabel"].max() <= len(script["ica_sig"])


def test_mu_matters_below_1() -> None:
    """CellSort's scales weigh images P times as much as signals, so that mu did nothing."""
    rng = np.random.default_rng(4)
    movie = rng.normal(100, 3, (150, 20, 30)) + 60 * (rng.random((150, 1, 1)) < 0.05) * (rng.random((1, 20, 30)) < 0.1)
    movie += 40 * (rng.random((150, 1, 1)) < 0.1) * np.eye(20, 30)
    signals, images, values, *_ = cellsort.cellsort_pca(movie, [], 4)
    rotations = [cellsort.cellsort_ica(signals, images, values, [], mu)[2] for mu in (0.05, 0.5, 0.95)]
    assert np.abs(rotations[0] - rotations[2]).max() > 1e-2
    scaled = cellsort.cellsort_ica(signals * 7, images * 0.1, values, [], 0.5)[2]
    np.testing.assert_allclose(scaled, rotations[1], atol=1e-6)


def test_the_rotation_is_a_fixed_point_of_the_mixture_of_variance_1() -> None:
    """One round by the words: Z = [(1 - mu) sqrt(P) U', mu sqrt(T) V'], B <- Z (Z'B)^2, made orthonormal."""
    rng = np.random.default_rng(4)
    movie = rng.normal(100, 0.1, (150, 20, 30)) + 40 * (rng.random((150, 1, 1)) < 0.1) * (rng.random((20, 30)) < 0.1)
    movie += 60 * (rng.random((150, 1, 1)) < 0.2) * (rng.random((20, 30)) < 0.2)
    signals, images, values, *_ = cellsort.cellsort_pca(movie, [], 2)
    before = cellsort.cellsort_ica(signals, images, values, [], 0.7, [], [], 1e-12, 1000)[2]
    flat = images.reshape(600, 2).astype(np.float64)
    flat /= np.linalg.norm(flat, axis=0)
    rows = signals / np.linalg.norm(signals, axis=1, keepdims=True)
    mixed = np.concatenate([0.3 * np.sqrt(600) * flat.T, 0.7 * np.sqrt(150) * rows], axis=1)
    left, _, right = np.linalg.svd(mixed @ (mixed.T @ before) ** 2, full_matrices=False)
    np.testing.assert_allclose(np.abs(((left @ right) * before).sum(axis=0)), 1, atol=1e-7)


def test_frames_bins_and_bad_frames(simulated: Any) -> None:
    movie = simulated.movie[:301, :63]
    signals, images, values, _, mean, level = cellsort.cellsort_pca(movie, [2, 241], 5, [4, 2], [], [10, 11, 12, 13])
    assert signals.shape == (5, 59)
    assert images.shape == (31, 44, 5)
    kept = np.delete(movie[1:241], [8, 9, 10, 11], axis=0)[:236, :62].astype(np.float64)
    binned = kept.reshape(59, 4, 31, 2, 44, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(mean, binned.mean(axis=0), rtol=1e-5)
    assert level.shape == (59,)
    assert (np.diff(values) <= 0).all()
    dark = np.where(np.arange(88) < 5, 0, movie)
    assert np.isfinite(cellsort.cellsort_pca(dark, [], 3)[1]).all()


def test_every_argument_is_in_the_table_and_honoured_or_has_a_reason() -> None:
    for name, table in cellsort.TABLES.items():
        arguments = inspect.signature(getattr(cellsort, name)).parameters
        assert list(arguments) == list(table.parameters)
        for one in table:
            assert one.honoured or len(one.reason) > 10
            default = arguments[one.name].default
            assert default == one.default or (default in (None, inspect.Parameter.empty) and one.default is None)
    assert cellsort.CellsortICA is cellsort.cellsort_ica


def test_unknown_names_and_values_are_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'maxrounds'"):
        cellsort.cellsort_ica(np.ones((2, 5)), np.ones((2, 2, 2)), np.ones(2), max_rounds=3)
    with pytest.raises(InputError, match="do not go together"):
        cellsort.cellsort_ica(np.ones((2, 5)), np.ones((2, 2, 3)), np.ones(2))
    with pytest.raises(SettingsError, match="count from 1"):
        cellsort.cellsort_ica(np.ones((2, 5)), np.ones((3, 3, 2)), np.ones(2), [0, 1])
    with pytest.raises(SettingsError, match="flims"):
        cellsort.cellsort_pca(np.ones((5, 4, 4)), [0, 5])
    with pytest.raises(SettingsError, match="dsamp"):
        cellsort.cellsort_pca(np.ones((5, 4, 4)), [], 2, [1, 2, 3])
    with pytest.raises(InputError, match="segments of"):
        cellsort.cellsort_apply_filter(np.ones((5, 4, 4)), np.ones((1, 4, 5)))


def test_what_is_not_honoured_warns_once(tmp_path: Path) -> None:
    movie = np.random.default_rng(0).normal(50, 1, (20, 6, 7))
    forget()
    with pytest.warns(NotHonoured, match="outputdir is not honoured"):
        cellsort.cellsort_pca(movie, [], 2, [], str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cellsort.cellsort_pca(movie, [], 2, [], str(tmp_path))
        cellsort.cellsort_segmentation(np.zeros((1, 4, 4)), plotting=0)
    forget()


def test_chosen_components_are_given_back() -> None:
    images = np.zeros((4, 4, 9))
    assert cellsort.cellsort_choose_pcs("never read", images, PCuse=[2, 5]).tolist() == [2, 5]
    with pytest.raises(SettingsError):
        cellsort.cellsort_choose_pcs("never read", images, PCuse=[10])
