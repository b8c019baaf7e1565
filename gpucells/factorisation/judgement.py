"""Who stays: the candidates of a state judged, measured, merged and refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from gpucells.candidates.judge import ORDINARY, Verdict, judge, merge_duplicates
from gpucells.candidates.quality import event_correlation, measure_neighbours, measure_traces
from gpucells.factorisation.settings import TraceSettings
from gpucells.factorisation.state import State
from gpucells.model.components import Components, Rejected

Float32 = NDArray[np.float32]

SAME_SHAPE = 0.9  # cosine of two footprints above which no frame tells them apart: of true neighbours .7 is much
COMPACT = 0.6  # circularity of an outline that is no longer than a cell's: an ellipse of 3 to 1, or a noisy disc
RAGGED = "weak transients for a ragged outline"
FEW = 10  # candidates: the medians of fewer say little
WIDE, DIM = 2.5, 0.5  # times the candidates' median area and snr: what is wider and dimmer than both is out of focus
OUT_OF_FOCUS = "out of focus"
CUT = "cut off: its brightest pixel is on the edge of the image"
NOT_SEEN = "not seen at its own events"


def judge_cells(state: State, strictness: float, events: bool = False) -> Verdict:
    """Judge every candidate by footprint and trace.

    Parameters
    ----------
    state : State
        Its traces without a bound.
    strictness : float
        0 to 1, how far through the rounds it is.
    events : bool
        Whether to judge, too, by what only final candidates show: the movie at their events, edges, focus.
    """
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


def _ragged(verdict: Verdict, settings: TraceSettings, strictness: float) -> list[str]:
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


def _cut(state: State) -> list[str]:
    """Refuse cells whose brightest pixel is on the edge of what is seen: most of them is not in the picture."""
    if state.settings.keep_cut_cells:
        return [""] * len(state.traces)
    # Dead pixels and lines are no edge.
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(state.units.inside, 2, mode="edge")))
    inner = ndimage.binary_erosion(solid[2:-2, 2:-2])
    at_edge = ~inner.ravel()[np.asarray(state.footprints.argmax(axis=1)).ravel()]
    return [CUT if edge else "" for edge in at_edge]


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


def merge(state: State, correlation: float) -> None:
    """Make one cell of those whose transients correlate more than that, or whose footprints are the same."""
    footprints, traces, _ = merge_duplicates(
        state.footprints, state.traces, state.image_shape, state.radius_px, correlation, SAME_SHAPE
    )
    if len(traces) < len(state.traces):
        state.set_cells(footprints, traces)


def drop(state: State, verdict: Verdict) -> None:
    """Reject the candidates that have a reason; the others stay."""
    if not verdict.kept.all():
        state.dropped.append(refused(state, verdict.reasons, verdict.quality))
        state.keep(verdict.kept)


def refused(state: State, reasons: list[str], quality: dict[str, Float32]) -> Rejected:
    """Gather the candidates that have a reason, as they are measured now.

    Parameters
    ----------
    state : State
        With all candidates.
    reasons : list of str
        One a candidate, empty for those that stay.
    quality : dict
        What a judgement measured of all candidates.
    """
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


def components_of(state: State) -> Components:
    """Gather the result; the last judgement measures it."""
    units = state.units
    quality = _measure(state, judge_cells(state, 0.0).quality, np.arange(len(state.traces)))
    nobody = Rejected.nobody(state.footprints, state.traces, quality)
    n_frames = units.movie.shape[1]
    return Components(
        state.footprints, state.traces, units.baseline, units.noise, np.ones(len(units.noise), np.float32),
        np.zeros((0, n_frames), np.float32), quality, Rejected.joined([nobody, *state.dropped]),
        background_images=state.images, background_traces=state.field,
    )  # fmt: skip
