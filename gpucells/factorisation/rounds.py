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
from scipy import sparse

from gpucells.candidates.footprints import Windows
from gpucells.candidates.judge import VANISHED, strictness_of
from gpucells.factorisation.judgement import judge_cells, refused
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settings import FactorisationSettings
from gpucells.factorisation.settle import (
    FIRST,
    NEXT,
    drop_and_merge,
    fit_background,
    hold_footprints,
    last_word,
    search_twice,
)
from gpucells.factorisation.spatial import regressors, update_footprints
from gpucells.factorisation.state import State
from gpucells.factorisation.temporal import deconvolved
from gpucells.model.components import Components
from gpucells.ops.support_products import support_products
from gpucells.preprocess.noise_units import to_noise_units

Float32 = NDArray[np.float32]
Find = Callable[[State, int, Stage, ReadAgain], sparse.csr_array]

EARLY = 2  # searches before the first round; each later one follows a round


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
    if hold:
        return hold_footprints(movie, inside, radius_px, settings, report, start)
    state = State.of(to_noise_units(movie, inside, settings.baseline_quantile), radius_px, settings)
    if start is None:
        searches = min(EARLY, settings.searches)
        search_twice(state, lambda number: find(state, number, report, read_again), searches, all_known=False)
    else:
        state.begin_with(start)
    rounds = settings.max_iter
    for round_ in range(rounds):
        if state.footprints.shape[0] == 0:
            break
        fit_background(state, FIRST if round_ == 0 else NEXT, all_known=False)
        drop_and_merge(state, strictness_of(round_, rounds))
        _fit_footprints(state, settings)
        again = EARLY + round_ < settings.searches if start is None else round_ == 0 and settings.search_after_init
        if again:
            state.append(find(state, EARLY + round_, report, read_again))
        report("refine", round_ + 1, rounds, "rounds")
    return last_word(state)


def _fit_footprints(state: State, settings: FactorisationSettings) -> None:
    """Deconvolve, and solve footprints for what is left of the traces' noise."""
    if state.footprints.shape[0] == 0:
        return
    units = state.units
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
        state.dropped.append(refused(state, gone, judge_cells(state, 0.0).quality))  # measured as they were before
    stay = np.flatnonzero(scale)
    state.set_cells(sparse.csr_array(footprints[stay]), state.traces[stay] * scale[stay, None])
