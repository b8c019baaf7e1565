"""EXTRACT's own call: a translated script finds the cells, and every name is honoured or has a reason."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from reference.many_cells import many_cells
from scipy import sparse

import gpucells
from gpucells.compat.extract import CONFIG, THRESHOLDS, extractor, get_defaults
from gpucells.compat.extract.output import make_output
from gpucells.compat.told_once import NotHonoured, forget
from gpucells.errors import InputError, SettingsError
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.postprocess.match import score_cells
from gpucells.settings import RunSettings

# Every name of EXTRACT 1.3's configuration, as shared/specs/extract.md section 3 lists them.
NAMES = """avg_cell_radius downsample_time_by dendrite_aware remove_duplicate_cells T_dup_thresh S_corr_thresh
T_corr_thresh use_gpu parallel_cpu multi_gpu num_workers use_default_gpu pick_gpu skip_parpool_calculations
num_partitions_x num_partitions_y num_frames use_sparse_arrays compact_output hyperparameter_tuning_flag verbose
show_progress plot_loss preprocess skip_dff F_per_pixel baseline_quantile spatial_highpass_cutoff remove_background
avg_event_tau second_df temporal_denoising fix_zero_FOV_strips medfilt_outlier_pixels crop_circular arbitrary_mask
movie_mask downsample_space_by min_radius_after_downsampling min_tau_after_downsampling reestimate_S_if_downsampled
reestimate_T_if_downsampled partition_size_time save_df cellfind_filter_type spatial_lowpass_cutoff
cellfind_spatial_highpass_cutoff smoothing_ratio_x2y moving_radius_spatial moving_radius_temporal filter_sigma
cellfind_min_snr cellfind_check_min_magnitude cellfind_max_steps cellfind_max_iter cellfind_kappa_std_ratio
cellfind_adaptive_kappa init_with_gaussian avg_yield_threshold cellfind_numpix_threshold high2low_brightness_ratio
S_init T_init save_all_found visualize_cellfinding visualize_cellfinding_show_bad_cells
visualize_cellfinding_full_range visualize_cellfinding_min visualize_cellfinding_max kappa_std_ratio adaptive_kappa
adaptive_kappa_filter max_iter max_iter_S max_iter_T l1_penalty_factor smooth_S smooth_T low_cell_area_flag pre_mask_on
pre_mask_radius num_iter_stop_quality_checks minimal_checks TOL_main TOL_sub regression_only trace_output_option
trace_quantile max_iter_T_final kappa_iter_nums frr_check_every_step frr_edge_case_flag T_lower_snr_threshold
is_pixel_valid fast_cellcheck""".split()
LIMITS = """T_min_snr size_lower_limit size_upper_limit spatial_corrupt_thresh temporal_corrupt_thresh eccent_thresh
T_dup_corr_thresh S_dup_corr_thresh low_ST_index_thresh low_ST_corr_thresh confidence_thresh
high_ST_index_thresh""".split()

# A translated script: MATLAB's lines with the same names.
#   config = get_defaults(6);                          config.trace_output_option = 'nonneg';
#   config.thresholds.T_min_snr = 5;                   config.use_gpu = 0;
#   output = extractor('movie.h5:/1', config);
#   images = output.spatial_weights;                   traces = output.temporal_weights;
SCRIPT = """
from gpucells.compat.extract import extractor, get_defaults

