r"""PCA-ICA on one tile.

The movie in units of its noise, without the background that shows, is factorised twice: :math:`Y = U S V^T` (principal
components), and :math:`U S B^T \cdot B V^T` with the rotation :math:`B` that makes rows of
:math:`z = [(1 - \mu) U^T, \mu V^T]` most skewed (independent components). Cells are cut out of the images
:math:`B S U^T`; their traces are solved again, all together.

Paper: Mukamel, Nimmerjahn & Schnitzer 2009, Neuron 63:747. ``docs/methods/pcaica.md`` says where this differs and why.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import sparse

from gpucells.candidates.independent import Independent, separate
from gpucells.candidates.segment import segment
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settle import conclude
from gpucells.factorisation.state import State
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.preprocess.noise_units import scaled


def find(state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None) -> sparse.csr_array:
    """Find the cells of a tile, as :func:`gpucells.factorisation.settle.conclude` asks.

    Parameters
    ----------
    state : State
        Its movie is used up where it can be read again.
    report : callable
        Told stage, done, total and unit.
    read_again : callable, optional
        Writes the movie once more.
    start : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints to start from.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1.
    """
    settings, units = state.settings, state.units
    assert isinstance(settings, PcaicaSettings)
    parts = analyse(state, report, read_again, start)
    footprints, _ = segment(parts.images, units.inside, units.noise, state.radius_px, settings)
    report("find cells", footprints.shape[0], 0, "cells")
    return footprints


def analyse(state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None) -> Independent:
    """Separate a tile's movie into independent components.

    Parameters
    ----------
    state, report, read_again, start
        As :func:`find` takes them.
    """
    settings, units = state.settings, state.units
    assert isinstance(settings, PcaicaSettings)
    report("principal components", 0, 1, "tiles")
    movie = state.residual(out=None if read_again is None else units.movie)
    images = None if start is None else scaled(start, np.float32(1) / units.noise)
    parts = separate(movie, units.inside, state.radius_px, settings, images)
    if read_again is not None:
        state.read_again(read_again)
    return parts


solve = partial(conclude, find)
