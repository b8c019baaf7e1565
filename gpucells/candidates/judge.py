"""Which candidates are cells, and which are one cell twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, spatial

from gpucells.candidates.footprints import EDGE, neighbour_light, window_side
from gpucells.candidates.settings import CandidateSettings
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.footprint_shape import footprint_shape
from gpucells.ops.patches import Patches, grow, window_corners
from gpucells.ops.row_blocks import each_block
from gpucells.ops.trace_quality import median3

Float32 = NDArray[np.float32]

LOW_QUANTILE, LOW_NORMAL = 0.05, 1.645  # a normal trace's 5 % quantile is this many deviations below its median
CHANCE = 3.0  # deviations of the correlation that transients have by chance, where slow ones are few
ECHO = 0.5  # a copy is at most this bright, relative to its original
# A wide candidate gathers the misfit of the background over its area, which is coherent: above this size (pi radius^2)
# its transients must be stronger in proportion.
ORDINARY = 2.5
WEAK = "weak transients"
VANISHED = "vanished: no pixel of the footprint stands out of its own error"
STRICTNESS = (0.6, 0.8)  # of the first rounds' judgement, while footprints are rough; 1 afterwards and in the last
TRACES = 64  # that are measured at once, on each thread: medians of many traces are a large part of the host's work
PAIRS_BYTES = 2**19  # of traces whose correlation is taken at once: they stay in the cache
BROAD = 0.2  # share of the maximum above which a pixel counts for the area (the original's figure)


def effective_snr(
    footprints: sparse.csr_array, traces: Float32, neighbour_error: float, busy: Float32 | float = 0.0
) -> Float32:
    """Peak of each trace over all that could fake it.

    Noise here is the larger of the white noise and the downward swings (what a vessel or a background does both ways,
    a cell does only upwards), plus a share of the neighbours' light inside the footprint at that frame (fragments of a
    bright cell's misfit peak when it does).

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` in units of the noise.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``, without a lower bound.
    neighbour_error : float
        Relative error of a neighbour's light.
    busy : numpy.ndarray or float
        ``(n_cells,)`` share of the way from a trace's median down to its low quantile that its baseline may be, where
        more of it is above the median than below: a cell that is active most of the time.

    Returns
    -------
    numpy.ndarray
        ``(n_cells,)`` float32.
    """
    share = np.broadcast_to(np.float32(busy), len(traces))
    above, noise, snr = np.empty_like(traces), np.empty(len(traces), np.float32), np.empty(len(traces), np.float32)

    def measure(some: slice) -> None:
        above[some] = traces[some] - np.median(traces[some], axis=1, keepdims=True)
        low = -np.quantile(above[some], LOW_QUANTILE, axis=1)
        baseline = np.minimum(2 * np.maximum(above[some].mean(axis=1), 0), share[some] * low)
        swing = (low - baseline) / LOW_NORMAL
        noise[some] = np.maximum(np.maximum(difference_noise(above[some]), swing), 1e-9)

    each_block(traces, measure, TRACES)
    others = neighbour_light(footprints, above)

    def compare(some: slice) -> None:
        peaks = median3(above[some])
        peaks[:, [0, -1]] = above[some][:, [0, -1]]  # as if the ends were repeated
        ratio = peaks / np.sqrt(noise[some, None] ** 2 + (neighbour_error * others[some]) ** 2)
        snr[some] = ratio.max(axis=1)

    each_block(traces, compare, TRACES)
    return snr


@dataclass(frozen=True)
class Verdict:
    """Measures of every candidate, and why it is dropped (empty where it is kept)."""

    reasons: list[str]
    quality: dict[str, Float32]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """``(n_cells,)`` bool."""
        return np.array([not reason for reason in self.reasons], bool)


def judge(
    footprints: sparse.csr_array, noise: Float32, traces: Float32, image_shape: tuple[int, int], radius_px: float,
    settings: CandidateSettings, strictness: float = 1.0,
) -> Verdict:  # fmt: skip
    """Measure candidates and say which are no cells.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``, maximum 1.
    noise : numpy.ndarray
        ``(n_pixels,)`` in the movie's units.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` without constraint.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    settings : CandidateSettings
        The limits.
    strictness : float
        Below 1 lowers the bar, while estimates are rough.
    """
    whitened = sparse.csr_array(footprints.multiply(1 / noise[None])).astype(np.float32)
    shape = footprint_shape(footprints, image_shape, levels=(BROAD,))
    size = (shape.area_px[:, 0] / (np.pi * radius_px**2)).astype(np.float32)
    # What is wider than a cell is background, unless it is silent most of the time.
    busy = np.where(size > ORDINARY, 0, settings.busy_share).astype(np.float32)
    snr = effective_snr(whitened, traces, settings.neighbour_error, busy)
    eccentricity = shape.eccentricity
    echo = find_echoes(footprints, traces, image_shape, radius_px, settings)
    reasons = []
    for cell in range(len(snr)):
        why = []
        needed = settings.min_snr * max(1.0, size[cell] / ORDINARY)
        if snr[cell] < strictness * needed:
            why.append(f"{WEAK}: snr {snr[cell]:.1f}, needs {needed:.1f}")
        if echo[cell]:
            why.append("echo of a brighter neighbour")
        if size[cell] == 0 or (size[cell] < settings.min_size and not settings.dendrite_aware):
            why.append(f"too small: {size[cell]:.2f} of a cell's area")
        if not settings.dendrite_aware:
            if size[cell] > settings.max_size:
                why.append(f"too large: {size[cell]:.1f} times a cell's area")
            if settings.max_spatial_corruption and shape.corruption[cell] > settings.max_spatial_corruption:
                why.append(f"ragged: spatial corruption {shape.corruption[cell]:.1f}")
            if eccentricity[cell] > settings.max_eccentricity:
                why.append(f"elongated: axes {eccentricity[cell]:.1f} to 1")
        reasons.append("; ".join(why))
    quality = {
        "snr": snr,
        "size": size,
        "eccentricity": np.where(np.isfinite(eccentricity), eccentricity, np.nan).astype(np.float32),
        "circularity": shape.circularity,
        "spatial_corruption": shape.corruption,
    }
    return Verdict(reasons, quality)


@dataclass(frozen=True)
class Events:
    """The transients of every trace, for comparing cells by when they are active.

    Parameters
    ----------
    unit : numpy.ndarray
        ``(n_cells, n_frames)`` what is three noises above the baseline, centred, norm 1.
    peak : numpy.ndarray
        ``(n_cells,)`` height of the largest.
    """

    unit: Float32
    peak: Float32

    @classmethod
    def of(cls, traces: Float32) -> Events:
        """Take the transients out of unconstrained traces."""
        unit, peak = np.empty_like(traces), np.empty(len(traces), traces.dtype)

        def take(some: slice) -> None:
            above = traces[some] - np.median(traces[some], axis=1, keepdims=True)
            events = np.maximum(above - 3 * difference_noise(traces[some])[:, None], 0)
            peak[some] = events.max(axis=1, initial=0)
            events -= events.mean(axis=1, keepdims=True)
            unit[some] = events / np.maximum(np.linalg.norm(events, axis=1), 1e-9)[:, None]

        each_block(traces, take, TRACES)
        return cls(unit, peak)

    def correlation(self, first: NDArray[np.integer], second: NDArray[np.integer]) -> Float32:
        """Correlation of pairs of cells."""
        result = np.empty(len(first), np.float32)
        step = max(1, PAIRS_BYTES // max(1, 2 * self.unit[:1].nbytes))
        for begin in range(0, len(first), step):
            some = slice(begin, begin + step)
            np.einsum("it,it->i", self.unit[first[some]], self.unit[second[some]], out=result[some])
        return result

    def chance(self, first: NDArray[np.integer], second: NDArray[np.integer]) -> Float32:
        """Return how much pairs of cells that know nothing of each other correlate, as a standard deviation.

        That is the root of the sum over all lags of the products of their autocorrelations, over the number of frames
        (Bartlett 1946); taken as the geometric mean of both cells' own sums of squares.
        """
        n_frames = self.unit.shape[1]
        length = np.ones(len(self.unit), np.float32)
        for cell in np.unique(np.concatenate([first, second])):
            power = np.abs(np.fft.rfft(self.unit[cell], 2 * n_frames)) ** 2
            length[cell] = max(1.0, float((np.fft.irfft(power) ** 2).sum()))
        return np.asarray(np.sqrt(np.sqrt(length[first] * length[second]) / n_frames), np.float32)


def strictness_of(round_: int, n_rounds: int) -> float:
    """Share of the judge's bar that a round asks for; the last one asks for all of it, however few there are."""
    return STRICTNESS[round_] if round_ < min(len(STRICTNESS), n_rounds - 1) else 1.0


