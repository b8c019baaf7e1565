r"""One tile: find, then refine traces, background and footprints in turn.

Movie :math:`Y` (pixels x frames, each pixel in units of its own noise, about its baseline), footprints :math:`A \ge 0`,
traces :math:`C`, a background of a few images and traces :math:`b^\top f`:

.. math:: Y = A^\top C + b^\top f + \text{noise}, \qquad c_t = \sum_j g_j c_{t-j} + s_t, \quad s_t \ge 0.

Papers: Pnevmatikakis et al. 2016, Neuron 89:285; Friedrich, Zhou & Paninski 2017, PLoS Comput Biol 13:e1005423.
``docs/methods/cnmf.md`` says where this differs and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from gpucells.candidates.footprints import Windows
from gpucells.candidates.judge import ORDINARY, VANISHED, Verdict, judge, merge_duplicates, strictness_of
from gpucells.candidates.quality import event_correlation, measure_neighbours, measure_traces
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settings import FactorisationSettings
from gpucells.factorisation.spatial import regressors, update_footprints
from gpucells.factorisation.state import State
from gpucells.factorisation.temporal import LeastSquares, deconvolved
from gpucells.model.components import Components, Rejected
from gpucells.ops.support_products import support_products
from gpucells.preprocess.noise_units import to_noise_units

Float32 = NDArray[np.float32]
Find = Callable[[State, int, Stage, ReadAgain], sparse.csr_array]

FIRST, NEXT = 30, 10  # sweeps of the traces: from nothing, and from where the round before left them
EARLY = 2  # searches before the first round; each later one follows a round
HELD_ROUNDS = 10  # of traces and background where footprints are held: 4 left one trace at r .92, 8 had it at .96
SAME_SHAPE = 0.9  # cosine of two footprints above which no frame tells them apart: of true neighbours .7 is much
COMPACT = 0.6  # circularity of an outline that is no longer than a cell's: an ellipse of 3 to 1, or a noisy disc
RAGGED = "weak transients for a ragged outline"
FEW = 10  # candidates: the medians of fewer say little
WIDE, DIM = 2.5, 0.5  # times the candidates' median area and snr: what is wider and dimmer than both is out of focus
OUT_OF_FOCUS = "out of focus"
CUT = "cut off: its brightest pixel is on the edge of the image"
NOT_SEEN = "not seen at its own events"


def solve(
    find: Find,
    movie: Any,
    inside: NDArray[np.bool_],
    radius_px: float,
    settings: FactorisationSettings,
    report: Stage,
    start: sparse.csr_array | None = None,
    hold: bool = False,
    read_again: ReadAgain = None,
) -> Components:
    """Find and refine the cells of one tile.

    Parameters
    ----------
    find : callable
        Candidates in what a state leaves of the movie, ``(n_cells, n_pixels)`` with maximum 1; takes the state, the
        number of the search from 0, ``report`` and ``read_again``.
    movie : array
        ``(height, width, n_frames)`` float32 in any unit, frames contiguous; overwritten. NumPy's or CuPy's.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that carry signal; those that are not finite in every frame do not count.
    radius_px : float
        Cell radius (px).
    settings : FactorisationSettings
        Of the run.
    report : callable
        Told stage, done, total and unit.
    start : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints to start from instead of finding.
    hold : bool
        Leave them as they are: solve traces and background only, and judge no one.
    read_again : callable, optional
        Writes the movie once more into an array of its shape: given that, cells are looked for in the movie's own
        memory instead of in a filtered copy.

    Returns
    -------
    Components
        Traces at least squares, without constraint.
    """
    state = State.of(to_noise_units(movie, inside, settings.baseline_quantile), radius_px, settings)
    if start is None:
        _find(state, find, report, read_again)
    else:
        state.begin_with(start)
    rounds = HELD_ROUNDS if hold else settings.max_iter
    for round_ in range(rounds):
        if state.footprints.shape[0] == 0:
            break
        _fit_background(state, FIRST if round_ == 0 else NEXT)
        if hold:
            continue
        _drop_and_merge(state, strictness_of(round_, rounds))
        _fit_footprints(state)
        if start is None and EARLY + round_ < settings.searches:
            state.append(find(state, EARLY + round_, report, read_again))
        report("refine", round_ + 1, rounds, "rounds")
    if state.footprints.shape[0] == 0:
        state.update_background()
    else:
        _fit_background(state, NEXT)
        if not hold:
            _merge(state, np.inf)  # the last footprints may have grown into each other
        _settle_all(state, 2 * NEXT)
        if not hold:
            _drop(state, _judge(state, 1.0, events=True))
            _settle_all(state, NEXT)
    return _components(state)


def _find(state: State, find: Find, report: Stage, read_again: ReadAgain) -> None:
    """Find cells, and find them again if the background turns out to be more than what was taken off before."""
    known = len(state.field)
    _search(state, find, report, read_again)
    if state.settings.n_background != "auto" or state.footprints.shape[0] == 0:
        return
    _fit_background(state, FIRST)
    if len(state.field) > known:
        _search(state, find, report, read_again)


def _search(state: State, find: Find, report: Stage, read_again: ReadAgain) -> None:
    """Find cells in the movie, and in what those leave of it.

    The background stays as it is meanwhile: found anew, it would take the light of cells that are not found yet.
    """
    state.begin_with(state.footprints[:0])
    for number in range(min(EARLY, state.settings.searches)):
        if number:
            state.traces, _ = LeastSquares.of_cells(state).solve(state.traces, state.field[:0], 0.0, FIRST)
        state.append(find(state, number, report, read_again))


def _fit_background(state: State, n_sweeps: int) -> None:
    """Solve cells above their baseline together with the background, and find the background again.

    The bound keeps a cell from following the background down: footprints that cover the image would share it out.
    """
    if len(state.field):
        state.light[:] = 0  # the ring has what the global part leaves, so that goes first
    begin = np.maximum(state.traces, 0)
    state.traces, state.field = LeastSquares.of(state).solve(begin, state.field, 0.0, n_sweeps)
    state.update_background()
    state.update_ring()


def _settle(state: State, n_sweeps: int) -> None:
    """Solve traces on top of the background, without a bound."""
    state.traces, _ = LeastSquares.of_cells(state).solve(state.traces, state.field[:0], -np.inf, n_sweeps)


def _settle_all(state: State, n_sweeps: int) -> None:
    """Solve traces and background together, without a bound."""
    state.traces, state.field = LeastSquares.of(state).solve(state.traces, state.field, -np.inf, n_sweeps)


def _drop_and_merge(state: State, strictness: float) -> None:
    """Judge candidates by traces without a bound, and solve those of the ones that are left."""
    _settle(state, NEXT)
    _drop(state, _judge(state, strictness))
    _merge(state, state.settings.duplicate_correlation)
    _settle(state, NEXT)


def _merge(state: State, correlation: float) -> None:
    """Make one cell of those whose transients correlate more than that, or whose footprints are the same."""
    footprints, traces, _ = merge_duplicates(
        state.footprints, state.traces, state.image_shape, state.radius_px, correlation, SAME_SHAPE
    )
    if len(traces) < len(state.traces):
        state.set_cells(footprints, traces)


def _fit_footprints(state: State) -> None:
    """Deconvolve, and solve footprints for what is left of the traces' noise."""
    if state.footprints.shape[0] == 0:
        return
    units, settings = state.units, state.settings
    both = regressors(deconvolved(state.traces, settings).denoised, state.field)
    n_cells = len(state.traces)
    windows = Windows.of(state.footprints, units.noise, units.inside, state.radius_px)
    entries = windows.start()
    products = support_products(units.movie, both[:n_cells], entries.indptr, entries.indices)
    image_products = state.field_products
    if state.ring is not None:
        products -= state.ring.at(both[:n_cells], state.light, entries.indptr, entries.indices)
        image_products = image_products - (both[n_cells:] @ state.light.T) @ state.ring.spread
    energy = state.energy() if settings.spatial_solver == "nnls_l0" else np.zeros(len(units.noise))
    footprints, scale, state.images = update_footprints(
        windows, products, image_products, energy, both, state.radius_px, settings
    )
    if not scale.all():
        gone = [VANISHED if size == 0 else "" for size in scale]
        state.dropped.append(_refused(state, gone, _judge(state, 0.0).quality))  # measured as they were before
    stay = np.flatnonzero(scale)
    state.set_cells(sparse.csr_array(footprints[stay]), state.traces[stay] * scale[stay, None])


