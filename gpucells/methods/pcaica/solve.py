r"""PCA-ICA on one tile.

The movie in units of its noise, without the background that shows, is factorised twice: :math:`Y = U S V^T` (principal
components), and :math:`U S B^T \cdot B V^T` with the rotation :math:`B` that makes rows of
:math:`z = [(1 - \mu) U^T, \mu V^T]` most skewed (independent components). Cells are cut out of the images
:math:`B S U^T`; their traces are solved again, all together.

Paper: Mukamel, Nimmerjahn & Schnitzer 2009, Neuron 63:747. ``docs/methods/pcaica.md`` says where this differs and why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.independent import Independent, principal_components, separate
from gpucells.candidates.segment import segment
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settle import conclude
from gpucells.factorisation.state import State
from gpucells.methods.pcaica.filters import Sources
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.model.components import Components
from gpucells.preprocess.noise_units import scaled


def solve(
    movie: Any, inside: NDArray[np.bool_], radius_px: float, settings: PcaicaSettings, report: Stage,
    start: sparse.csr_array | None = None, hold: bool = False, read_again: ReadAgain = None,
) -> Components:  # fmt: skip
    """Find the cells of a tile.

    Parameters
    ----------
    movie, inside, radius_px, settings, report, start, hold, read_again
        As :func:`gpucells.factorisation.settle.conclude` takes them.

    Returns
    -------
    Components
        Traces at least squares; with filters where the settings want them, and footprints are not held.
    """
    sources: list[Sources] = []
    warnings: list[str] = []

    def find(
        state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None
    ) -> sparse.csr_array:  # fmt: skip
        units = state.units
        seen = None  # before the movie is used up
        if settings.traces == "filters":
            seen, _ = principal_components(units.movie, units.inside, radius_px, settings)
        parts = analyse(state, report, read_again, start)
        warnings.extend(_fewer_than_asked(parts, settings, units.movie.shape[1]))
        segments = segment(parts.images, units.inside, units.noise, radius_px, settings)
        if seen is not None:
            side = settings.side_of_squares(radius_px)
            sources.append(Sources.of(parts, segments, seen, units.inside, units.noise, radius_px, side))
        report("find cells", segments[0].shape[0], 0, "cells")
        return segments[0]

    found = conclude(find, movie, inside, radius_px, settings, report, start, hold, read_again)
    found = replace(found, warnings=(*found.warnings, *warnings))
    return replace(found, filters=sources[0].filters_of(found.footprints)) if sources else found


def _fewer_than_asked(parts: Independent, settings: PcaicaSettings, n_frames: int) -> list[str]:
    """Say where a movie has not as many components as were asked for."""
    n_pcs = len(parts.principal.singular_values)
    if settings.n_pcs == "auto" or n_pcs >= settings.n_pcs:
        return []
    return [
        (
            f"n_pcs = {settings.n_pcs}, but there are no more than {n_pcs} principal components of {n_frames} averaged "
            "frames: downsample_time_by makes more of them"
        )
    ]


def analyse(state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None) -> Independent:
    """Separate a tile's movie into independent components.

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
