"""Looking for cells in what a model leaves of its movie, which is used up and read once more where that can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scipy import sparse

from gpucells.candidates.find import find_in_residual
from gpucells.factorisation.state import State

Stage = Callable[[str, float, float, str], None]
ReadAgain = Callable[[Any], None] | None
Look = Callable[[Any, Callable[[int], None]], sparse.csr_array]


def search_residual(state: State, report: Stage, read_again: ReadAgain, look: Look | None = None) -> sparse.csr_array:
    """Look for cells in what cells and background leave of a movie.

    Parameters
    ----------
    state : State
        Its movie is used up where it can be read again.
    report : callable
        Told stage, done, total and unit.
    read_again : callable, optional
        As :func:`gpucells.factorisation.rounds.solve` takes it.
    look : callable, optional
        Takes the residual, ``(n_pixels, n_frames)`` in units of the noise, to be used up, and whom to tell the number
        of cells found. If not given, rank-one fits of spots that are far enough apart to be fitted at once, brightest
        first, until noise is left.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_new, n_pixels)`` with maximum 1.
    """
    units, known = state.units, state.footprints.shape[0]

    def progress(n: int) -> None:
        report("find cells", known + n, 0, "cells")

    residual = state.residual(out=None if read_again is None else units.movie)
    if look is not None:
        found = look(residual, progress)
    else:
        found = find_in_residual(residual, units.noise, units.inside, state.radius_px, state.settings, progress)
    if read_again is not None:
        state.read_again(read_again)
    return found