def _out_of_focus(verdict: Verdict) -> list[str]:
    """Refuse what is both much wider and much dimmer than the other candidates: a cell above or below the focal plane.

    Light that is blurred over a larger area is dimmer at each pixel; a cell that is large in focus is not.
    """
    kept, quality = verdict.kept, verdict.quality
    if kept.sum() < FEW:
        return [""] * len(kept)
    size, snr = (float(np.median(quality[name][kept])) for name in ("size", "snr"))
    blurred = (quality["size"] > WIDE * size) & (quality["snr"] < DIM * snr)
    return [
        f"{OUT_OF_FOCUS}: {s / size:.1f} times the others' area, {b / snr:.2f} of their snr" if out else ""
        for s, b, out in zip(quality["size"], quality["snr"], blurred, strict=True)
    ]


def _cut(state: State) -> list[str]:
    """Refuse cells whose brightest pixel is on the edge of what is seen: most of them is not in the picture."""
    if state.settings.keep_cut_cells:
        return [""] * len(state.traces)
    # Dead pixels and lines are no edge.
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(state.units.inside, 2, mode="edge")))
    inner = ndimage.binary_erosion(solid[2:-2, 2:-2])
    at_edge = ~inner.ravel()[np.asarray(state.footprints.argmax(axis=1)).ravel()]
    return [CUT if edge else "" for edge in at_edge]


