"""CIAtah's screens: every option, its default there, and what it becomes or why it changes nothing.

EXTRACT's screen shows names of EXTRACT's own configuration, which become what :mod:`gpucells.compat.extract` has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gpucells.compat.extract.names import CONFIG, THRESHOLDS
from gpucells.compat.parameters import Parameter, Table, is_empty
from gpucells.errors import SettingsError

#: CIAtah's name of a method to ours.
METHODS = {
    "CELLMax": "cellmax",
    "EM": "cellmax",
    "PCAICA": "pcaica",
    "PCAICA_old": "pcaica",
    "CNMF": "cnmf",
    "CNMFE": "cnmfe",
    "EXTRACT": "extract",
    "ROI": "roi",
}
_INIT = {"greedy": "greedy_roi", "sparse_NMF": "sparse_nmf", "HALS": "greedy_roi"}
_TILES = "tiles follow from memory (run: `memory_bytes`), and the result does not depend on them"
_FULL_SIZE = "cost follows the footprints' pixels, and footprints are of the full size"
_CORES = "all cores are used; NUMBA_NUM_THREADS in the environment limits them"
_MASKS = "footprints are cut where their own error says so"
_STREAM = "the movie is read in blocks, whatever its size"
_RADII = "ours are in cell radii: `settings`"
_JUDGED = "cells are judged by the rules that all methods share"
_DOUBLES = "a cell belongs to the tile that has its centre"


def _init(value: Any) -> str:
    if value not in _INIT:
        raise SettingsError(f"init = {value!r} of CNMF", f"one of {', '.join(_INIT)}")
    return _INIT[value]


def _ratio(eccentricity: Any) -> float:
    """Return the ratio of an ellipse's axes."""
    return math.inf if eccentricity >= 1 else max(1.001, 1 / math.sqrt(1 - float(eccentricity) ** 2))


GENERAL = Table(
    "CIAtah",
    Parameter("file_filter_regexp", "concat", here="names of the movies in a folder", reason="`re.search`, any case"),
    Parameter("overwrite", True, here="whether methods that are done are run again"),
    Parameter("dataset", "/1", here="of HDF5 files"),
    Parameter("grid_width", None, here="run: `cell_diameter_px`", reason="a number, or one by subject or folder"),
    Parameter("grid_spacing", None, here="`grid_spacing` of CELLMax", reason="as `grid_width`"),
    Parameter(
        "n_pcs_n_ics", None, here="`n_pcs`, `n_ics` of PCAICA; `n_cells` of CNMF is the second",
        reason="a pair, or one by subject or folder; from the noise if not given",
    ),
    Parameter("frame_rate_hz", None, here="run: `frame_rate_hz`"),
    Parameter("view_results", True, here="draw `objMapsGeneral_*.png`", reason="no window opens"),
    Parameter("save_nwb", False, here="also write `nwbFiles/*.nwb`"),
    Parameter("workers", None, reason=_CORES),
    Parameter("parallel", True, reason=_CORES),
    Parameter("use_default_options", False, reason="what is not given is at our default always"),
    Parameter("profiler", False, reason="what each step took is in the result, and in the run-time table"),
    Parameter(
        "alternative_regexp", "",
        reason="final traces are always at the rate of the movie: give the full-rate movie itself",
    ),
)  # fmt: skip

PCAICA = Table(
    "PCAICA",
    Parameter("outputUnits", "fl", "output_units"),
    Parameter("mu", 0.1, "mu", convert=float),
    Parameter("term_tol", 5e-6, "term_tol", convert=float),
    Parameter("max_iter", 1000, "max_iter", convert=int),
    Parameter("nPCs", None, "n_pcs", convert=int, reason="of the whole field"),
    Parameter("nICs", None, "n_ics", convert=int, reason="of the whole field"),
)

ROI = Table(
    "ROI",
    Parameter("threshold", 0.5, "threshold", convert=float),
    Parameter(
        "signalExtractionMethod", None, here="whose images are taken",
        reason="the method run before, or the first whose file is in the folder, if not given",
    ),
)  # fmt: skip

