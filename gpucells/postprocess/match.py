"""Matching cells with cells, and scoring found cells against true ones.

One-to-one matching maximises the summed footprint cosine (Hungarian method). A pair counts where the cosine and the
trace correlation both reach 0.5. True cells that the border cuts, or whose SNR is below 5, are left out of the
matching: not finding them is no miss, and a found cell that lies on one (cosine >= 0.5) is not false. Their traces are
not asked for, since noise of that size hides any correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from gpucells.errors import InputError
from gpucells.model.cells import Cells
from gpucells.model.truth import Truth, largest_overlap
from gpucells.postprocess.pairing import (
    MIN_COSINE,
    MIN_TRACE_R,
    Float32,
    Float64,
    Indices,
    footprint_cosine,
    one_to_one,
    paired_r,
    row_maximum,
    zscored_both,
)
from gpucells.postprocess.scores import Scores

MIN_SNR = 5.0
AREA_LEVEL = 0.2  # of the maximum: where EXTRACT, too, draws the edge of a cell
SNR_BINS = {"5-10": (5.0, 10.0), "10-20": (10.0, 20.0), ">20": (20.0, np.inf)}
OVERLAP_BINS = {"<.3": (-np.inf, 0.3), ".3-.6": (0.3, 0.6), ">.6": (0.6, np.inf)}


@dataclass(frozen=True)
class CellMatch:
    """Cells of one result paired with cells of another.

    Parameters
    ----------
    pairs : numpy.ndarray
        ``(n_pairs, 2)`` indices of the cell of each side.
    cosine, trace_r : numpy.ndarray
        ``(n_pairs,)`` footprint cosine and trace correlation.
    only_first, only_second : numpy.ndarray
        Indices of cells without a partner.
    """

    pairs: Indices
    cosine: Float64
    trace_r: Float64
    only_first: Indices
    only_second: Indices


def match_cells(first: Any, second: Any) -> CellMatch:
    """Pair the cells of two results of the same movie.

    Parameters
    ----------
    first, second : Cells or Truth
        Anything with ``footprints`` ``(n_cells, n_pixels)`` and ``traces`` ``(n_cells, n_frames)``.

    Returns
    -------
    CellMatch
        Pairs that reach a footprint cosine and a trace correlation of 0.5.

    Raises
    ------
    InputError
        Pixels or frames of the two sides differ.
    """
    traces = zscored_both(first.traces, second.traces)
    _check_same_movie(first.footprints, second.footprints, *traces)
    cosine = footprint_cosine(first.footprints, second.footprints)
    pairs, pair_cosine, trace_r = one_to_one(cosine, *traces)
    alone = [np.setdiff1d(np.arange(cosine.shape[side]), pairs[:, side]) for side in (0, 1)]
    return CellMatch(pairs, pair_cosine, trace_r, alone[0], alone[1])


def score_cells(
    footprints: Any,
    traces: ArrayLike,
    truth_footprints: Any,
    truth_traces: ArrayLike,
    image_shape: tuple[int, int],
    *,
    at_border: ArrayLike | None = None,
    snr: ArrayLike | None = None,
    max_overlap: ArrayLike | None = None,
) -> Scores:
    """Score found cells against true ones.

    Parameters
    ----------
    footprints, truth_footprints : sparse or dense array
        ``(n_cells, n_pixels)``, pixels in C order of ``(height, width)``.
    traces, truth_traces : array_like
        ``(n_cells, n_frames)``; a trace that is constant or has no finite values correlates with nothing.
    image_shape : tuple of int
        ``(height, width)``.
    at_border : array_like, optional
        ``(n_true,)`` bool; none where not given.
    snr : array_like, optional
        ``(n_true,)``; all cells count, and there is no recall by SNR, where not given.
    max_overlap : array_like, optional
        ``(n_true,)`` largest footprint cosine with another true cell; computed where not given.

    Raises
    ------
    InputError
        Pixels or frames of the two sides differ.
    """
    estimated, true = zscored_both(traces, truth_traces)
    _check_same_movie(footprints, truth_footprints, estimated, true, image_shape)
    n_true = len(true)
    counts = ~_column(at_border, n_true, 0).astype(bool) & (_column(snr, n_true, np.inf) >= MIN_SNR)
    overlap = largest_overlap(truth_footprints) if max_overlap is None else _column(max_overlap, n_true, 0)

    cosine = footprint_cosine(footprints, truth_footprints)
    counted = np.flatnonzero(counts)
    pairs, pair_cosine, trace_r = one_to_one(sparse.csr_array(cosine[:, counted]), estimated, true[counted])
    pairs[:, 1] = counted[pairs[:, 1]]
    spare = np.setdiff1d(np.arange(len(estimated)), pairs[:, 0])
    on_ignored = row_maximum(cosine[:, np.flatnonzero(~counts)])[spare] >= MIN_COSINE
    matched = np.isin(np.arange(n_true), pairs[:, 1])
    crosstalk = _crosstalk(estimated, true, pairs, truth_footprints)
    areas = _area(footprints)[pairs[:, 0]] / np.maximum(_area(truth_footprints)[pairs[:, 1]], 1)
    return Scores(
        found=len(estimated),
        truth=len(counted),
        recall_by_snr=_recall_by(SNR_BINS, _column(snr, n_true, np.nan), matched, counts),
        recall_by_overlap=_recall_by(OVERLAP_BINS, overlap, matched, counts),
        trace_r_all=float(trace_r.sum() / len(counted)) if len(counted) else np.nan,
        area_ratio=_quantile(areas, 0.5),
        crosstalk=float(crosstalk.mean()) if len(crosstalk) else np.nan,
        crosstalk_median=_quantile(crosstalk, 0.5),
        pairs=pairs,
        pair_cosine=pair_cosine,
        pair_trace_r=trace_r,
        missed=np.flatnonzero(counts & ~matched),
        false=spare[~on_ignored],
        duplicate=_duplicates(cosine, estimated, true, spare[~on_ignored], pairs[:, 1]),
        excused=spare[on_ignored],
    )


def compare(
    result: Cells | str | Path,
    reference: Truth | Cells | str | Path,
    which: Literal["accepted", "all"] = "accepted",
) -> Scores:
    """Score a result against the truth of its movie, or against another result taken as true.

    Parameters
    ----------
    result : Cells, str or Path
        Cells, or a cells file.
    reference : Truth, Cells, str or Path
        A simulated movie's truth or file (with ``/truth``), or cells or a cells file.
    which : {"accepted", "all"}
        Which cells of the result, and of a reference that is a result, are scored.

    Raises
    ------
    InputError
        The two are not of the same movie.
    """
    cells = _chosen(_loaded(result), which)
    true: Any = _loaded(reference)
    known = {}
    if isinstance(true, Truth):
        known = {name: getattr(true, name) for name in ("at_border", "snr", "max_overlap")}
    else:
        true = _chosen(true, which)
    if tuple(cells.image_shape) != tuple(true.image_shape):
        raise InputError(f"images of {cells.image_shape} and {true.image_shape} px", "compare results of one movie")
    return score_cells(cells.footprints, cells.traces, true.footprints, true.traces, cells.image_shape, **known)


def _loaded(source: Any) -> Any:
    if not isinstance(source, str | Path):
        return source
    from gpucells.io.results import load_cells
    from gpucells.io.truth_file import has_truth, load_truth

    return load_truth(source) if has_truth(source) else load_cells(source)


def _chosen(cells: Any, which: str) -> Cells:
    if not isinstance(cells, Cells):
        raise InputError(f"a {type(cells).__name__} is not a result", "give cells or a cells file")
    return cells.accepted_only() if which == "accepted" else cells


def _check_same_movie(
    footprints: Any, others: Any, traces: Float32, other_traces: Float32, image_shape: tuple[int, int] | None = None
) -> None:
    same = "compare results of one movie"
    pixels = footprints.shape[1]
    if others.shape[1] != pixels or (image_shape is not None and pixels != image_shape[0] * image_shape[1]):
        raise InputError(f"footprints have {pixels} and {others.shape[1]} pixels, the image is {image_shape}", same)
    if traces.shape[1] != other_traces.shape[1]:
        raise InputError(f"traces have {traces.shape[1]} and {other_traces.shape[1]} frames", same)
    for rows, cells in ((footprints, traces), (others, other_traces)):
        if rows.shape[0] != cells.shape[0]:
            raise InputError(f"{rows.shape[0]} footprints, but {cells.shape[0]} traces")


def _duplicates(cosine: sparse.csr_array, estimated: Float32, true: Float32, false: Indices, taken: Indices) -> Indices:
    """Return the false cells that fit, in footprint and trace, a true cell that is already taken."""
    candidates = sparse.coo_array(cosine[false][:, taken])
    near = candidates.data >= MIN_COSINE
    found, partner = false[candidates.row[near]], taken[candidates.col[near]]
    fits = paired_r(estimated, true, found, partner) >= MIN_TRACE_R
    return np.unique(found[fits]).astype(np.int64)


def _crosstalk(estimated: Float32, true: Float32, pairs: Indices, truth_footprints: Any) -> Float64:
    """Return the share of each matched trace's absolute regression weight that is on its true neighbours' traces."""
    overlap = footprint_cosine(truth_footprints, truth_footprints)
    shares = np.zeros(len(pairs))
    alive: NDArray[np.bool_] = np.abs(true).max(axis=1, initial=0) > 0
    for n, (cell, own) in enumerate(pairs):
        row = slice(overlap.indptr[own], overlap.indptr[own + 1])
        near = overlap.indices[row][overlap.data[row] > 0]
        near = near[(near != own) & alive[near]]
        if len(near):
            sources = true[np.concatenate([[own], near])]
            weight = np.abs(np.linalg.lstsq(sources @ sources.T, sources @ estimated[cell], rcond=1e-6)[0])
            shares[n] = weight[1:].sum() / weight.sum()
    return shares


def _recall_by(
    bins: dict[str, tuple[float, float]], value: NDArray[Any], matched: NDArray[np.bool_], counts: NDArray[np.bool_]
) -> dict[str, float]:
    recall = {}
    for name, (low, high) in bins.items():
        inside = counts & (value >= low) & (value < high)
        recall[name] = float(matched[inside].mean()) if inside.any() else np.nan
    return recall


def _column(values: ArrayLike | None, n: int, default: float) -> NDArray[Any]:
    column = np.full(n, default) if values is None else np.asarray(values)
    if column.shape != (n,):
        raise InputError(f"{n} true cells, but a column of shape {column.shape} about them")
    return column


def _area(footprints: Any) -> Float64:
    rows = sparse.csr_array(footprints)
    level = AREA_LEVEL * row_maximum(rows)
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    return np.bincount(owner[rows.data > level[owner]], minlength=rows.shape[0]).astype(np.float64)


def _quantile(values: Float64, q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else np.nan