def find_echoes(
    footprints: sparse.csr_array, traces: Float32, image_shape: tuple[int, int], radius_px: float,
    settings: CandidateSettings,
) -> NDArray[np.bool_]:  # fmt: skip
    """Say which candidates are dim copies of bright neighbours: what their footprints leave of their halos.

    A copy is active when a neighbour is that is at least twice as bright and lies within the reach of its window, more
    often than by chance. It has no transients of its own: nothing rises above its noise once those of all such
    neighbours, and of all others that it follows at all, are taken off.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    settings : CandidateSettings
        Correlation of the transients above which a candidate may be a copy, and what its own have to reach.
    """
    n_cells = footprints.shape[0]
    echo = np.zeros(n_cells, bool)
    if n_cells < 2:
        return echo
    side = window_side(radius_px)
    tree = spatial.KDTree(window_corners(footprints, image_shape[1], side))
    pairs = tree.query_pairs(side, p=np.inf, output_type="ndarray")
    first, second = np.concatenate([pairs, pairs[:, ::-1]]).T
    events = Events.of(traces)
    dim = events.peak[first] < ECHO * events.peak[second]
    first, second = first[dim], second[dim]
    correlation = events.correlation(first, second)
    follows = np.isin(first, first[correlation > settings.echo_correlation])  # hardly any: the others need no more
    first, second, correlation = first[follows], second[follows], correlation[follows]
    partly = correlation > CHANCE * events.chance(first, second)  # it may be a copy of several
    alike = partly & (correlation > settings.echo_correlation)
    for cell in np.unique(first[alike]):
        brighter = second[partly & (first == cell)]
        echo[cell] = _own_snr(traces[cell], traces[brighter], settings.neighbour_error) < settings.min_snr
    return echo


