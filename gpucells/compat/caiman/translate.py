"""CaImAn's parameters as gpucells' method and settings: only those that the user chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams
from gpucells.compat.told_once import tell_once
from gpucells.errors import SettingsError

CELL_OF_GSIG_1P = 3.0  # gSig 3 and gSiz 13 are a cell of about 9 px: docs/methods/cnmfe.md
CELL_OF_GSIZ_1P = 9 / 13
#: Told how many cells there are, as few noises are asked of a candidate as still tell one from the noise: CaImAn asks
#: nothing at all there, and leaves it to ``evaluate_components``.
MIN_SNR_WITH_K = 2.5
#: Cells across the shorter side of an image below which a background cannot be told from cells that fill it.
CELLS_ACROSS = 5
STARTS = ("greedy_roi", "sparse_nmf", "graph_nmf", "compressed_nmf")
SOLVERS = {"lasso_lars": "lasso", "nnls_l0": "nnls_l0"}


@dataclass(frozen=True)
class Call:
    """What :func:`gpucells.extract_cells` is called with.

    Parameters
    ----------
    method : str
        ``cnmf`` or ``cnmfe``.
    run, settings : dict
        Of the run and of the method.
    seeds : list or None
        (row, column) to begin from.
    """

    method: str
    run: dict[str, Any]
    settings: dict[str, Any]
    seeds: Any = None


def translate(params: CNMFParams, shape: tuple[int, ...] = ()) -> Call:
    """Translate parameters.

    Parameters
    ----------
    params : CNMFParams
        Of the run.
    shape : tuple of int
        ``(height, width)`` of the movie.

    Raises
    ------
    SettingsError
        A ``method_init`` or ``method_ls`` that there is not.
    """
    start = params.init["method_init"]
    one_photon = start == "corr_pnr" or bool(params.init["center_psf"])
    run = _run(params, one_photon)
    settings = _traces(params) | _size_and_number(params, shape)
    if one_photon:
        settings |= _ring(params, run.get("cell_diameter_px"))
    else:
        if start not in STARTS:
            raise SettingsError(f"method_init = {start!r}", f"give one of {', '.join(STARTS)}, or corr_pnr")
        if start != "greedy_roi":
            settings |= {"init": start, "n_cells": int(params.init["K"] or 30)}
        few = min(shape, default=np.inf) < CELLS_ACROSS * run.get("cell_diameter_px", 0)
        if few and "n_cells" in settings and params.given("init", "nb") is None:
            settings["n_background"] = 0
    seeds = params.init["seed_method"]
    return Call("cnmfe" if one_photon else "cnmf", run, settings, None if isinstance(seeds, str) else seeds)


def _run(params: CNMFParams, one_photon: bool) -> dict[str, Any]:
    run: dict[str, Any] = {"preset": "one_photon" if one_photon else "two_photon"}
    if (rate := params.given("data", "fr")) is not None:
        run["frame_rate_hz"] = float(rate)
    if (size := params.given("data", "dxy")) is not None:
        run["pixel_size_um"] = float(np.mean(size))
    half, side = params.given("init", "gSig"), params.given("init", "gSiz")
    if half is not None and np.min(half) > 0:
        width = float(np.mean(half))
        run["cell_diameter_px"] = max(2.0, CELL_OF_GSIG_1P * width if one_photon else 2 * width + 1)
    elif side is not None:
        width = float(np.mean(side))
        run["cell_diameter_px"] = max(2.0, CELL_OF_GSIZ_1P * width if one_photon else width)
    return run


def _size_and_number(params: CNMFParams, shape: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    most = params.given("init", "K")
    if most is not None:
        found |= {"n_cells": int(most) * n_patches(params, shape), "min_snr": MIN_SNR_WITH_K}
    if params.init["nb"] > 1:
        tell_once("CaImAn's init/nb above 0 is not honoured: as many background components are taken as the movie has")
    if (frames := params.given("init", "tsub")) is not None:
        found["downsample_time_by"] = max(1, int(frames))
    if (correlation := params.given("merging", "merge_thr")) is not None:
        found["duplicate_correlation"] = float(min(1.0, correlation))
    if not params.merging["do_merge"]:
        found["duplicate_correlation"] = 1.0
    if (solver := params.given("spatial", "method_ls")) is not None:
        if str(solver).lower() not in SOLVERS:
            raise SettingsError(f"method_ls = {solver!r}", "give lasso_lars or nnls_L0")
        found["spatial_solver"] = SOLVERS[str(solver).lower()]
    return found


def n_patches(params: CNMFParams, shape: tuple[int, ...]) -> int:
    """Count the patches that CaImAn cuts an image into: ``K`` is the number of cells of each.

    Parameters
    ----------
    params : CNMFParams
        With ``rf``, half the width of a patch, and ``stride``, the overlap; 1 without ``rf``.
    shape : tuple of int
        ``(height, width)``.
    """
    half: Any
    overlap: Any
    half, overlap, count = params.patch["rf"], params.patch["stride"], 1
    for axis, length in enumerate(shape if half is not None else ()):
        side = int(half if not isinstance(half, Sequence) else half[axis])
        shared = (
            int(0.2 * side) if overlap is None else int(overlap if not isinstance(overlap, Sequence) else overlap[axis])
        )
        count *= len({*range(side, length - side, max(1, 2 * side - shared)), length - side})
    return count


def _traces(params: CNMFParams) -> dict[str, Any]:
    found: dict[str, Any] = {}
    order = params.given("temporal", "p")
    order = params.given("preprocess", "p") if order is None else order
    if order is not None:
        found["ar_order"] = int(order)
    for name, ours, kind in (
        ("s_min", "s_min", float), ("bas_nonneg", "baseline_nonnegative", bool), ("lags", "decay_lags", int),
        ("fudge_factor", "decay_fudge", float),
    ):  # fmt: skip
        if (value := params.given("temporal", name)) is not None:
            found[ours] = kind(value)
    if (events := params.given("temporal", "optimize_g")) is not None and found.get("ar_order", 1) == 1:
        found["optimize_g"] = int(events)
    return found


def _ring(params: CNMFParams, diameter_px: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (passes := params.given("init", "init_iter")) is not None:
        found["searches"] = int(np.clip(passes, 1, 10))
    factor = params.init["ring_size_factor"]
    if factor is None:
        found["ring"] = False
    elif params.given("init", "ring_size_factor") is not None and diameter_px is not None:
        radius_px = ring_radius_px(params)
        found["ring_radius"] = float(np.clip(radius_px / (diameter_px / 2), 1.5, 20.0))
    return found


def ring_radius_px(params: CNMFParams) -> float:
    """Return the radius of CaImAn's ring (px): the factor times gSiz."""
    return float(params.init["ring_size_factor"] or 0) * float(params.init["gSiz"][0])
