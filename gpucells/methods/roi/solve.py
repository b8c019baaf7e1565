"""ROI on one tile: traces and background of footprints that stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settle import hold_footprints
from gpucells.methods.roi.settings import RoiSettings
from gpucells.model.components import Components


def solve(
    movie: Any,
    inside: NDArray[np.bool_],
    radius_px: float,
    settings: RoiSettings,
    report: Stage,
    start: sparse.csr_array | None = None,
    hold: bool = True,
    read_again: ReadAgain = None,
) -> Components:
    """Solve traces and background of a tile; arguments as :func:`gpucells.factorisation.rounds.solve` takes them.

    Parameters
    ----------
    movie, inside, radius_px, settings, report, start, hold, read_again
        As there; footprints are always held, and the movie is read once.
    """
    return hold_footprints(movie, inside, radius_px, settings, report, start)
