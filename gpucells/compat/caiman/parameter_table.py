"""Every parameter of CaImAn 1.12's ``CNMFParams``: its default, and what becomes of it here.

The one table: defaults, translation, warnings and the page ``docs/compat/caiman.md`` come from it. The facts are those
of CaImAn's own object as it lists itself (Giovannucci et al. 2019, eLife 8:e38173).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpucells.compat.caiman.parameter_others import MOTION, ONLINE, RING_CNN


class Parameter(NamedTuple):
    """One parameter.

    Parameters
    ----------
    default : object
        As CaImAn has it.
    honoured : bool
        Whether a value of one's own changes the run.
    meaning : str
        What it becomes here, or why it is not honoured.
    """

    default: Any
    honoured: bool
    meaning: str


def _as(default: Any, meaning: str) -> Parameter:
    return Parameter(default, True, meaning)


def _not(default: Any, why: str) -> Parameter:
    return Parameter(default, False, why)


_BLOCKS = "blocks and tiles follow from the memory that is free"
_NOT_NMF = "the background is principal components, no NMF"
_SEEDS = "a seed is fitted at its brightest frame until it settles"
_SEED = "thresholds of seeds come from the movie: numbers of another filter and frame rate do not carry over"
_SPARSE = "a run with this start has the settings of gpucells' own"
_GRAPH = "the graph is that of a pixel's eight neighbours"
_DOWN = "cost follows the footprints' pixels, so there is no smaller movie"
_CNN = "no network that was trained on other movies decides"
_NOISE = "a pixel's noise is that of its second differences, a trace's that of the upper half of its spectrum"
_MASKS = "a footprint may grow by half a radius beyond its support in every round"
_DIAMOND = (np.abs(np.arange(5) - 2)[:, None] + np.abs(np.arange(5) - 2) <= 2).astype(int)
_CUT = "a footprint's pixel stays where it is two standard errors above 0"

GROUPS: dict[str, dict[str, Parameter]] = {
    "data": {
        "fnames": _as(None, "the movie of `fit_file`"),
        "dims": _as(None, "height and width of a movie given as (pixels, frames); read from `fnames` if not given"),
        "fr": _as(30, "`frame_rate_hz`"),
        "decay_time": _not(0.4, "the decay of transients is estimated from the movie"),
        "dxy": _as((1, 1), "`pixel_size_um`"),
        "var_name_hdf5": _as("mov", "the dataset of an HDF5 file in `fit_file`"),
        "caiman_version": _not("auto", "a result says which version of gpucells made it"),
        "last_commit": _not("auto", "a result says which version of gpucells made it"),
    },
    "init": {
        "K": _as(30, "`n_cells`, the most cells; with `rf` of each patch. Dimmer ones are kept then"),
        "SC_kernel": _not("heat", _GRAPH),
        "SC_sigma": _not(1, _GRAPH),
        "SC_thr": _not(0, _GRAPH),
        "SC_normalize": _not(True, _GRAPH),
        "SC_use_NN": _not(False, _GRAPH),
        "SC_nnn": _not(20, _GRAPH),
        "alpha_snmf": _not(0.5, _SPARSE),
        "center_psf": _as(False, "True: CNMF-E"),
        "gSig": _as([5, 5], "`cell_diameter_px`: 2 gSig + 1, with corr_pnr 3 gSig; from the movie if not given"),
        "gSiz": _as((11, 11), "`cell_diameter_px` where gSig is not given: gSiz, with corr_pnr 9/13 of it"),
        "greedyroi_nmf_init_method": _not("nndsvdar", _NOT_NMF),
        "greedyroi_nmf_max_iter": _not(200, _NOT_NMF),
        "init_iter": _as(2, "`searches` with corr_pnr"),
        "kernel": _not(None, "the filter follows the size of the cells"),
        "lambda_gnmf": _not(1, _SPARSE),
        "snmf_l1_ratio": _not(0.0, _SPARSE),
        "maxIter": _not(5, "rounds have a judge, and their own number"),
        "max_iter_snmf": _not(500, _SPARSE),
        "method_init": _as(
            "greedy_roi", "`init` of CNMF (greedy_roi, sparse_nmf, graph_nmf, compressed_nmf); corr_pnr: CNMF-E"
        ),
        "min_corr": _not(0.85, _SEED),
        "min_pnr": _not(20, _SEED),
        "nIter": _not(5, _SEEDS),
        "nb": _as(1, "0 or less with corr_pnr: `W` and `b0` instead of `b` and `f`; above 0 the number is the movie's"),
        "normalize_init": _not(True, "every pixel is in units of its own noise, throughout"),
        "options_local_NMF": _not(None, "it has no effect in CaImAn either"),
        "perc_baseline_snmf": _not(20, _SPARSE),
        "ring_size_factor": _as(1.5, "`ring_radius` with corr_pnr: times gSiz in px; None: no ring"),
        "rolling_length": _not(100, _SEEDS),
        "rolling_sum": _not(True, _SEEDS),
        "seed_method": _as("auto", "a list of (row, column): cells begin there"),
        "sigma_smooth_snmf": _not((0.5, 0.5, 0.5), _SPARSE),
        "ssub": _not(2, _DOWN),
        "ssub_B": _as(2, "side of the pixels of `W`; the ring of a run has blocks of a cell's radius"),
        "tsub": _as(2, "`downsample_time_by`, until the last updates; from the transients if not given"),
    },
    "merging": {
        "do_merge": _as(True, "False: `duplicate_correlation = 1`"),
        "merge_thr": _as(0.8, "`duplicate_correlation`"),
        "merge_parallel": _not(False, "all pairs are compared at once"),
    },
    "motion": {name: _not(value, MOTION[0]) for name, value in MOTION[1].items()},
    "online": {name: _not(value, ONLINE[0]) for name, value in ONLINE[1].items()},
    "patch": {
        "border_pix": _not(0, "borders that registration emptied are left out by themselves"),
        "del_duplicates": _not(False, "a cell belongs to one tile alone"),
        "in_memory": _not(True, _BLOCKS),
        "low_rank_background": _not(True, "there is one background for the whole image"),
        "memory_fact": _not(1, _BLOCKS),
        "n_processes": _not(1, "threads share the work: NUMBA_NUM_THREADS in the environment limits them"),
        "nb_patch": _not(1, "there is one background for the whole image"),
        "only_init": _not(True, "the result is always the full one, with spikes"),
        "p_patch": _not(0, "the response is the same in tiles and in the end"),
        "remove_very_bad_comps": _not(False, "every round judges; in CaImAn it raises an error"),
        "rf": _not(None, _BLOCKS),
        "skip_refinement": _not(False, "the result is always the full one"),
        "p_ssub": _not(2, "it has no effect in CaImAn either"),
        "stride": _not(None, _BLOCKS),
        "p_tsub": _not(2, "it has no effect in CaImAn either"),
    },
    "preprocess": {
        "check_nan": _not(True, "pixels with NaN do not count, and lost frames are left out, with a warning"),
        "compute_g": _not(False, "it has no effect on the result in CaImAn either"),
        "include_noise": _not(False, "it has no effect on the result in CaImAn either"),
        "lags": _not(5, "it serves compute_g alone; see temporal"),
        "max_num_samples_fft": _not(3072, _NOISE),
        "n_pixels_per_process": _not(None, _BLOCKS),
        "noise_method": _not("mean", _NOISE),
        "noise_range": _not([0.25, 0.5], _NOISE),
        "p": _as(2, "`ar_order`; 1 if not given"),
        "pixels": _not(None, "it has no effect on the result in CaImAn either"),
        "sn": _not(None, _NOISE),
    },
    "ring_CNN": {name: _not(value, RING_CNN[0]) for name, value in RING_CNN[1].items()},
    "quality": {
        "SNR_lowest": _as(0.5, "in `evaluate_components`: below it a cell is rejected"),
        "cnn_lowest": _not(0.1, _CNN),
        "gSig_range": _not(None, _CNN),
        "min_SNR": _as(2.5, "in `evaluate_components`: above it a cell is accepted; SNR is a third of gpucells' `snr`"),
        "min_cnn_thr": _not(0.9, _CNN),
        "rval_lowest": _as(-1, "in `evaluate_components`: below it a cell is rejected"),
        "rval_thr": _as(0.8, "in `evaluate_components`: from it on a cell is accepted; r is `event_correlation`"),
        "use_cnn": _not(True, _CNN),
        "use_ecc": _not(False, "runs refuse what is longer than `max_eccentricity` by themselves"),
        "max_ecc": _not(3, "runs refuse what is longer than `max_eccentricity` by themselves"),
    },
    "spatial": {
        "dist": _not(3, _MASKS),
        "expandCore": _not(_DIAMOND, _MASKS),
        "extract_cc": _not(True, "a footprint is the piece that holds its maximum"),
        "maxthr": _not(0.1, _CUT),
        "medw": _not(None, "a footprint is smoothed as far as its noise explains its roughness"),
        "method_exp": _not("dilate", _MASKS),
        "method_ls": _as("lasso_lars", "`spatial_solver`: `lasso` for lasso_lars, `nnls_l0` for nnls_L0"),
        "n_pixels_per_process": _not(None, _BLOCKS),
        "nb": _not(1, "a copy of init.nb, as in CaImAn"),
        "normalize_yyt_one": _not(True, "coefficients are in units of their own standard errors"),
        "nrgthr": _not(0.9999, _CUT),
        "num_blocks_per_run_spat": _not(20, _BLOCKS),
        "se": _not(None, "a smoothed footprint has no holes to close"),
        "ss": _not(None, "a footprint is the piece, with 8 neighbours, that holds its maximum"),
        "thr_method": _not("nrg", _CUT),
        "update_background_components": _not(True, "the background is updated with the footprints"),
    },
    "temporal": {
        "ITER": _not(2, "sweeps are many and cost little"),
        "bas_nonneg": _as(False, "`baseline_nonnegative`"),
        "block_size_temp": _not(5000, _BLOCKS),
        "fudge_factor": _as(0.96, "`decay_fudge`"),
        "lags": _as(5, "`decay_lags`"),
        "optimize_g": _as(False, "`optimize_g`, the number of events, with p = 1; 10 if not given"),
        "method_deconvolution": _not("oasis", "OASIS's problem is solved, to the end"),
        "nb": _not(1, "a copy of init.nb, as in CaImAn"),
        "noise_method": _not("mean", _NOISE),
        "noise_range": _not([0.25, 0.5], _NOISE),
        "num_blocks_per_run_temp": _not(20, _BLOCKS),
        "p": _as(2, "`ar_order`; 1 if not given"),
        "s_min": _as(None, "`s_min`"),
        "solvers": _not(["ECOS", "SCS"], "no outside solver is called"),
        "verbosity": _not(False, "progress is told by `gpucells.extract_cells`"),
    },
}  # fmt: skip


#: Values that ask for what is done anyway, so that nothing is said about them.
OUR_WAY: dict[tuple[str, str], Any] = {
    ("init", "ssub"): 1, ("patch", "del_duplicates"): True, ("patch", "nb_patch"): 0, ("patch", "only_init"): False,
    ("patch", "p_ssub"): 1, ("patch", "p_tsub"): 1, ("quality", "use_cnn"): False,
}  # fmt: skip


def table() -> str:
    """Return the parameters as Markdown, a table a group, for the documentation."""
    lines: list[str] = []
    for group, parameters in GROUPS.items():
        lines += [f"### {group}", ""]
        reasons = {p.meaning for p in parameters.values()}
        if len(reasons) == 1 and len(parameters) > 1:
            lines += [f"Not honoured: {reasons.pop()}.", "", ", ".join(f"`{name}`" for name in parameters), ""]
            continue
        lines += ["| parameter | default | here |", "|---|---|---|"]
        for name, parameter in parameters.items():
            default = "a 5 x 5 diamond" if isinstance(parameter.default, np.ndarray) else f"`{parameter.default!r}`"
            lines.append(f"| `{name}` | {default} | {'' if parameter.honoured else 'not: '}{parameter.meaning} |")
        lines.append("")
    return "\n".join(lines)


def places(name: str) -> list[str]:
    """Return the groups that have a parameter of this name."""
    return [group for group, parameters in GROUPS.items() if name in parameters]
