"""The drop-in for CaImAn: parameters, runs on toy movies, estimates, memory maps, deconvolution."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from reference.many_cells import many_cells
from scipy import ndimage, signal, sparse

import gpucells.compat.caiman as cm
from gpucells.compat import told_once
from gpucells.compat.caiman.parameter_table import GROUPS
from gpucells.compat.caiman.source_extraction.cnmf import cnmf, deconvolution, oasis
from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates
from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams
from gpucells.compat.caiman.translate import n_patches, translate
from gpucells.compat.caiman.utils.visualization import get_contours
from gpucells.errors import InputError, SettingsError

DIMS = (20, 30)
TOY = {"data": {"dims": DIMS}, "init": {"K": 4, "gSig": [2, 2]}}
Movie = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    told_once.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", told_once.NotHonoured)
        yield


@pytest.fixture(scope="module")
def toy() -> Movie:
    """Four busy cells that overlap on a constant background: what CaImAn's own test of toy data is about.

    Movie ``(n_pixels, n_frames)`` in Fortran order, true footprints and traces.
    """
    rng = np.random.default_rng(4)
    spots = np.zeros((4, *DIMS))
    spots[np.arange(4), (5, 12, 14, 7), (7, 10, 22, 19)] = 1
    shapes = ndimage.gaussian_filter(spots, (0, 2, 2)).transpose(0, 2, 1).reshape(4, -1)
    shapes *= 10 / np.linalg.norm(shapes, axis=1, keepdims=True)
    traces = signal.lfilter([1], [1, -0.9], rng.random((4, 300)) < 1 / 15, axis=1)
    return 10 + rng.normal(0, 0.5, (600, 300)) + shapes.T @ traces, shapes, traces


@pytest.fixture(scope="module")
def fitted(toy: Movie) -> cnmf.CNMF:
    return cnmf.CNMF(2, params=CNMFParams(params_dict=TOY)).fit(images_of(toy[0]))


def images_of(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.reshape(pixels.T, (-1, *DIMS), order="F")


def best(true: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    return np.corrcoef(np.vstack([true, found]))[: len(true), len(true) :].max(axis=1)


# Runs


@pytest.mark.parametrize("patch", [None, {"rf": [10, 15], "stride": 1}])
def test_traces_and_shapes_of_toy_data_are_within_5_percent_of_1(toy: Movie, patch: dict[str, Any] | None) -> None:
    pixels, shapes, traces = toy
    found = cnmf.CNMF(2, params=CNMFParams(params_dict=TOY | ({"patch": patch} if patch else {})))
    found.fit(images_of(pixels))
    assert best(traces, found.estimates.C).min() > 0.95
    assert best(shapes, found.estimates.A.toarray().T).min() > 0.95


def test_estimates_have_caimans_shapes_and_conventions(toy: Movie, fitted: cnmf.CNMF) -> None:
    found, n = fitted.estimates, fitted.estimates.A.shape[1]
    assert isinstance(found.A, sparse.csc_matrix)
    assert found.A.shape == (600, n)
    for rows in (found.C, found.S, found.YrA, found.R):
        assert rows.shape == (n, 300)
    assert found.b.shape[0] == 600
    assert found.f.shape == (found.b.shape[1], 300)
    np.testing.assert_allclose(found.A.power(2).sum(axis=0), 1, rtol=1e-5)
    for name in ("bl", "c1", "neurons_sn", "lam", "SNR_comp", "r_values"):
        assert getattr(found, name).shape == (n,), name
    assert found.g.shape == (n, 1)
    assert found.center.shape == (n, 2)
    assert found.sn.shape == (600,)
    # C has the baseline: without it and the first frame's calcium, it follows from the spikes.
    calcium = found.C - found.bl[:, None]
    np.testing.assert_allclose(calcium[:, 1:] - found.g * calcium[:, :-1], found.S[:, 1:], atol=1e-3)
    # In the order of the pixels that the movie has, cells as measured and background are the movie.
    left = toy[0] - found.A @ (found.C + found.YrA) - found.b @ found.f
    assert left.std() == pytest.approx(0.5, rel=0.05)


def test_arrays_memory_maps_and_pixels_by_frames_give_the_same(toy: Movie, fitted: cnmf.CNMF, tmp_path: Path) -> None:
    name = cm.save_memmap([images_of(toy[0])[:100], images_of(toy[0])[100:]], base_name=str(tmp_path / "Yr"), order="C")
    mapped, dims, n_frames = cm.load_memmap(name)
    images = np.reshape(mapped.T, [n_frames, *dims], order="F")
    first = cnmf.CNMF(1, params=CNMFParams(params_dict=TOY)).fit(images)
    second = cnmf.CNMF(1, params=CNMFParams(params_dict=TOY)).fit(mapped)
    np.testing.assert_array_equal(first.estimates.C, second.estimates.C)
    np.testing.assert_allclose(first.estimates.C, fitted.estimates.C, atol=0.05)
    assert first.mmap_file == name


def test_refit_begins_from_the_accepted_components(toy: Movie, fitted: cnmf.CNMF) -> None:
    fitted.estimates.evaluate_components(images_of(toy[0]), fitted.params)
    assert len(fitted.estimates.idx_components) == 4
    fitted.estimates.idx_components = np.array([0, 2])
    again = fitted.refit(images_of(toy[0]))
    fitted.estimates.idx_components = None
    assert 1 <= again.estimates.A.shape[1] <= 2
    assert best(again.estimates.A.toarray().T, fitted.estimates.A.toarray().T[[0, 2]]).min() > 0.9


def test_one_photon_parameters_give_the_ring(toy: Movie) -> None:
    values = {"method_init": "corr_pnr", "center_psf": True, "K": None, "gSig": [3, 3], "gSiz": [5, 5], "nb": 0}
    found = cnmf.CNMF(1, params=CNMFParams(params_dict={"init": values})).fit(images_of(toy[0])).estimates
    assert found.b.shape == (600, 0)
    assert found.f.shape == (0, 300)
    assert sparse.issparse(found.W)
    assert found.W.shape == (150, 150)
    np.testing.assert_allclose(found.b0, (toy[0] - found.A @ found.C).mean(axis=1), rtol=1e-4)
    behind = found.compute_background(toy[0])
    assert behind.shape == toy[0].shape
    assert (toy[0] - behind - found.A @ found.C).std() < (toy[0] - found.b0[:, None]).std()


def test_files_registration_volumes_and_no_components(toy: Movie, tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", images_of(toy[0]).astype(np.float32))
    params = CNMFParams(fnames=[str(tmp_path / "movie.npy")], params_dict=TOY)
    assert params.data["dims"] == DIMS
    found = cnmf.CNMF(1, params=params).fit_file(include_eval=True)
    assert found.estimates.F_dff.shape == found.estimates.C.shape
    with pytest.raises(SettingsError, match="does not register"):
        cnmf.CNMF(1, params=params).fit_file(motion_correct=True)
    with pytest.raises(InputError, match="volumes"):
        cnmf.CNMF(1).fit(np.zeros((5, 4, 4, 4)))
    noise = np.random.default_rng(0).normal(100, 1, (100, 24, 30)).astype(np.float32)
    nobody = cnmf.CNMF(1, params=CNMFParams(params_dict={"init": {"gSig": [3, 3]}})).fit(noise)
    assert nobody.estimates.A.shape == (720, 0)
    nobody.estimates.evaluate_components(noise, nobody.params).detrend_df_f().plot_contours()
    nobody.save(tmp_path / "nobody.hdf5")
    assert cnmf.load_CNMF(tmp_path / "nobody.hdf5").estimates.C.shape == (0, 100)


def test_given_footprints_are_refined_and_no_others_looked_for(toy: Movie) -> None:
    masks = toy[1][:2].max() / 2 < toy[1][:2].T
    found = cnmf.CNMF(1, gSig=[2, 2], Ain=masks).fit(images_of(toy[0]))
    assert found.estimates.A.shape[1] <= 2
    with pytest.raises(InputError, match="rows"):
        cnmf.CNMF(1, gSig=[2, 2], Ain=masks[:-1]).fit(images_of(toy[0]))


# Parameters


def test_defaults_are_caimans_in_number_and_value() -> None:
    sizes = {"data": 8, "init": 35, "merging": 3, "motion": 21, "online": 42, "patch": 15, "preprocess": 11}
    sizes |= {"ring_CNN": 13, "quality": 10, "spatial": 16, "temporal": 15}
    params = CNMFParams()
    assert {name: len(values) for name, values in params.to_dict().items()} == sizes
    assert params.init["gSiz"] == (11, 11)
    assert params.get("temporal", "fudge_factor") == 0.96
    assert params == CNMFParams()
    assert params != CNMFParams(k=7)


def test_parameters_come_back_from_json_files_and_dictionaries(tmp_path: Path) -> None:
    first = CNMFParams(params_dict=TOY | {"patch": {"rf": 20}}, merge_thresh=0.7)
    first.change_params({"p": 1, "nb": 2})
    assert first.preprocess["p"] == first.temporal["p"] == 1
    assert first.spatial["nb"] == first.temporal["nb"] == 2
    second = CNMFParams()
    second.change_params_from_json(first.to_json())
    assert second == first
    assert translate(second) == translate(first)
    first.to_jsonfile(str(tmp_path / "params.json"))
    assert CNMFParams(params_from_file=tmp_path / "params.json") == first
    assert CNMFParams(params_dict=first.to_dict()) == first
    assert translate(CNMFParams(params_dict=CNMFParams().to_dict())).settings == {}  # defaults were not chosen


@pytest.mark.parametrize(("group", "name"), [(g, n) for g in GROUPS for n in GROUPS[g] if not GROUPS[g][n].honoured])
def test_what_is_not_honoured_warns_once_with_the_reason(group: str, name: str) -> None:
    if name in ("nb", "caiman_version", "last_commit"):  # copies of init.nb, and marks of CaImAn's own
        return
    reason = f"{group}/{name} is not honoured: {GROUPS[group][name].meaning[:9]}"
    with pytest.warns(told_once.NotHonoured, match=reason):
        CNMFParams(params_dict={group: {name: 12345}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CNMFParams(params_dict={group: {name: 12345}})


def test_warnings_show_the_users_line() -> None:
    with pytest.warns(told_once.NotHonoured) as told:
        CNMFParams(params_dict={"patch": {"rf": 3}})
    assert told[0].filename == __file__


def test_unknown_names_get_the_nearest_one() -> None:
    for call, near in (
        (lambda: CNMFParams(params_dict={"init": {"gsig": 3}}), "init/gSig"),
        (lambda: CNMFParams().change_params({"merge_thresh": 3}), "merge_thr"),
        (lambda: CNMFParams(merge_tresh=3), "merge_thresh"),
        (lambda: cnmf.CNMF(1, gsig=3), "gSig"),
        (lambda: CNMFParams().get("init", "k"), "init/"),
    ):
        with pytest.raises(SettingsError, match=near):
            call()


CHOSEN: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {
    ("data", "fr"): (20, {"frame_rate_hz": 20.0}),
    ("data", "dxy"): ((2, 2), {"pixel_size_um": 2.0}),
    ("init", "K"): (9, {"n_cells": 9, "min_snr": 2.5}),
    ("init", "gSig"): ([4, 4], {"cell_diameter_px": 9.0}),
    ("init", "gSiz"): ((9, 9), {"cell_diameter_px": 9.0}),
    ("init", "center_psf"): (True, {"preset": "one_photon"}),
    ("init", "method_init"): ("corr_pnr", {"preset": "one_photon"}),
    ("init", "tsub"): (1, {"downsample_time_by": 1}),
    ("merging", "do_merge"): (False, {"duplicate_correlation": 1.0}),
    ("merging", "merge_thr"): (0.7, {"duplicate_correlation": 0.7}),
    ("preprocess", "p"): (0, {"ar_order": 0}),
    ("temporal", "p"): (2, {"ar_order": 2}),
    ("spatial", "method_ls"): ("nnls_L0", {"spatial_solver": "nnls_l0"}),
    ("temporal", "bas_nonneg"): (True, {"baseline_nonnegative": True}),
    ("temporal", "fudge_factor"): (0.9, {"decay_fudge": 0.9}),
    ("temporal", "lags"): (7, {"decay_lags": 7}),
    ("temporal", "optimize_g"): (3, {"optimize_g": 3}),
    ("temporal", "s_min"): (0.5, {"s_min": 0.5}),
}
#: Honoured elsewhere: in files, ``evaluate_components``, the ring, or where a run begins.
ELSEWHERE = {
    *(("data", name) for name in ("fnames", "dims", "var_name_hdf5")),
    *(("init", name) for name in ("init_iter", "nb", "ring_size_factor", "seed_method", "ssub_B")),
    *(("quality", name) for name in ("SNR_lowest", "min_SNR", "rval_lowest", "rval_thr")),
}


def test_every_honoured_parameter_changes_the_call() -> None:
    honoured = {(g, n) for g in GROUPS for n in GROUPS[g] if GROUPS[g][n].honoured}
    assert honoured == set(CHOSEN) | ELSEWHERE
    usual = translate(CNMFParams())
    assert (usual.run, usual.settings) == ({"preset": "two_photon"}, {})
    for (group, name), (value, expected) in CHOSEN.items():
        call = translate(CNMFParams(params_dict={group: {name: value}}))
        assert (call.run | call.settings) | expected == call.run | call.settings, name
    ring = {"method_init": "corr_pnr", "gSig": [3, 3], "gSiz": [13, 13], "ring_size_factor": 1.4, "init_iter": 2}
    call = translate(CNMFParams(params_dict={"init": ring}))
    assert call.method == "cnmfe"
    assert call.settings["searches"] == 2
    assert call.settings["ring_radius"] == pytest.approx(1.4 * 13 / 4.5)
    assert translate(CNMFParams(params_dict={"init": ring | {"ring_size_factor": None}})).settings["ring"] is False
    seeds = [(3, 4), (5, 6)]
    assert translate(CNMFParams(params_dict={"init": {"seed_method": seeds}})).seeds == seeds
    with pytest.raises(SettingsError, match="method_init"):
        translate(CNMFParams(params_dict={"init": {"method_init": "pca_ica"}}))


def test_the_number_of_background_components_is_the_movies() -> None:
    assert "n_background" not in translate(CNMFParams(gnb=1)).settings
    with pytest.warns(told_once.NotHonoured, match="as the movie has"):
        assert "n_background" not in translate(CNMFParams(gnb=2)).settings
    params = CNMFParams(params_dict=TOY)  # an image that few cells fill
    assert translate(params, DIMS).settings["n_background"] == 0
    assert "n_background" not in translate(params, (200, 300)).settings


def test_k_counts_for_each_patch() -> None:
    params = CNMFParams(params_dict={"init": {"K": 5}, "patch": {"rf": 20, "stride": 10}})
    assert n_patches(params, (128, 128)) == 16  # centres at 20, 50, 80 and 108
    assert translate(params, (128, 128)).settings["n_cells"] == 80


# Estimates


@pytest.fixture
def estimates() -> Estimates:
    return Estimates.of(many_cells())


def test_estimates_and_cells_turn_into_each_other(estimates: Estimates) -> None:
    cells = many_cells()
    back = estimates.to_cells()
    np.testing.assert_allclose(back.footprints.toarray(), cells.footprints.toarray(), atol=1e-6)
    np.testing.assert_allclose(back.traces, cells.traces, atol=1e-5)
    np.testing.assert_array_equal(back.background_images, cells.background_images)
    np.testing.assert_array_equal(estimates.sn.reshape((20, 31), order="F"), cells.summary_images["noise"])
    image = estimates.A[:, 0].toarray().reshape((20, 31), order="F")
    np.testing.assert_allclose(image / image.max(), cells.images()[0], atol=1e-6)


def test_components_are_selected_and_put_back(estimates: Estimates) -> None:
    before = {name: np.array(getattr(estimates, name)) for name in ("C", "S", "bl", "SNR_comp")}
    estimates.select_components([4, 1])
    assert estimates.A.shape[1] == estimates.nr == 2
    np.testing.assert_array_equal(estimates.C, before["C"][[4, 1]])
    estimates.restore_discarded_components()
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(estimates, name), value[[4, 1, 0, 2, 3, 5]], name)
    np.testing.assert_array_equal(estimates.idx_components, [0, 1])
    with pytest.raises(InputError, match="chosen"):
        Estimates.of(many_cells()).select_components(use_object=True)


def test_components_are_good_by_one_bar_and_above_the_lowest_of_both(estimates: Estimates) -> None:
    estimates.SNR_comp = np.array([3, 1, 3, 0.4, 1, 1])
    estimates.r_values = np.array([0, 0.9, -0.5, 0.9, 0, 0.8])
    params = CNMFParams(params_dict={"quality": {"rval_lowest": -0.2}})
    estimates.evaluate_components(None, params)
    np.testing.assert_array_equal(estimates.idx_components, [0, 1, 5])
    np.testing.assert_array_equal(estimates.idx_components_bad, [2, 3, 4])
    estimates.filter_components(None, params, {"rval_thr": 0.85}, select_mode="Accepted")
    np.testing.assert_array_equal(estimates.idx_components, [0, 1])


def test_dff_follows_its_definition(estimates: Estimates) -> None:
    estimates.detrend_df_f(quantileMin=20, frames_window=1000, flag_auto=False)
    light = estimates.C + estimates.YrA
    behind = np.quantile(estimates.A.T @ estimates.b @ estimates.f, 0.2, axis=1, keepdims=True)
    base = np.quantile(light, 0.2, axis=1, keepdims=True)
    good = np.isfinite(light).all(axis=1)
    np.testing.assert_allclose(estimates.F_dff[good], ((light - base) / (behind + base))[good], rtol=1e-3, atol=1e-5)
    estimates.b = None
    estimates.detrend_df_f(quantileMin=20, frames_window=1000, flag_auto=False)
    np.testing.assert_allclose(estimates.F_dff[good], (light - base)[good], rtol=1e-3, atol=1e-5)


def test_normalised_components_have_norm_1_and_the_same_product(estimates: Estimates) -> None:
    product = estimates.A @ estimates.C
    estimates.A, estimates.C = estimates.A * 3, estimates.C / 3
    estimates.normalize_components()
    np.testing.assert_allclose(estimates.A.power(2).sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(estimates.A @ estimates.C, product, atol=1e-5)


def test_residuals_are_what_each_footprint_has_of_the_rest(estimates: Estimates) -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(size=(620, 50)).astype(np.float32)
    movie = estimates.A @ estimates.C + estimates.b @ estimates.f + rest
    estimates.compute_residuals(movie)
    np.testing.assert_allclose(estimates.YrA, estimates.A.T @ rest, atol=1e-3)


def test_pictures_are_drawn_and_contours_do_not_depend_on_the_order_of_pixels(estimates: Estimates) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    plt.close("all")
    estimates.plot_contours(idx=[0, 1]).view_components()
    assert len(estimates.coordinates) == 6
    assert len(plt.get_fignums()) == 2
    plt.close("all")
    usual = get_contours(estimates.A, (20, 31))
    turned = get_contours(estimates.A, (31, 20), swap_dim=True)
    for one, other in zip(usual, turned, strict=True):
        np.testing.assert_allclose(one["CoM"], other["CoM"][::-1])
        np.testing.assert_allclose(np.nanmin(one["coordinates"], axis=0), np.nanmin(other["coordinates"], axis=0)[::-1])
        np.testing.assert_allclose(np.nanmax(one["coordinates"], axis=0), np.nanmax(other["coordinates"], axis=0)[::-1])


# Deconvolution and memory maps


@pytest.mark.parametrize("g", [[0.95], [1.7, -0.71]])
@pytest.mark.parametrize(("noise", "of_calcium", "of_spikes"), [(0.2, 0.99, 0.97), (0.5, 0.9, 0.7)])
def test_constrained_foopsi_finds_calcium_and_spikes(
    g: list[float], noise: float, of_calcium: float, of_spikes: float
) -> None:
    rng = np.random.default_rng(2)
    spikes = (rng.random(1000) < 1 / 60).astype(float)
    calcium = signal.lfilter([1], [1, *(-x for x in g)], spikes)
    trace = 10 + calcium + rng.normal(0, noise, 1000)
    c, bl, c1, found_g, sn, sp, _ = deconvolution.constrained_foopsi(trace, g=np.array(g), sn=noise, p=len(g))
    assert np.corrcoef(c, calcium)[0, 1] > of_calcium
    assert np.corrcoef(sp, spikes)[0, 1] > of_spikes
    assert bl == pytest.approx(10, abs=0.5)
    assert sn == noise
    np.testing.assert_allclose(found_g, g)
    slow = max(np.roots([1, *(-x for x in g)]))
    whole = c + c1 * slow ** np.arange(1000)
    assert ((trace - bl - whole) ** 2).mean() == pytest.approx(noise**2, rel=0.02)
    estimated = deconvolution.estimate_parameters(trace, p=1)
    assert 0.5 < estimated[0][0] < 1
    assert estimated[1] == pytest.approx(noise, rel=0.1)
    with pytest.raises(InputError, match="p is not given"):
        deconvolution.constrained_foopsi(trace)


def test_calcium_of_the_first_frame_is_kept_apart() -> None:
    trace = 5 * 0.9 ** np.arange(200) + np.random.default_rng(0).normal(0, 0.1, 200)
    c, _, c1, *_ = deconvolution.constrained_foopsi(trace, g=np.array([0.9]), sn=0.1, p=1, bl=0.0)
    assert c1 == pytest.approx(5, rel=0.05)
    assert np.abs(c).max() < 0.3


def test_oasis_meets_the_conditions_of_its_problem() -> None:
    rng = np.random.default_rng(0)
    trace = signal.lfilter([1], [1, -0.9], rng.random(400) < 0.03) + rng.normal(0, 0.2, 400)
    c, s = oasis.oasisAR1(trace, 0.9, lam=0.3)
    np.testing.assert_allclose(c[1:] - 0.9 * c[:-1], s[1:], atol=1e-5)
    impulse = signal.lfilter([1], [1, -0.9], np.eye(400), axis=1)  # calcium of a spike at each frame
    slope = impulse @ (trace - c) - 0.3
    assert slope[1:].max() < 1e-4
    assert np.abs(slope[1:][s[1:] > 1e-6]).max() < 1e-4
    c, s, b, g, lam = oasis.constrained_oasisAR1(trace + 2, 0.9, 0.2, optimize_b=True)
    assert ((trace + 2 - b - c) ** 2).mean() == pytest.approx(0.04, rel=1e-3)
    assert (g, lam > 0, s.min() >= 0) == (0.9, True, True)
    smallest = oasis.oasisAR1(trace, 0.9, s_min=0.5)[1]
    assert smallest[smallest > 0].min() >= 0.5 - 1e-5


def test_names_of_memory_maps_say_their_shape(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((7, 4, 5)).astype(np.float32)
    for order in "CF":
        name = cm.save_memmap([images], base_name=str(tmp_path / f"a_{order}"), order=order, border_to_0=1)
        assert name.endswith(f"a_{order}_d1_4_d2_5_d3_1_order_{order}_frames_7.mmap")
        mapped, dims, n_frames = cm.load_memmap(name)
        assert (dims, n_frames) == ((4, 5), 7)
        whole = np.reshape(mapped.T, (7, 4, 5), order="F")
        np.testing.assert_array_equal(whole[:, 1:-1, 1:-1], images[:, 1:-1, 1:-1])
        assert not whole[:, 0].any()
    for wrong in ("a.mmapp", "a.mmap.mma", "a_without_shape.mmap"):
        with pytest.raises(ValueError, match=r"ending|does not say"):
            cm.load_memmap(wrong)
    assert cm.mmapping.decode_mmap_filename_dict("x__d1_10_d2_11_d3_13_order_F_frames_12_.mmap") == {
        "d1": 10, "d2": 11, "d3": 13, "order": "F", "frames": 12, "T": 12,
    }  # fmt: skip


def test_summary_images_show_the_cells(toy: Movie) -> None:
    images = images_of(toy[0])
    correlation = cm.local_correlations(images, swap_dim=False)
    np.testing.assert_allclose(cm.local_correlations(images.transpose(1, 2, 0)), correlation, atol=1e-6)
    filtered, pnr = cm.summary_images.correlation_pnr(images, gSig=2, swap_dim=False)
    bright = np.reshape(toy[1].max(axis=0), DIMS, order="F")
    for picture in (correlation, filtered, pnr):
        assert picture.shape == DIMS
        assert np.corrcoef(picture.ravel(), bright.ravel())[0, 1] > 0.5
