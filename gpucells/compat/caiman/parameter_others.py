"""Parameters of what is not done here at all: registration, and CaImAn's online method; and old names of the others."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Why none of a group is honoured, and its names with their defaults.
MOTION: tuple[str, dict[str, Any]] = (
    "registration is another tool's work: give a registered movie",
    {
        "border_nan": "copy", "gSig_filt": None, "is3D": False, "max_deviation_rigid": 3, "max_shifts": (6, 6),
        "min_mov": None, "niter_rig": 1, "nonneg_movie": True, "num_frames_split": 80,
        "num_splits_to_process_els": None, "num_splits_to_process_rig": None, "overlaps": (32, 32), "pw_rigid": False,
        "shifts_interpolate": False, "shifts_opencv": True, "splits_els": 14, "splits_rig": 14, "strides": (96, 96),
        "upsample_factor_grid": 4, "use_cuda": False, "indices": (slice(None), slice(None)),
    },
)  # fmt: skip
ONLINE: tuple[str, dict[str, Any]] = (
    "there is no online method: the whole movie is looked at",
    {
        "N_samples_exceptionality": 12, "W_update_factor": 1, "batch_update_suff_stat": False,
        "dist_shape_update": False, "ds_factor": 1, "epochs": 1, "expected_comps": 500, "full_XXt": False,
        "init_batch": 200, "init_method": "bare", "iters_shape": 5, "max_comp_update_shape": np.inf, "max_num_added": 5,
        "max_shifts_online": 10, "min_SNR": 2.5, "min_num_trial": 5, "minibatch_shape": 100, "minibatch_suff_stat": 5,
        "motion_correct": True, "movie_name_online": "online_movie.mp4", "n_refit": 0, "normalize": False,
        "num_times_comp_updated": np.inf, "opencv_codec": "H264", "path_to_model": None, "ring_CNN": False,
        "rval_thr": 0.8, "save_online_movie": False, "show_movie": False, "simultaneously": False, "sniper_mode": False,
        "stop_detection": False, "test_both": False, "thresh_CNN_noisy": 0.5, "thresh_fitness_delta": -50,
        "thresh_fitness_raw": -60.97977932734429, "thresh_overlap": 0.5, "update_freq": 200, "update_num_comps": True,
        "use_corr_img": False, "use_dense": True, "use_peak_max": True,
    },
)  # fmt: skip
RING_CNN: tuple[str, dict[str, Any]] = (
    "there is no online method with a network for the background",
    {
        "loss_fn": "pct", "lr": 0.001, "lr_scheduler": None, "max_epochs": 100, "n_channels": 2, "path_to_model": None,
        "patience": 3, "pct": 0.01, "remove_activity": False, "reuse_model": False, "use_add": False, "use_bias": False,
        "width": 5,
    },
)  # fmt: skip

_P = ("preprocess", "temporal")
#: Arguments of ``CNMFParams`` and ``CNMF`` that are called otherwise in the groups, or are in some of several groups.
ARGUMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "k": ("K", ("init",)), "gnb": ("nb", ("init",)), "merge_thresh": ("merge_thr", ("merging",)), "p": ("p", _P),
    "only_init_patch": ("only_init", ("patch",)), "n_pixels_per_process": ("n_pixels_per_process", ("preprocess",)),
    "min_SNR": ("min_SNR", ("quality",)), "rval_thr": ("rval_thr", ("quality",)),
}  # fmt: skip
#: Arguments without a parameter of any effect.
WITHOUT_EFFECT = {
    "max_merge_area": "it has no effect in CaImAn either",
    "deconv_flag": "it has no effect in CaImAn either",
}

#: The arguments of ``CNMF`` after ``n_processes``, in their order.
CNMF_ARGUMENTS = (
    "k", "gSig", "gSiz", "merge_thresh", "p", "dview", "Ain", "Cin", "b_in", "f_in", "do_merge", "ssub", "tsub",
    "p_ssub", "p_tsub", "method_init", "alpha_snmf", "rf", "stride", "memory_fact", "gnb", "nb_patch",
    "only_init_patch", "method_deconvolution", "n_pixels_per_process", "block_size_temp", "num_blocks_per_run_temp",
    "num_blocks_per_run_spat", "check_nan", "skip_refinement", "normalize_init", "options_local_NMF",
    "minibatch_shape", "minibatch_suff_stat", "update_num_comps", "rval_thr", "thresh_fitness_delta",
    "thresh_fitness_raw", "thresh_overlap", "max_comp_update_shape", "num_times_comp_updated",
    "batch_update_suff_stat", "s_min", "remove_very_bad_comps", "border_pix", "low_rank_background",
    "update_background_components", "rolling_sum", "rolling_length", "min_corr", "min_pnr", "ring_size_factor",
    "center_psf", "use_dense", "deconv_flag", "simultaneously", "n_refit", "del_duplicates",
    "N_samples_exceptionality", "max_num_added", "min_num_trial", "thresh_CNN_noisy", "fr", "decay_time", "min_SNR",
    "ssub_B", "init_iter", "sniper_mode", "use_peak_max", "test_both", "expected_comps", "params",
)  # fmt: skip
