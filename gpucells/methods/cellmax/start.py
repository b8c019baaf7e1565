"""Where EM starts: spots brighter than noise, a grid, PCA-ICA's cells, or footprints that are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.candidates.independent import separate
from gpucells.candidates.independent_settings import IndependentSettings
from gpucells.candidates.segment import segment
from gpucells.candidates.settings import CandidateSettings
from gpucells.factorisation.search import ReadAgain, Stage, search_residual
from gpucells.factorisation.settle import FIRST, fit_background, search_twice
from gpucells.factorisation.state import State
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.preprocess.noise_units import scaled

# Of a given footprint's maximum. What is fainter lies over the neighbours, and EM may grow beyond what is left anyway:
# with it sim_2p_rings lost two cells more (r over all cells .896 for .927, .917 from spots).
SKIRT = 0.2


def start_from(
    state: State, settings: CellmaxSettings, report: Stage, read_again: ReadAgain, given: sparse.csr_array | None
) -> None:
    """Give a state the footprints that EM starts from.

    Parameters
    ----------
    state : State
        Without cells.
    settings : CellmaxSettings
        Of the run.
    report, read_again
        As :func:`gpucells.factorisation.settle.conclude` takes them.
    given : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints to start from, whatever the settings say.
    """
    if given is None and settings.init_method == "ica":
        given = search_residual(state, report, read_again, partial(_independent_cells, state))
    if given is not None:
        state.begin_with(_without_skirts(given))
        if settings.search_after_init:
            fit_background(state, FIRST)
            state.append(search_residual(state, report, read_again))
    elif settings.init_method == "grid":
        spacing, width = settings.grid_spacing * state.radius_px, settings.grid_width * state.radius_px
        state.begin_with(hexagonal_grid(state.image_shape, spacing, width))
    else:
        search_twice(state, lambda number: search_residual(state, report, read_again), settings.searches)
    inside = state.units.inside.ravel().astype(np.float32)
    seen = scaled(state.footprints, inside).max(axis=1).toarray().ravel() > 0 if state.footprints.shape[0] else []
    state.keep(np.asarray(seen, bool))


def _without_skirts(images: sparse.csr_array) -> sparse.csr_array:
    kept = sparse.csr_array(images, copy=True)
    peak = kept.max(axis=1).toarray().ravel() if kept.shape[0] else np.zeros(0, np.float32)
    kept.data[kept.data < SKIRT * np.repeat(peak, np.diff(kept.indptr))] = 0
    kept.eliminate_zeros()
    return kept


def _independent_cells(state: State, residual: Any, progress: Callable[[int], None]) -> sparse.csr_array:
    """Separate a residual into independent components, as PCA-ICA does, and cut the cells out of their images."""
    units, own = state.units, state.settings
    settings = IndependentSettings(**{name: getattr(own, name) for name in CandidateSettings.model_fields})
    parts = separate(residual, units.inside, state.radius_px, settings)
    footprints, _ = segment(parts.images, units.inside, units.noise, state.radius_px, settings)
    progress(footprints.shape[0])
    return footprints


def hexagonal_grid(image_shape: tuple[int, int], spacing_px: float, radius_px: float) -> sparse.csr_array:
    """Lay discs over an image, their centres on a hexagonal grid.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    spacing_px : float
        Distance of neighbouring centres.
    radius_px : float
        Of the discs.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_discs, n_pixels)`` float32, 1 inside.
    """
    height, width = image_shape
    step = spacing_px * np.sqrt(3) / 2
    centres = [
        (row, column)
        for i, row in enumerate(np.arange(step / 2, height + step / 2, step))
        for column in np.arange(spacing_px * (0.25 - 0.5 * (i % 2)), width + spacing_px / 2, spacing_px)
    ]
    y, x = np.divmod(np.arange(height * width), width)
    discs = [np.flatnonzero((y - row) ** 2 + (x - column) ** 2 <= radius_px**2) for row, column in centres]
    discs = [disc for disc in discs if len(disc)]
    start = np.concatenate([[0], np.cumsum([len(disc) for disc in discs])]).astype(np.int64)
    pixels = np.concatenate([np.zeros(0, np.int64), *discs])
    return sparse.csr_array((np.ones(len(pixels), np.float32), pixels, start), shape=(len(discs), height * width))