CNMF = Table(
    "CNMF",
    Parameter("version", "current", reason="there is one"),
    Parameter("save_new_dir", False, reason="a method has one file a folder; `overwrite` says what becomes of it"),
    Parameter("iterate_parameters", False, reason="the sweep never runs in CIAtah either"),
    Parameter("only_initialise", False, reason="run with `settings = {'CNMF': {'max_iter': 1}}` for a first look"),
    Parameter("ssub", 1, reason=_FULL_SIZE),
    Parameter("tsub", 1, "downsample_time_by", convert=int, reason="while cells are found; from the decay by default"),
    Parameter("frame_rate", None, run="frame_rate_hz", convert=float),
    Parameter("memmap", False, reason=_STREAM),
    Parameter("patch", (128, 128), reason=_TILES),
    Parameter("overlap", (16, 16), reason=_TILES),
    Parameter("tau", None, run="cell_diameter_px", convert=float, reason="a diameter on the screen"),
    Parameter("classify", True, reason=_JUDGED),
    Parameter("init", "greedy", "init", convert=_init, reason="`greedy_corr` is not there"),
    Parameter("K", None, "n_cells", convert=int),
    Parameter("p", 2, "ar_order", convert=int, reason="1 by default"),
    Parameter("merge_thr", 0.85, "duplicate_correlation", convert=float, reason=".8 by default"),
    Parameter("noise_range", (0.1, 0.6), reason="noise is told from second differences"),
    Parameter("medw", (2, 2), reason=_MASKS),
    Parameter("nrgthr", 0.85, reason=_MASKS),
    Parameter("clos_op", 3, reason=_MASKS),
    Parameter("snmf_max_iter", 200, reason="of `sparse_NMF`, which ends when it has settled"),
    Parameter("beta", 0.5, reason="of `sparse_NMF`, which has its own weights here"),
    Parameter("eta", 1, reason="of `sparse_NMF`, which has its own weights here"),
    Parameter("err_thr", 1e-4, reason="of `sparse_NMF`, which ends when it has settled"),
    Parameter("maxIter", 5, "max_iter", convert=int, reason="rounds; 4 by default"),
    Parameter("bSiz", 3, reason=_MASKS),
)

CNMFE = Table(
    "CNMFE",
    Parameter("edit_settings_file", 1, reason="options are given in the call"),
    Parameter("delete_temp", True, reason="nothing temporary is left"),
    Parameter("classify", True, reason=_JUDGED),
    Parameter("gSig", 7, reason="it follows from the diameter, `gSiz`"),
    Parameter("gSiz", 13, run="cell_diameter_px", convert=float),
    Parameter("ssub", 1, reason=_FULL_SIZE),
    Parameter("tsub", 1, "downsample_time_by", convert=int, reason="from the decay by default"),
    Parameter("Fs", 10, run="frame_rate_hz", convert=float),
    Parameter("patch", (64, 64), reason=_TILES),
    Parameter("memory_size_to_use", 8, run="memory_bytes", convert=lambda gb: int(gb * 1e9), reason="GB"),
    Parameter("memory_size_per_patch", 0.6, reason=_TILES),
    Parameter("with_dendrites", True, "dendrite_aware", convert=bool, reason="off by default"),
    Parameter("updateA_bSiz", 5, reason=_MASKS),
    Parameter("spatial_algorithm", "hals_thresh", reason="all of its algorithms solve the same least squares"),
    Parameter("deconv_smin", -5, "s_min", convert=float, reason="the least sum of spikes by default"),
    Parameter("max_tau", 100, reason="decays are fitted without a bound"),
    Parameter("nk", 3, reason="slow drift is the global background's"),
    Parameter("bg_model", "ring", "ring", convert=lambda model: model in ("ring", "both")),
    Parameter("nb", 1, "n_background", convert=int, reason="as many as are smooth and stand out by default"),
    Parameter("ring_radius", 18, reason=_RADII),
    Parameter("bg_ssub", 2, reason=_RADII),
    Parameter("merge_thr", 0.2, reason="of another measure than our `duplicate_correlation`"),
    Parameter("method_dist", "mean", reason="cells that touch and fire alike merge"),
    Parameter("dmin", 10, reason="cells that touch and fire alike merge"),
    Parameter("dmin_only", 10, reason="cells that touch and fire alike merge"),
    Parameter("merge_thr_spatial", (0.3, 0.1, -math.inf), reason="cells that touch and fire alike merge"),
    Parameter("K", None, "n_cells", convert=int),
    Parameter("min_corr", 0.8, "min_corr", convert=float, reason="from the negated movie by default"),
    Parameter("min_pnr", 8, "min_pnr", convert=float, reason="from the negated movie by default"),
    Parameter("bd", 0, reason="borders that registration emptied are left out"),
    Parameter("center_psf", True, reason="always"),
    Parameter("min_corr_res", 0.7, reason="later searches go by brightness"),
    Parameter("min_pnr_res", 6, reason="later searches go by brightness"),
    Parameter("update_sn", True, reason="noise is told from what is left at the end"),
)

