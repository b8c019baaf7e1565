"""Where cells are looked for: bright spots one after another, or a factorisation of the whole tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.factorisation.search import ReadAgain, Stage, search_residual
from gpucells.factorisation.state import State
from gpucells.methods.cnmf.initialise_nmf import compressed_nmf, graph_nmf, sparse_nmf
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.preprocess.noise_units import scaled

FACTORISATIONS: dict[str, Callable[..., tuple[sparse.csr_array, Any]]] = {
    "sparse_nmf": sparse_nmf,
    "graph_nmf": graph_nmf,
    "compressed_nmf": compressed_nmf,
}


def find(state: State, number: int, report: Stage, read_again: ReadAgain) -> sparse.csr_array:
    """Find candidates as the settings say.

    Parameters
    ----------
    state : State
        Its movie is used up where it can be read again.
    number : int
        Of the search; a factorisation searches once.
    report : callable
        Told stage, done, total and unit.
    read_again : callable, optional
        As :func:`gpucells.factorisation.rounds.solve` takes it.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1.

    """
    settings = state.settings
    assert isinstance(settings, CnmfSettings)
    if settings.init == "greedy_roi" or number:
        return search_residual(state, report, read_again)
    report("find cells", 0, 0, "cells")
    factorise = FACTORISATIONS[settings.init]
    footprints, _ = factorise(state.units.movie, state.image_shape, settings.n_cells)
    return with_maximum_1(scaled(footprints, state.units.noise))


def with_maximum_1(footprints: sparse.csr_array) -> sparse.csr_array:
    """Scale every footprint that has a pixel to maximum 1."""
    peak = np.maximum(footprints.max(axis=1).toarray().ravel(), 1e-30)
    return sparse.csr_array(sparse.diags_array(1 / peak) @ footprints, dtype=np.float32)
