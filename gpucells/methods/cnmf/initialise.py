"""Where cells are looked for: bright spots one after another, or a factorisation of the whole tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.candidates.find import find_in_residual
from gpucells.errors import SettingsError
from gpucells.methods.cnmf.initialise_nmf import compressed_nmf, graph_nmf, sparse_nmf
from gpucells.methods.cnmf.state import State
from gpucells.ops.residual import subtract_components

FACTORISATIONS: dict[str, Callable[..., tuple[sparse.csr_array, Any]]] = {
    "sparse_nmf": sparse_nmf,
    "graph_nmf": graph_nmf,
    "compressed_nmf": compressed_nmf,
}


def find(
    state: State, report: Callable[[str, float, float, str], None], read_again: Callable[[Any], None] | None
) -> sparse.csr_array:
    """Find candidates as the settings say.

    Parameters
    ----------
    state : State
        Without cells; its movie is used up where it can be read again.
    report : callable
        Told stage, done, total and unit.
    read_again : callable, optional
        As :func:`gpucells.methods.cnmf.solve.solve` takes it.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1.

    Raises
    ------
    SettingsError
        A factorisation without a number of cells, which only greedy_roi finds by itself.
    """
    if state.settings.init == "greedy_roi":
        return _greedy(state, report, read_again)
    if state.settings.n_cells == "auto":
        raise SettingsError(
            f"init = {state.settings.init!r} with n_cells = 'auto'",
            "a factorisation is told how many components it has: set n_cells, or init='greedy_roi'",
        )
    report("find cells", 0, 0, "cells")
    factorise = FACTORISATIONS[state.settings.init]
    footprints, _ = factorise(state.units.movie, state.image_shape, state.settings.n_cells)
    return footprints


def _greedy(
    state: State, report: Callable[[str, float, float, str], None], read_again: Callable[[Any], None] | None
) -> sparse.csr_array:
    """Rank-one fits of spots that are far enough apart to be fitted at once, brightest first, until noise is left."""
    units = state.units
    residual = subtract_components(
        units.movie, sparse.csr_array(state.images), state.field, np.zeros(len(units.noise), np.float32),
        out=None if read_again is None else units.movie,
    )  # fmt: skip
    found = find_in_residual(
        residual, units.noise, units.inside, state.radius_px, state.settings,
        lambda found: report("find cells", found, 0, "cells"),
    )  # fmt: skip
    if read_again is not None:
        state.read_again(read_again)
    return found