def _judge(state: State, strictness: float, events: bool = False) -> Verdict:
    verdict = judge(
        state.footprints,
        state.units.noise,
        state.traces,
        state.image_shape,
        state.radius_px,
        state.settings,
        strictness,
    )
    verdict = _also(verdict, _ragged(verdict, state.settings, strictness))
    if not events:
        return verdict
    verdict = _also(verdict, _cut(state))
    if not state.settings.keep_out_of_focus:
        verdict = _also(verdict, _out_of_focus(verdict))
    seen = _event_correlation(state, np.arange(len(state.traces)))
    least = state.settings.min_event_correlation
    return _also(verdict, [f"{NOT_SEEN}: correlation {r:.2f}, needs {least:.2f}" if r < least else "" for r in seen])


def _also(verdict: Verdict, reasons: list[str]) -> Verdict:
    both = ["; ".join(filter(None, pair)) for pair in zip(verdict.reasons, reasons, strict=True)]
    return Verdict(both, verdict.quality)


def _ragged(verdict: Verdict, settings: FactorisationSettings, strictness: float) -> list[str]:
    """Ask more of a candidate whose outline is long for its area: what a background leaves between cells.

    The judge asks of a wide candidate transients in proportion to its area; here the area is that of a compact cell
    with as long an outline.
    """
    if settings.dendrite_aware:
        return [""] * len(verdict.reasons)
    quality = verdict.quality
    size = quality["size"] * np.maximum(1, COMPACT / np.maximum(quality["circularity"], 1e-3))
    needed = settings.min_snr * size / ORDINARY
    late = (size > ORDINARY) & (quality["circularity"] < COMPACT) & (quality["snr"] < strictness * needed)
    return [
        f"{RAGGED}: snr {snr:.1f}, needs {bar:.1f}" if refused else ""
        for snr, bar, refused in zip(quality["snr"], needed, late, strict=True)
    ]


def _drop(state: State, verdict: Verdict) -> None:
    """Reject the candidates that have a reason; the others stay."""
    if not verdict.kept.all():
        state.dropped.append(_refused(state, verdict.reasons, verdict.quality))
        state.keep(verdict.kept)


def _refused(state: State, reasons: list[str], quality: dict[str, Float32]) -> Rejected:
    gone = np.flatnonzero([bool(reason) for reason in reasons])
    measured = _measure(state, quality, gone)
    why = tuple(reason for reason in reasons if reason)
    return Rejected(sparse.csr_array(state.footprints[gone]), state.traces[gone], why, measured)


def _measure(state: State, judged: dict[str, Float32], cells: NDArray[np.integer]) -> dict[str, Float32]:
    """Every column of the table, for some of the cells."""
    columns = judged | measure_traces(state.traces) | measure_neighbours(state.footprints, state.traces)
    return {name: column[cells] for name, column in columns.items()} | {
        "event_correlation": _event_correlation(state, cells)
    }


def _event_correlation(state: State, cells: NDArray[np.integer]) -> Float32:
    units, nothing = state.units, np.zeros(len(state.units.noise), np.float32)
    return event_correlation(
        units.movie, state.footprints, state.traces, units.noise, state.behind(), nothing, units.inside,
        state.radius_px, cells,
    )  # fmt: skip


def _components(state: State) -> Components:
    """Gather the result; the last judgement measures it."""
    units = state.units
    quality = _measure(state, _judge(state, 0.0).quality, np.arange(len(state.traces)))
    nobody = Rejected.nobody(state.footprints, state.traces, quality)
    n_frames = units.movie.shape[1]
    return Components(
        state.footprints, state.traces, units.baseline, units.noise, np.ones(len(units.noise), np.float32),
        np.zeros((0, n_frames), np.float32), quality, Rejected.joined([nobody, *state.dropped]),
        background_images=state.images, background_traces=state.field,
    )  # fmt: skip
