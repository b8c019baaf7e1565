"""Where cells are looked for: seeds in the correlation and peak-to-noise images of what the model leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.corr_pnr import (
    CorrPnr,
    filter_to_cells,
    find_seeds,
    find_thresholds,
    measure_images,
    update_images,
)
from gpucells.candidates.find import boxes_around, fit_in_batches
from gpucells.candidates.seed_thresholds import Thresholds
from gpucells.factorisation.search import ReadAgain, Stage, search_residual
from gpucells.factorisation.state import State
from gpucells.methods.cnmfe.settings import CnmfeSettings


def find(state: State, number: int, report: Stage, read_again: ReadAgain) -> sparse.csr_array:
    """Find candidates in what cells and background leave of the movie.

    Parameters
    ----------
    state : State
        Its movie is used up where it can be read again.
    number : int
        Of the search. The first one looks for seeds in the correlation and peak-to-noise images; those after it, which
        have the brightest cells behind them, for spots brighter than what noise alone reaches.
    report : callable
        Told stage, done, total and unit.
    read_again : callable, optional
        As :func:`gpucells.factorisation.rounds.solve` takes it.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_new, n_pixels)`` with maximum 1.
    """
    return search_residual(state, report, read_again, None if number else partial(_by_seeds, state))


def seed_images(
    residual: Any, state: State, min_corr: float | None, min_pnr: float | None
) -> tuple[Any, NDArray[np.bool_], CorrPnr, Thresholds]:
    """Measure where seeds are, and choose what they have to reach.

    Parameters
    ----------
    residual : array
        ``(n_pixels, n_frames)`` what the state leaves of its movie; filtered in place.
    state : State
        Whose it is.
    min_corr, min_pnr : float, optional
        Thresholds; from the movie where not given.

    Returns
    -------
    movie : array
        ``(height, width, n_frames)`` the filtered movie in units of its noise.
    live : numpy.ndarray
        ``(height, width)`` bool, pixels that vary.
    images : CorrPnr
        Local correlation and peak over noise.
    thresholds : Thresholds
        Of both.
    """
    noise, live = filter_to_cells(residual, state.units.noise, state.units.inside, state.radius_px)
    movie = residual.reshape(*state.image_shape, -1)
    images = measure_images(movie)
    return movie, live, images, find_thresholds(movie, noise, images, live, state.radius_px, min_corr, min_pnr)


def _by_seeds(state: State, residual: Any, progress: Callable[[int], None]) -> sparse.csr_array:
    settings, radius_px = state.settings, state.radius_px
    assert isinstance(settings, CnmfeSettings)
    movie, live, images, thresholds = seed_images(residual, state, settings.min_corr, settings.min_pnr)
    free = live.copy()

    def changed(seeds: NDArray[np.int64], half: int) -> None:
        free[tuple(seeds.T)] = False  # what is left of a seed is no other cell
        update_images(movie, images, boxes_around(seeds, half))

    return fit_in_batches(
        movie, live, radius_px, 0.0, settings,
        lambda distance_px: find_seeds(images, thresholds, radius_px, distance_px, free), changed, progress,
    )  # fmt: skip