config = get_defaults(6)
config.trace_output_option = 'nonneg'
config.thresholds.T_min_snr = 5
config.use_gpu = 0
config.max_iter = 4
config.downsample_time_by = 1
output = extractor('movie.h5:/1', config)
images = output.spatial_weights
traces = output.temporal_weights
"""


@pytest.fixture(scope="module")
def simulated() -> Any:
    return gpucells.simulate_movie("two_photon", shape=(300, 48, 72), seed=3)


def f1(images: Any, traces: Any, truth: Any) -> float:
    """Score ``(h, w, K)`` images and ``(T, K)`` traces."""
    flat = np.moveaxis(images, 2, 0).reshape(images.shape[2], -1)
    return score_cells(flat, traces.T, truth.footprints, truth.traces, truth.image_shape, at_border=truth.at_border,
                       snr=truth.snr, max_overlap=truth.max_overlap).f1  # fmt: skip


@pytest.fixture(scope="module")
def script(simulated: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("script"))
        with h5py.File("movie.h5", "w") as file:  # MATLAB's (height, width, frames) is (frames, width, height) here
            file["1"] = simulated.movie.transpose(0, 2, 1)
        exec(SCRIPT, names)
    return names


def test_a_translated_script_finds_the_cells(script: dict[str, Any], simulated: Any) -> None:
    images, traces = script["images"], script["traces"]
    assert images.shape == (48, 72, traces.shape[1])
    assert traces.shape[0] == 300
    np.testing.assert_allclose(images.max(axis=(0, 1)), 1, rtol=1e-6)
    assert traces.min() >= 0  # nonneg
    assert f1(images, traces, simulated.truth) >= 0.9


def test_the_output_is_our_methods_in_relative_change(script: dict[str, Any], simulated: Any) -> None:
    settings = {"trace_output_option": "nonneg", "min_snr": 5.0, "max_iter": 4, "downsample_time_by": 1}
    direct = gpucells.extract_cells(simulated.movie, settings=settings, cell_diameter_px=12).accepted_only()
    np.testing.assert_allclose(script["traces"], direct.dff.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(script["images"], 2, 0), direct.images(), atol=1e-5)
    info = script["output"]["info"]
    assert info.F_per_pixel.shape == info.max_image.shape == info["summary_image"].shape == (48, 72)
    assert info.cellcheck.metrics.shape == (30, direct.n_cells)
    assert info.version.startswith("gpucells")
    assert info.runtime > 0
    assert set(script["output"].config) == {*NAMES, "thresholds"}
    assert script["output"].config.thresholds.T_min_snr == 5


def test_every_name_of_the_specification_is_honoured_or_has_a_reason() -> None:
    assert sorted(CONFIG.parameters) == sorted(NAMES)
    assert sorted(THRESHOLDS.parameters) == sorted(LIMITS)
    assert set(get_defaults(6)) == {*NAMES, "thresholds"}
    for one in (*CONFIG, *THRESHOLDS):
        assert one.honoured or len(one.reason) > 10, one.name
        assert not one.setting or one.setting in ExtractSettings.model_fields, one.name
        assert not one.run or one.run in RunSettings.model_fields, one.name


def test_every_default_that_becomes_a_setting_is_a_value_that_ours_takes() -> None:
    for table in (CONFIG, THRESHOLDS):
        settings, run = table.translate(table.defaults())
        ExtractSettings.from_values(settings)
        RunSettings.from_values(run)


def test_what_is_left_at_its_default_is_left_to_ours() -> None:
    config = get_defaults(6)
    assert CONFIG.translate(config.given()) == ({}, {"cell_diameter_px": 12.0})
    config.kappa_std_ratio = 0.7  # EXTRACT's default, and assigned
    assert CONFIG.translate(config.given())[0] == {"kappa_std_ratio": 0.7}


def test_unknown_names_are_refused_with_the_nearest() -> None:
    config = get_defaults(6)
    with pytest.raises(SettingsError, match="did you mean 'max_iter'"):
        config.max_itr = 3
    with pytest.raises(SettingsError, match="did you mean 'T_min_snr'"):
        config.thresholds.T_min_sn = 3
    with pytest.raises(SettingsError, match="did you mean 'avg_cell_radius'"):
        extractor(np.zeros((4, 4, 4)), {"avg_cell_radus": 6})
    with pytest.raises(SettingsError, match="fields"):
        config.thresholds = 3


def test_what_is_not_honoured_warns_once() -> None:
    forget()
    with pytest.warns(NotHonoured, match="num_partitions_x is not honoured: tiles follow"):
        CONFIG.translate({"num_partitions_x": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CONFIG.translate({"num_partitions_x": 2, "cellfind_max_steps": 1000, "num_partitions_y": None})
    forget()


def test_copies_remember_what_was_assigned() -> None:
    config = get_defaults(6)
    config.thresholds.T_min_snr = 4
    for twin in (copy.deepcopy(config), config.copy(), copy.copy(config)):
        assert twin == config
        assert twin.given() == {"avg_cell_radius": 6}
        assert twin.thresholds.given() == {"T_min_snr": 4}
        twin.thresholds.size_upper_limit = 3
        assert config.thresholds.size_upper_limit == (3 if twin.thresholds is config.thresholds else 10)
    assert dir(config).count("max_iter") == 1
    with pytest.raises(AttributeError):
        _ = get_defaults(6).nothing


def test_rejected_cells_are_put_beside_the_others_as_scripts_do() -> None:
    """``S_all = [reshape(S, h * w, k), S_bad]; T_all = [T'; T_bad]``, which EXTRACT's own helper has."""
    cells = many_cells(7, 60, (20, 33), 3)
    level = np.full((20, 33), 9, np.float32)
    cells = replace(cells, summary_images={"correlation": level, "max": level, "mean": level, "noise": level / 9})
    output = make_output(cells, get_defaults(6), 2.0, "1")
    summary, n_good = output.info.summary[0], int(cells.accepted.sum())
    assert 0 < n_good < 7
    footprints = np.hstack([output.spatial_weights.reshape(20 * 33, n_good, order="F"), summary.S_bad])
    traces = np.vstack([output.temporal_weights.T, summary.T_bad])
    order = np.argsort(~cells.accepted, kind="stable")
    np.testing.assert_array_equal(footprints.reshape(20, 33, 7, order="F"), np.moveaxis(cells.images()[order], 0, 2))
    np.testing.assert_allclose(traces, (cells.traces / cells.f0[:, None])[order], rtol=1e-5)
    assert summary.fov_occupation.shape == (20, 33)
    assert summary.fov_occupation.all()
    assert output.info.runtime_partition.tolist() == [2.0]
    config = get_defaults(6)
    config.use_sparse_arrays = True
    assert sparse.issparse(make_output(cells, config, 2.0, "1").info.summary[0].S_bad)


def test_given_images_are_taken_in_matlabs_order(simulated: Any, tmp_path: Path) -> None:
    truth = simulated.truth
    images = np.moveaxis(truth.footprints.toarray().reshape(-1, 48, 72), 0, 2).astype(np.float32)
    array = np.moveaxis(simulated.movie, 0, 2)
    config = get_defaults([])
    config.regression_only = 1
    config.S_init = images
    config.use_sparse_arrays = True
    config.compact_output = True
    cube = extractor(array, config)
    assert cube.temporal_weights.shape == (300, images.shape[2])
    config.S_init = sparse.csc_array(images.reshape(-1, images.shape[2], order="F"))
    flat = extractor(array, config)
    np.testing.assert_array_equal(flat.temporal_weights, cube.temporal_weights)
    again = flat.spatial_weights.toarray().reshape(48, 72, -1, order="F")
    np.testing.assert_allclose(again, images / images.max(axis=(0, 1)), atol=1e-6)
    assert flat.info.summary[0].S_bad.shape == (48 * 72, 0)
    assert flat.info.summary[0].T_bad.shape == (0, 300)
    config.S_init = np.zeros((4, 4, 2))
    with pytest.raises(InputError, match="MATLAB's order"):
        extractor(array, config)
    config.S_init = None
    with pytest.raises(SettingsError, match="S_init"):
        extractor(array, config)


def test_frames_mask_units_and_devices(simulated: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["Data/Images"] = simulated.movie.transpose(0, 2, 1)
    config = get_defaults(6)
    config.num_frames = 200
    config.movie_mask = np.arange(72)[None, :] * np.ones((48, 1)) < 36
    config.preprocess = False
    config.F_per_pixel = np.full((48, 72), 2.0)
    half = extractor((tmp_path / "m.h5", "/Data/Images"), config, device="cpu")
    cells = half.info.cells.accepted_only()
    assert half.temporal_weights.shape[0] == 200
    assert cells.n_cells > 0
    assert half.spatial_weights[:, 40:].max() == 0
    np.testing.assert_allclose(half.temporal_weights, cells.traces.T / 2, rtol=1e-5)
    with pytest.raises(InputError, match="names no dataset"):
        extractor("movie.h5", config)
    with pytest.raises(InputError, match="shape"):
        extractor(np.zeros((4, 4)), config)


def test_a_movie_without_cells() -> None:
    noise = np.random.default_rng(0).normal(100, 5, (40, 56, 120)).astype(np.float32)
    config = get_defaults(6)
    config.skip_dff = True
    output = extractor(noise, config)
    assert output.spatial_weights.shape == (40, 56, 0)
    assert output.temporal_weights.shape == (120, 0)
