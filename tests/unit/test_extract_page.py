"""The page on EXTRACT: its settings are the code's, and no parameter of the original is passed over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpucells.methods.extract.settings import ExtractSettings
from gpucells.settings import RunSettings

# Section 3 of what the original's behaviour was written down in: every parameter of version 1.3.0.
ORIGINAL = """
avg_cell_radius downsample_time_by dendrite_aware remove_duplicate_cells T_dup_thresh S_corr_thresh T_corr_thresh
use_gpu parallel_cpu multi_gpu num_workers use_default_gpu pick_gpu skip_parpool_calculations num_partitions_x
num_partitions_y num_frames use_sparse_arrays compact_output hyperparameter_tuning_flag verbose show_progress plot_loss
preprocess skip_dff F_per_pixel baseline_quantile spatial_highpass_cutoff remove_background avg_event_tau second_df
temporal_denoising fix_zero_FOV_strips medfilt_outlier_pixels crop_circular arbitrary_mask movie_mask
downsample_space_by min_radius_after_downsampling min_tau_after_downsampling reestimate_S_if_downsampled
reestimate_T_if_downsampled partition_size_time save_df
cellfind_filter_type spatial_lowpass_cutoff cellfind_spatial_highpass_cutoff smoothing_ratio_x2y moving_radius_spatial
moving_radius_temporal filter_sigma cellfind_min_snr cellfind_check_min_magnitude cellfind_max_steps cellfind_max_iter
cellfind_kappa_std_ratio cellfind_adaptive_kappa init_with_gaussian avg_yield_threshold cellfind_numpix_threshold
high2low_brightness_ratio S_init T_init save_all_found visualize_cellfinding visualize_cellfinding_show_bad_cells
visualize_cellfinding_full_range visualize_cellfinding_min visualize_cellfinding_max
kappa_std_ratio adaptive_kappa adaptive_kappa_filter max_iter max_iter_S max_iter_T l1_penalty_factor smooth_S smooth_T
low_cell_area_flag pre_mask_on pre_mask_radius num_iter_stop_quality_checks minimal_checks TOL_main TOL_sub
T_min_snr size_lower_limit size_upper_limit spatial_corrupt_thresh temporal_corrupt_thresh eccent_thresh
T_dup_corr_thresh S_dup_corr_thresh low_ST_index_thresh low_ST_corr_thresh confidence_thresh high_ST_index_thresh
regression_only trace_output_option trace_quantile max_iter_T_final kappa_iter_nums frr_check_every_step
frr_edge_case_flag T_lower_snr_threshold is_pixel_valid fast_cellcheck
""".split()


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "extract.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return re.split(r"^## ", page.split(f"## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == ExtractSettings.table(), "replace the table by what ExtractSettings.table() returns"


def test_every_parameter_of_the_original_has_a_row(page: str) -> None:
    rows = [line for line in section(page, "The original's parameters").splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(ORIGINAL)
    assert all(len(row.split(" | ")) == 2 and len(row.split(" | ")[1]) > 5 for row in rows)


def test_the_settings_that_rows_point_to_exist(page: str) -> None:
    ours = set(ExtractSettings.model_fields) | set(RunSettings.model_fields)
    rows = [line for line in section(page, "The original's parameters").splitlines() if line.startswith("| `")]
    for row in rows:
        answer = row.split(" | ")[1]
        for names in re.findall(r"^(?:run: )?((?:`\w+`(?:, | and )?)+)", answer):
            for name in re.findall(r"`(\w+)`", names):
                assert name in ours | {"apply_footprints", "NUMBA_NUM_THREADS"}, f"{name} of {row}"


def test_what_the_page_says_of_presets_is_so(page: str) -> None:
    two, one = (ExtractSettings.for_preset(preset, {}) for preset in ("two_photon", "one_photon"))
    different = {name for name in ExtractSettings.model_fields if getattr(two, name) != getattr(one, name)}
    assert different == {"background_spacing", "trace_background_spacing", "max_eccentricity"}
    for name in different:
        assert f"`{name} = {getattr(one, name):g}`" in page