CELLMAX = Table(
    "CELLMax",
    Parameter("initMethod", "grid", "init_method"),
    Parameter("gridSpacing", None, here="`grid_spacing`", reason="px here, radii there"),
    Parameter("gridWidth", None, run="cell_diameter_px", convert=float),
    Parameter("maxSqSize", 150, reason=_TILES),
    Parameter("sqOverlap", 16, reason=_TILES),
    Parameter("minIters", 50, "min_iter", convert=int),
    Parameter("maxIters", 120, "max_iter", convert=int, reason="CIAtah passes `minIters` for it"),
    Parameter("percentFramesPerIteration", 0.3, "frames_fraction", convert=float),
    Parameter("numFramesRandom", 3000, "frames_least", convert=int),
    Parameter("subsampleMethod", "random", reason="always those that remain, then all again"),
    Parameter("percentRemainingSubsample", 1, reason="always those that remain, then all again"),
    Parameter("percentFramesPCAICA", 0.5, reason="PCA-ICA sees all averaged frames"),
    Parameter("nPCnIC", None, reason="the start by PCA-ICA finds its numbers by itself"),
    Parameter("numPhotonsPerSigma", 10, "photons_per_sigma", convert=float),
    Parameter("numSigmasThresh", 0, "threshold_sigmas", convert=float, reason="-2 by default; CIAtah forces .5"),
    Parameter("numFramesSampleFitNoiseSigma", 1000, reason="all frames tell the noise"),
    Parameter("threshForElim", 0.005, "elimination", convert=float),
    Parameter("sizeThresh", 5, here="`min_size`", reason="px here, areas of a cell there"),
    Parameter("sizeThreshMax", 250, here="`max_size`", reason="px here, areas of a cell there"),
    Parameter("areaOverlapThresh", 0.65, reason=_DOUBLES),
    Parameter("removeCorrProbs", True, reason="always; `scaledPhiCorrThresh = 1` leaves all"),
    Parameter("scaledPhiCorrThresh", 0.3, "merge_correlation", convert=float, reason=".8 by default"),
    Parameter("distanceThresh", 3, here="`merge_distance`", reason="px here, radii there"),
    Parameter("corrRemovalAreaOverlapThresh", 0.3, "merge_overlap", convert=float),
    Parameter("runMovieImageCorrThreshold", True, reason="always"),
    Parameter("movieImageCorrThreshold", 0.15, "movie_correlation", convert=float, reason="learnt by default"),
    Parameter("removeAutoCorrThres", 0.65, reason=_JUDGED),
    Parameter("eccentricityThreshold", 0.99, "max_eccentricity", convert=_ratio, reason="as the ratio of the axes"),
    Parameter("numObjThreshold", 3, reason="images are one piece"),
    Parameter("downsampleFactorTime", 1, "downsample_time_by", convert=int, reason="from the decay by default"),
    Parameter("downsampleFactorSpace", 1, reason=_FULL_SIZE),
    Parameter("dsInitializeThreshold", 0.01, reason=_FULL_SIZE),
    Parameter("upsampleFullIters", 2, reason=_FULL_SIZE),
    Parameter("recalculateFinalTraces", True, reason="always"),
    Parameter("spatialFilterMovie", False, reason="the background is part of the model"),
    Parameter("useSparseImageMatrix", False, reason="always"),
    Parameter("exitEarlySaveSparse", False, reason="always sparse, and never early"),
    Parameter("readMovieChunks", True, reason=_STREAM),
    Parameter("loadPreviousChunks", False, reason=_STREAM),
    Parameter("saveChunksToRam", True, reason=_STREAM),
    Parameter("saveIterMovie", False, reason="no film of the rounds is kept"),
    Parameter("useGPU", False, run="device", convert=lambda use: "auto" if use else "cpu"),
    Parameter("generateNovelSeed", True, reason="the seed is the run's: the same run gives the same cells"),
    Parameter("maxDeltaParams", None, "max_delta", convert=float),
)  # fmt: skip


