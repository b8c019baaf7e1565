"""EXTRACT 1.3's configuration: every name, its default, and what it becomes or why it changes nothing."""

from __future__ import annotations

import math
from typing import Any

from gpucells.compat.parameters import Parameter, Table, same


def _unless_auto(value: Any) -> Any:
    return None if isinstance(value, str) else int(value)


def _positive(value: Any) -> Any:
    return float(value) if value > 0 else None


def _finite(value: Any) -> Any:
    return float(value) if math.isfinite(value) else None


_WHOLE = "tiles follow from memory (run: `memory_bytes`), and the result does not depend on them"
_CELLS_OF_TILES = "a cell belongs to the tile that has its centre, so that none is found twice"
_LIGHT = "the background is solved with the cells, and no filter changes the movie"
_MASKS = "masks follow the footprints"
_NEWTON = "a second-order solver needs no count of first-order steps"
_PICTURE = "`gpucells report` draws the result"
_LOW_PASS = "the Butterworth low-pass, EXTRACT's default, only"
_UNUSED = "no effect on extraction in EXTRACT either"
_FULL_SIZE = "footprints are solved at the full size: cost follows their pixels"
_ALL_CORES = "all cores are used; NUMBA_NUM_THREADS in the environment limits them"
_TABLE = "the quality table has it; leaks and echoes are judged by our `neighbour_error` and `echo_correlation`"

