"""Traces and background of footprints that are known, and the last word on which of them are cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.judge import strictness_of
from gpucells.factorisation.judgement import components_of, drop, judge_cells, merge
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settings import TraceSettings
from gpucells.factorisation.state import State
from gpucells.factorisation.temporal import LeastSquares
from gpucells.model.components import Components
from gpucells.preprocess.noise_units import to_noise_units

FindOnce = Callable[[State, Stage, ReadAgain, sparse.csr_array | None], sparse.csr_array]

FIRST, NEXT = 30, 10  # sweeps of the traces: from nothing, and from where the round before left them
HELD_ROUNDS = 10  # of traces and background where footprints are held: 4 left one trace at r .92, 8 had it at .96
JUDGED_ROUNDS = 4  # where they are judged meanwhile: as many as a factorisation's rounds


def conclude(
    find: FindOnce,
    movie: Any,
    inside: NDArray[np.bool_],
    radius_px: float,
    settings: TraceSettings,
    report: Stage,
    start: sparse.csr_array | None = None,
    hold: bool = False,
    read_again: ReadAgain = None,
) -> Components:
    """Find the cells of one tile once, and solve traces and background of those footprints, which stay as they are.

    Parameters
    ----------
    find : callable
        Footprints ``(n_cells, n_pixels)`` with maximum 1; takes the state, ``report``, ``read_again`` and ``start``.
        Not called where footprints are held.
    movie, inside, radius_px, settings, report, start, hold, read_again
        As :func:`gpucells.factorisation.rounds.solve` takes them.

    Returns
    -------
    Components
        Traces at least squares, without constraint.
    """
    if hold:
        return hold_footprints(movie, inside, radius_px, settings, report, start)
    state = State.of(to_noise_units(movie, inside, settings.baseline_quantile), radius_px, settings)
    state.begin_with(find(state, report, read_again, start))
    for round_ in range(JUDGED_ROUNDS):
        if state.footprints.shape[0] == 0:
            break
        fit_background(state, FIRST if round_ == 0 else NEXT, all_known=False)
        drop_and_merge(state, strictness_of(round_, JUDGED_ROUNDS))
        report("refine", round_ + 1, JUDGED_ROUNDS, "rounds")
    return last_word(state)


def hold_footprints(
    movie: Any,
    inside: NDArray[np.bool_],
    radius_px: float,
    settings: TraceSettings,
    report: Stage,
    start: sparse.csr_array | None,
) -> Components:
    """Solve traces and background of given footprints, of which none is dropped, merged or changed.

    Parameters
    ----------
    movie, inside, radius_px, settings, report, start
        As :func:`conclude` takes them.
    """
    state = State.of(to_noise_units(movie, inside, settings.baseline_quantile), radius_px, settings)
    if start is None or start.shape[0] == 0:
        state.update_background()
        return components_of(state)
    state.begin_with(start)
    for round_ in range(HELD_ROUNDS):
        fit_background(state, FIRST if round_ == 0 else NEXT)
        report("refine", round_ + 1, HELD_ROUNDS, "rounds")
    fit_background(state, NEXT)
    settle_all(state, 2 * NEXT)
    return components_of(state)


def last_word(state: State) -> Components:
    """Solve traces and background once more, judge the cells by them, and gather the result."""
    if state.footprints.shape[0] == 0:
        state.update_background()
        return components_of(state)
    fit_background(state, NEXT)
    merge(state, np.inf)  # the last footprints may have grown into each other
    settle_all(state, 2 * NEXT)
    drop(state, judge_cells(state, 1.0, events=True))
    settle_all(state, NEXT)
    return components_of(state)


def fit_background(state: State, n_sweeps: int, all_known: bool = True) -> None:
    """Solve cells above their baseline together with the background, and find the background again.

    The bound keeps a cell from following the background down: footprints that cover the image would share it out.

    Parameters
    ----------
    state : State
        Changed.
    n_sweeps : int
        Of the traces.
    all_known : bool
        As :meth:`State.update_background` takes it.
    """
    if len(state.field):
        state.light[:] = 0  # the ring has what the global part leaves, so that goes first
    begin = np.maximum(state.traces, 0)
    state.traces, state.field = LeastSquares.of(state).solve(begin, state.field, 0.0, n_sweeps)
    state.update_background(all_known)
    state.update_ring()


def search_twice(state: State, look: Callable[[int], sparse.csr_array], searches: int, all_known: bool = True) -> None:
    """Find cells, and find them again if the background turns out to be more than what was taken off before.

    Parameters
    ----------
    state : State
        Begins without cells, and gets those that are found.
    look : callable
        Candidates in what the state leaves of its movie, ``(n_cells, n_pixels)``; takes the number of the search.
    searches : int
        In the movie, and in what the cells before leave of it.
    all_known : bool
        As :meth:`State.update_background` takes it.
    """
    known = len(state.field)
    _search(state, look, searches)
    if state.settings.n_background != "auto" or state.footprints.shape[0] == 0:
        return
    fit_background(state, FIRST, all_known)
    if len(state.field) > known:
        _search(state, look, searches)


def _search(state: State, look: Callable[[int], sparse.csr_array], searches: int) -> None:
    """Find cells in the movie, and in what those leave of it.

    The background stays as it is meanwhile: found anew, it would take the light of cells that are not found yet.
    """
    state.begin_with(state.footprints[:0])
    for number in range(searches):
        if number:
            state.traces, _ = LeastSquares.of_cells(state).solve(state.traces, state.field[:0], 0.0, FIRST)
        state.append(look(number))


def settle(state: State, n_sweeps: int) -> None:
    """Solve traces on top of the background, without a bound."""
    state.traces, _ = LeastSquares.of_cells(state).solve(state.traces, state.field[:0], -np.inf, n_sweeps)


def settle_all(state: State, n_sweeps: int) -> None:
    """Solve traces and background together, without a bound."""
    state.traces, state.field = LeastSquares.of(state).solve(state.traces, state.field, -np.inf, n_sweeps)


def drop_and_merge(state: State, strictness: float) -> None:
    """Judge candidates by traces without a bound, and solve those of the ones that are left."""
    settle(state, NEXT)
    drop(state, judge_cells(state, strictness))
    merge(state, state.settings.duplicate_correlation)
    settle(state, NEXT)