def _of_extract(name: str, default: Any) -> Parameter:
    table = CONFIG if name in CONFIG.parameters else THRESHOLDS
    return replace(table.find(name), default=default)


EXTRACT = Table(
    "EXTRACT in CIAtah",
    Parameter("use_gpu", False, run="device", convert=lambda use: "auto" if use else "cpu"),
    Parameter("parallel_cpu", True, reason=_CORES),
    Parameter("multi_gpu", False, run="device", convert=lambda use: "cuda:all" if use else None),
    Parameter("preprocess", False, reason="nothing changes the movie either way"),
    Parameter("compact_output", True, reason="`keep_rejected` of the call says whether rejected cells are written"),
    Parameter("use_sparse_arrays", False, reason="the file has what CIAtah's loader expects, whole images"),
    *(
        _of_extract(name, default)
        for name, default in {
            "avg_cell_radius": None,
            "cellfind_min_snr": 1,
            "num_partitions_x": 2,
            "num_partitions_y": 2,
            "trace_output_option": "nonneg",
            "T_min_snr": 10,
            "cellfind_max_steps": 1000,
            "temporal_corrupt_thresh": 0.7,
            "spatial_corrupt_thresh": 0.7,
            "size_upper_limit": 10,
            "low_ST_index_thresh": 1e-2,
            "low_ST_corr_thresh": -math.inf,
            "init_with_gaussian": False,
            "downsample_time_by": 1,
            "downsample_space_by": 1,
            "T_dup_corr_thresh": 0.95,
            "max_iter": 6,
            "cellfind_filter_type": "butter",
        }.items()
    ),
)

TABLES: dict[str, Table] = {
    "general": GENERAL,
    "PCAICA": PCAICA,
    "ROI": ROI,
    "CNMF": CNMF,
    "CNMFE": CNMFE,
    "EXTRACT": EXTRACT,
    "CELLMax": CELLMAX,
}
_OF = {"EM": "CELLMax", "PCAICA_old": "PCAICA"}
#: Options in pixels: the setting, and the power of the cell radius that it is in.
_PIXELS = {
    "gridSpacing": ("grid_spacing", 1),
    "distanceThresh": ("merge_distance", 1),
    "sizeThresh": ("min_size", 2),
    "sizeThreshMax": ("max_size", 2),
}


def translated(
    method: str, options: Mapping[str, Any], diameter_px: float | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make our settings of the options of a method's screen.

    Parameters
    ----------
    method : str
        CIAtah's name.
    options : mapping
        By CIAtah's names.
    diameter_px : float or None
        Of a cell, for options in pixels.

    Returns
    -------
    settings, run : dict

    Raises
    ------
    SettingsError
        An option is unknown; one in pixels is given and the diameter is not.
    """
    table = TABLES[_OF.get(method, method)]
    settings, run = table.translate(options)
    diameter_px = run.get("cell_diameter_px", diameter_px)
    for name in (name for name in _PIXELS if not is_empty(options.get(name))):
        if diameter_px is None:
            raise SettingsError(f"{name} is in pixels, and the cell's width is not known", "give grid_width, too")
        setting, power = _PIXELS[name]
        settings[setting] = float(options[name]) / ((diameter_px / 2) ** power * (math.pi if power == 2 else 1))
    return settings, run