CONFIG = Table(
    "EXTRACT",
    # general
    Parameter("avg_cell_radius", 6, run="cell_diameter_px", convert=lambda r: 2 * float(r), reason="twice it"),
    Parameter(
        "downsample_time_by", 1, "downsample_time_by", convert=_unless_auto,
        reason="from the transients' decay if not given or `'auto'`",
    ),
    Parameter("dendrite_aware", False, "dendrite_aware", convert=bool),
    Parameter("remove_duplicate_cells", True, reason=_CELLS_OF_TILES),
    Parameter("T_dup_thresh", 0.9, reason=_CELLS_OF_TILES),
    Parameter("S_corr_thresh", 0.1, reason=_CELLS_OF_TILES),
    Parameter("T_corr_thresh", 0.8, reason=_CELLS_OF_TILES),
    Parameter("use_gpu", True, here="run: `device`", reason="`False`: `cpu`; `True`: `auto`"),
    Parameter("parallel_cpu", False, here="run: `device`", reason="`True`: `cpu`, all cores"),
    Parameter("multi_gpu", False, here="run: `device`", reason="`True`: `cuda:all`"),
    Parameter("num_workers", None, reason=_ALL_CORES),
    Parameter("use_default_gpu", False, here="run: `device`", reason="`True`: `cuda:0`"),
    Parameter("pick_gpu", None, here="run: `device`", reason="number `n`, from 1 as in MATLAB, is `cuda:n-1`"),
    Parameter("skip_parpool_calculations", False, reason=_ALL_CORES),
    Parameter("num_partitions_x", None, reason=_WHOLE),
    Parameter("num_partitions_y", None, reason=_WHOLE),
    Parameter("num_frames", None, here="the first so many frames of a file", reason="as there, an array is whole"),
    Parameter(
        "use_sparse_arrays", False, here="`spatial_weights` sparse",
        reason="`(h * w, K)` with pixels in MATLAB's order, for SciPy has no ndSparse",
    ),
    Parameter("compact_output", 0, here="no rejected cells in `info.summary`"),
    Parameter("hyperparameter_tuning_flag", False, here="`max_iter = 1`"),
    Parameter("verbose", 2, reason="a `progress` function is told of every step, and the log has the rest"),
    Parameter("show_progress", False, reason="pass a `progress` function"),
    Parameter("plot_loss", False, reason=_PICTURE),
    # preprocessing
    Parameter(
        "preprocess", True, here="`False`: traces are divided by `F_per_pixel`, or by nothing",
        reason="nothing changes the movie either way: baseline and background are part of the model",
    ),
    Parameter("skip_dff", False, here="traces are divided by the baseline or 1, whichever is more"),
    Parameter("F_per_pixel", None, here="what traces are divided by with `preprocess = False`"),
    Parameter("baseline_quantile", None, "baseline_quantile", convert=float, reason="the median by default"),
    Parameter("spatial_highpass_cutoff", 5, reason=_LIGHT),
    Parameter("remove_background", False, reason=_LIGHT),
    Parameter("avg_event_tau", 10, reason="estimated from the movie; it sets the averaging of frames only"),
    Parameter("second_df", None, reason=_LIGHT),
    Parameter("temporal_denoising", False, reason="traces are as measured, for spike inference to smooth"),
    Parameter("fix_zero_FOV_strips", False, reason="constant pixels and empty borders are always left out"),
    Parameter("medfilt_outlier_pixels", False, reason="positive outliers are what the loss distrusts"),
    Parameter("crop_circular", False, reason="nothing is drawn by hand: give `movie_mask`"),
    Parameter("arbitrary_mask", False, reason="nothing is drawn by hand: give `movie_mask`"),
    Parameter("movie_mask", None, here="run: `mask`"),
    Parameter("downsample_space_by", 1, reason=_FULL_SIZE),
    Parameter("min_radius_after_downsampling", 5, reason=_FULL_SIZE),
    Parameter("min_tau_after_downsampling", 5, "min_tau_after_downsampling", convert=float),
    Parameter("reestimate_S_if_downsampled", False, reason=_FULL_SIZE),
    Parameter("reestimate_T_if_downsampled", True, reason="always, unless `trace_output_option = 'none'`"),
    Parameter("partition_size_time", 10000, reason="blocks of frames follow from memory"),
    Parameter("save_df", 0, reason="nothing preprocessed is stored"),
    # cell finding
    Parameter("cellfind_filter_type", "butter", reason=_LOW_PASS),
    Parameter("spatial_lowpass_cutoff", 2, "spatial_lowpass_cutoff", convert=_finite),
    Parameter("cellfind_spatial_highpass_cutoff", math.inf, reason=_LIGHT),
    Parameter("smoothing_ratio_x2y", 1, reason="pixels are taken to be square"),
    Parameter("moving_radius_spatial", 3, reason=_LOW_PASS),
    Parameter("moving_radius_temporal", 3, reason=_LOW_PASS),
    Parameter("filter_sigma", (2, 2, 10), reason=_LOW_PASS),
    Parameter(
        "cellfind_min_snr", 1, "cellfind_min_snr", convert=_positive, reason="0: what noise alone reaches, our default"
    ),
    Parameter("cellfind_check_min_magnitude", True, reason="finding always ends at the least magnitude"),
    Parameter("cellfind_max_steps", 1000, reason="finding ends where noise begins, many cells at a time"),
    Parameter("cellfind_max_iter", 10, reason="six rounds, and most fits settle in three"),
    Parameter("cellfind_kappa_std_ratio", 0.7, "cellfind_kappa_std_ratio", convert=float),
    Parameter("cellfind_adaptive_kappa", 0, reason="a fit is subtracted and refined later"),
    Parameter("init_with_gaussian", False, reason="the first image averages the frames in which the seed stands out"),
    Parameter("avg_yield_threshold", 0.1, reason="finding ends where noise begins"),
    Parameter("cellfind_numpix_threshold", 9, "cellfind_numpix_threshold", convert=int),
    Parameter("high2low_brightness_ratio", math.inf, reason="the SNR judges"),
    Parameter("S_init", None, here="`init=`, where cells begin", reason="`(h * w, K)` in MATLAB's order, or `[h w K]`"),
    Parameter("T_init", None, reason="traces are solved from the footprints"),
    Parameter("save_all_found", False, reason="`info.summary` has the rejected cells always"),
    Parameter("visualize_cellfinding", 0, reason=_PICTURE),
    Parameter("visualize_cellfinding_show_bad_cells", 0, reason=_PICTURE),
    Parameter("visualize_cellfinding_full_range", 0, reason=_PICTURE),
    Parameter("visualize_cellfinding_min", 0.2, reason=_PICTURE),
    Parameter("visualize_cellfinding_max", 0.99, reason=_PICTURE),
    # refinement
    Parameter(
        "kappa_std_ratio", 0.7, "kappa_std_ratio", convert=float,
        reason="in units of each pixel's noise; 1.5 by default, as the background is in the model",
    ),
    Parameter("adaptive_kappa", 1, "adaptive_kappa", convert=bool, reason="of the final traces; off by default"),
    Parameter("adaptive_kappa_filter", 0, reason="footprints have one kappa"),
    Parameter("max_iter", 6, "max_iter", convert=int, reason="0 with `S_init`: traces of those alone; 5 by default"),
    Parameter("max_iter_S", 100, reason=_NEWTON),
    Parameter("max_iter_T", 100, reason=_NEWTON),
    Parameter("l1_penalty_factor", 0, "l1_penalty_factor", convert=float),
    Parameter("smooth_S", True, "smooth_footprints", convert=bool),
    Parameter("smooth_T", False, reason="traces are as measured, for spike inference to smooth"),
    Parameter("low_cell_area_flag", 0, reason="smoothing follows the cell radius and the noise"),
    Parameter("pre_mask_on", 0, reason=_MASKS),
    Parameter("pre_mask_radius", 0, reason=_MASKS),
    Parameter("num_iter_stop_quality_checks", None, reason="cells are judged in every round; open the thresholds"),
    Parameter("minimal_checks", 0, here="`max_size`, `max_eccentricity`: no limit"),
    Parameter("TOL_main", 1e-2, reason="`max_iter` rounds are always run"),
    Parameter("TOL_sub", 1e-6, reason=_UNUSED),
    # final regression
    Parameter("regression_only", 0, here="traces of `S_init` alone", reason="`gpucells.apply_footprints`"),
    Parameter("trace_output_option", "baseline_adjusted", "trace_output_option", convert=same),
    Parameter("trace_quantile", 0.25, "trace_quantile", convert=float),
    Parameter("max_iter_T_final", 100, reason=_NEWTON),
    Parameter("kappa_iter_nums", None, reason=_NEWTON),
    Parameter("frr_check_every_step", False, reason="one bound for the whole movie"),
    Parameter("frr_edge_case_flag", 0, reason="no minimum is subtracted a block"),
    Parameter("T_lower_snr_threshold", None, reason=_UNUSED),
    Parameter("is_pixel_valid", None, reason=_UNUSED),
    Parameter("fast_cellcheck", None, reason=_UNUSED),
)  # fmt: skip

