"""Where cells are looked for: seeds in the correlation and peak-to-noise images of what the model leaves."""

from __future__ import annotations

from collections.abc import Callable
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
from gpucells.candidates.find import GROW, WINDOW_RADII, find_in_residual, is_cell
from gpucells.candidates.seed_thresholds import Thresholds
from gpucells.factorisation.state import State
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.ops.patches import Patches
from gpucells.ops.seed_fits import fit_seeds, subtract_seeds


def find(
    state: State,
    number: int,
    report: Callable[[str, float, float, str], None],
    read_again: Callable[[Any], None] | None,
) -> sparse.csr_array:
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
    settings, units, known = state.settings, state.units, state.footprints.shape[0]
    assert isinstance(settings, CnmfeSettings)
    residual = state.residual(out=None if read_again is None else units.movie)

    def progress(n: int) -> None:
        report("find cells", known + n, 0, "cells")

    if number:
        found = find_in_residual(residual, units.noise, units.inside, state.radius_px, settings, progress)
    else:
        movie, live, images, thresholds = seed_images(residual, state, settings.min_corr, settings.min_pnr)
        found = _search(movie, live, images, thresholds, state.radius_px, settings, progress)
    if read_again is not None:
        state.read_again(read_again)
    return found


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


def _search(
    movie: Any, live: NDArray[np.bool_], images: CorrPnr, thresholds: Thresholds, radius_px: float,
    settings: CnmfeSettings, progress: Callable[[int], None],
) -> sparse.csr_array:  # fmt: skip
    """Fit and subtract seeds, all that are far enough apart at once, until none is above the thresholds."""
    height, width, _ = movie.shape
    half = int(np.ceil(WINDOW_RADII * radius_px))
    free, found = live.copy(), [Patches(np.zeros((0, 2), np.int64), np.zeros((0, 1, 1), np.float32), (height, width))]
    for _ in range(settings.cellfind_max_rounds):
        seeds = find_seeds(images, thresholds, radius_px, 2 * half + 1, free)
        if len(seeds) == 0:
            break
        fits = fit_seeds(movie, live, seeds, half, settings.cellfind_kappa_std_ratio)
        refused = ~is_cell(fits, radius_px, 0.0, settings)
        subtract_seeds(movie, live, fits, refused, GROW)
        free[tuple(seeds.T)] = False  # what is left of a seed is no other cell
        update_images(movie, images, seeds[:, [0, 0, 1, 1]] + np.array([-half, half + 1] * 2))
        found.append(Patches(fits.seeds[~refused] - half, fits.images[~refused], (height, width)))
        progress(sum(len(patches.images) for patches in found))
    return sparse.csr_array(sparse.vstack([patches.to_sparse() for patches in found]), dtype=np.float32)