def _own_snr(trace: Float32, brighter: Float32, neighbour_error: float) -> float:
    """Peak of what a trace has beyond a sum of others, over its noise and a share of what was taken off."""
    from scipy import optimize  # late: it takes 10 MB, and most runs find no echo

    above = trace - np.median(trace)
    others = np.maximum(brighter - np.median(brighter, axis=1, keepdims=True), 0).astype(np.float64)
    weights, _ = optimize.nnls(others @ others.T + 1e-9 * np.eye(len(others)) * (others**2).sum(), others @ above)
    shared = (weights @ others).astype(np.float32)
    own = above - shared
    swing = -float(np.quantile(own, LOW_QUANTILE)) / LOW_NORMAL
    noise = max(float(difference_noise(own[None])[0]), swing, 1e-9)
    return float((median3(own[None])[0] / np.sqrt(noise**2 + (neighbour_error * shared) ** 2)).max())


def merge_duplicates(
    footprints: sparse.csr_array, traces: Float32, image_shape: tuple[int, int], radius_px: float, limit: float,
    same_shape: float = np.inf,
) -> tuple[sparse.csr_array, Float32, NDArray[np.int64]]:  # fmt: skip
    """Merge touching candidates whose transients are one and the same.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_candidates, n_pixels)``.
    traces : numpy.ndarray
        ``(n_candidates, n_frames)``.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    limit : float
        Correlation of the transients above which two are one.
    same_shape : float
        Cosine of the footprints above which they are, too: least squares shares the light of one footprint out between
        two at will, so that their transients say nothing.

    Returns
    -------
    footprints, traces
        Of the merged cells: images summed with the norms of their traces, the trace of the strongest.
    label : numpy.ndarray
        ``(n_candidates,)`` the merged cell of each.
    """
    n_cells = footprints.shape[0]
    if n_cells < 2:
        return footprints, traces, np.arange(n_cells)
    patches = Patches.of(footprints, image_shape, window_side(radius_px))
    touching = patches.replaced(grow(patches.images > EDGE, 1).astype(np.float32)).to_sparse()
    first, second = sparse.coo_array(sparse.triu(touching @ touching.T, k=1)).coords
    same = Events.of(traces).correlation(first, second) > limit
    if np.isfinite(same_shape):
        norms = np.sqrt(np.asarray(footprints.multiply(footprints).sum(axis=1)).ravel())
        shared = np.asarray(footprints[first].multiply(footprints[second]).sum(axis=1)).ravel()
        same |= shared > same_shape * norms[first] * norms[second]
    links = sparse.coo_array((np.ones(same.sum()), (first[same], second[same])), shape=(n_cells, n_cells))
    n_merged, label = sparse.csgraph.connected_components(links, directed=False)
    if n_merged == n_cells:
        return footprints, traces, np.arange(n_cells)
    strength = np.linalg.norm(traces, axis=1)
    group = sparse.csr_array((strength, (label, np.arange(n_cells))), shape=(n_merged, n_cells))
    merged = sparse.csr_array(group @ footprints)
    merged = sparse.csr_array(sparse.diags_array(1 / np.maximum(merged.max(axis=1).toarray().ravel(), 1e-12)) @ merged)
    order = np.lexsort((-strength, label))
    strongest = order[np.searchsorted(label[order], np.arange(n_merged))]
    return merged.astype(np.float32), traces[strongest], label