THRESHOLDS = Table(
    "EXTRACT's thresholds",
    Parameter("T_min_snr", 7, "min_snr", convert=float, reason="of our effective SNR; 6 by default"),
    Parameter("size_lower_limit", 0.1, "min_size", convert=float),
    Parameter("size_upper_limit", 10, "max_size", convert=float),
    Parameter(
        "spatial_corrupt_thresh", 1.5, "max_spatial_corruption", convert=_finite,
        reason="off by default: noise alone raises it",
    ),
    Parameter("temporal_corrupt_thresh", 0.7, reason="the effective SNR counts downward swings"),
    Parameter("eccent_thresh", 6, "max_eccentricity", convert=float),
    Parameter("T_dup_corr_thresh", 0.95, "duplicate_correlation", convert=float, reason="of transients; .8 by default"),
    Parameter("S_dup_corr_thresh", 0.8, reason="two cells are one by what they do: `T_dup_corr_thresh`"),
    Parameter("low_ST_index_thresh", -1, reason=_TABLE),
    Parameter("low_ST_corr_thresh", 0, reason=_TABLE),
    Parameter("confidence_thresh", 0.8, reason=_UNUSED),
    Parameter("high_ST_index_thresh", 0.8, reason=_UNUSED),
)  # fmt: skip
