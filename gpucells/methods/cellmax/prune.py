"""Which candidates the movie shows: their images beside the movie at their brightest events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpucells.candidates.judge import LOW_NORMAL, LOW_QUANTILE
from gpucells.candidates.quality import weighted_correlation
from gpucells.factorisation.judgement import FEW, judge_cells, refused
from gpucells.factorisation.state import State
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.trace_quality import median3

Float32 = NDArray[np.float32]

EVENTS = 10  # frames that an image is compared with (Kitch's figure, by the table of CIAtah's options)
NORMAL = 1.4826  # standard deviation of normal numbers over their median absolute deviation
RARE = 3.0  # deviations of the dips' correlations above their median that count as chance
CLOSEST = 0.999  # to 1, of a correlation on Fisher's scale
QUIET = 1.5  # noises of the differences that a trace's downward swings may be, as deviations, and count as noise
UNSEEN = "the movie does not show it at its events"


def movie_correlation(state: State, sign: int) -> Float32:
    """Correlate images with the movie at the brightest events, or at the deepest dips, everything else taken off.

    Parameters
    ----------
    state : State
        Its traces without a bound.
    sign : int
        1 for events, -1 for dips.

    Returns
    -------
    numpy.ndarray
        ``(n_cells,)`` float32.
    """
    units, traces = state.units, state.traces
    above = median3(sign * (traces - np.median(traces, axis=1, keepdims=True)))
    n = min(EVENTS, above.shape[1])
    top = np.argpartition(-above, n - 1, axis=1)[:, :n]
    weights = np.zeros_like(above)
    np.put_along_axis(weights, top, np.maximum(np.take_along_axis(above, top, axis=1), 0), axis=1)
    weights *= sign / np.maximum((weights**2).sum(axis=1), 1e-20)[:, None]
    return weighted_correlation(
        units.movie, state.footprints, traces, units.noise, state.behind(), np.zeros(len(units.noise), np.float32),
        units.inside, state.radius_px, np.arange(len(traces)), weights.astype(np.float32),
    )  # fmt: skip


def least_correlation(dips: Float32, traces: Float32) -> float:
    """Return what chance reaches, by dips that are noise: those look the same upwards.

    A cell that is active most of the time dips, too, to its baseline, and shows its image there: traces that fall
    deeper than their noise say nothing. Where few are left, all that can be asked for is no negative correlation.

    Parameters
    ----------
    dips : numpy.ndarray
        ``(n_cells,)`` correlations at the deepest dips.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    """
    above = traces - np.median(traces, axis=1, keepdims=True)
    swing = -np.quantile(above, LOW_QUANTILE, axis=1) / LOW_NORMAL
    dips = dips[swing <= QUIET * difference_noise(above)]
    if len(dips) < FEW:
        return 0.0
    z = np.arctanh(np.clip(dips, -CLOSEST, CLOSEST))  # Fisher's scale, on which a correlation stays below 1
    middle = np.median(z)
    return float(np.tanh(middle + RARE * NORMAL * np.median(np.abs(z - middle))))


def prune(state: State, least: float | None) -> None:
    """Refuse the candidates that the movie does not show.

    Parameters
    ----------
    state : State
        Its traces without a bound.
    least : float, optional
        Correlation that is asked for; from the movie where not given.
    """
    if state.footprints.shape[0] == 0:
        return
    seen = movie_correlation(state, 1)
    if least is None:
        least = least_correlation(movie_correlation(state, -1), state.traces)
    reasons = [f"{UNSEEN}: correlation {r:.2f}, needs {least:.2f}" if r < least else "" for r in seen]
    if any(reasons):
        state.dropped.append(refused(state, reasons, judge_cells(state, 0.0).quality))
        state.keep(np.array([not reason for reason in reasons], bool))
