r"""CELLMax-style EM on one tile: counts, EM, pruning; then traces and background by least squares.

The objective is the likelihood of counts :math:`n \sim \mathrm{Poisson}(C \Lambda)` of light above the background, in
units of the noise. Sources: Hofmann 1999 (probabilistic latent semantic analysis), Lee & Seung 2001 (multiplicative
updates for the Kullback-Leibler divergence); the options are those that CIAtah documents for CELLMax (Kitch 2015),
whose code was never released: this is an independent implementation. ``docs/methods/cellmax.md`` says what differs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.footprints import EDGE, Windows, window_side
from gpucells.factorisation.search import ReadAgain, Stage
from gpucells.factorisation.settle import FIRST, NEXT, conclude, fit_background, settle
from gpucells.factorisation.state import State
from gpucells.methods.cellmax.counts import count_photons, smooth_images, unit_of_counts
from gpucells.methods.cellmax.em import Mixture, fit
from gpucells.methods.cellmax.prune import prune
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.methods.cellmax.start import start_from
from gpucells.ops.patches import Patches, grow
from gpucells.ops.residual import subtract_components
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]

FAINTEST = 0.02  # of a start's maximum, that its support has everywhere: EM's factors leave 0 at 0


def find(state: State, report: Stage, read_again: ReadAgain, start: sparse.csr_array | None) -> sparse.csr_array:
    """Find the images of the cells of a tile.

    Parameters
    ----------
    state : State
        Without cells.
    report, read_again, start
        As :func:`gpucells.factorisation.settle.conclude` has them.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1, in the movie's own units.
    """
    settings = state.settings
    assert isinstance(settings, CellmaxSettings)
    start_from(state, settings, report, read_again, start)
    if state.footprints.shape[0] == 0:
        return state.footprints
    if start is not None or settings.init_method != "grid":  # a grid's traces would take the background's light
        fit_background(state, FIRST)
    windows = windows_about(state, settings)
    mixture = _fit_counts(state, windows, settings, report, read_again)
    footprints = _finished(mixture, windows, state, settings)
    state.begin_with(footprints)
    if footprints.shape[0]:
        fit_background(state, FIRST)
        settle(state, NEXT)
        prune(state, settings.movie_correlation)
    return state.footprints


def windows_about(state: State, settings: CellmaxSettings) -> Windows:
    """Return where each image may have light: its start, and a margin around."""
    reach = max(1, round(settings.support_growth * state.radius_px))
    side = window_side(state.radius_px) + 2 * reach
    patches = Patches.of(state.footprints, state.image_shape, side)
    support = patches.images > EDGE * patches.images.max(axis=(1, 2), initial=1e-12, keepdims=True)
    inside = patches.read(state.units.inside.ravel().astype(np.float32)) > 0
    masks = grow(support, reach) & inside
    return Windows(patches, masks, masks & ~grow(support, reach - 1), patches.read(state.units.noise))


def _fit_counts(
    state: State, windows: Windows, settings: CellmaxSettings, report: Stage, read_again: ReadAgain
) -> Mixture:
    """Fit images and traces to what the background leaves of the movie, which is counted in its place if it can be."""
    units, behind = state.units, state.behind()
    unit = unit_of_counts(units.noise, units.inside, settings) * units.inside.ravel()
    begin = windows.start()
    peak = begin.max(axis=1).toarray().ravel()
    begin.data = begin.data + FAINTEST * np.repeat(peak, np.diff(begin.indptr))
    smooth = smooth_images(units.inside, state.radius_px, unit, settings.background_spacing)
    out = None if read_again is None else units.movie
    counts = subtract_components(units.movie, sparse.csr_array(behind.images), behind.traces, out=out)
    count_photons(counts, unit.astype(np.float32), settings)
    mixture = Mixture.of(counts, scaled(begin, unit.astype(np.float32)), smooth)
    mixture = fit(counts, mixture, state.image_shape, state.radius_px, settings, report)
    if read_again is not None:
        state.read_again(read_again)
    back = np.divide(1, unit, out=np.zeros(len(unit), np.float32), where=unit > 0)
    cells = scaled(mixture.cells, back.astype(np.float32))
    return Mixture(cells, mixture.smooth, mixture.traces, mixture.likelihood)


def _finished(mixture: Mixture, windows: Windows, state: State, settings: CellmaxSettings) -> sparse.csr_array:
    """Turn images into footprints: as smooth as noise explains, and without what is not significant."""
    traces = mixture.cell_traces
    strength = np.linalg.norm(traces - traces.mean(axis=1, keepdims=True), axis=1).astype(np.float32)
    cells = mixture.cells
    if len(windows.patches.images) != cells.shape[0]:  # some were merged or are gone: their windows again
        patches = Patches.of(cells, state.image_shape, windows.patches.side)
        masks = patches.images > 0
        noise = patches.read(state.units.noise)
        windows = Windows(patches, masks, masks & ~_eroded(masks), noise)
        cells = patches.replaced(patches.images).to_sparse(masks)
    footprints, scale = windows.finish(cells, strength, state.radius_px, settings, True)
    return sparse.csr_array(footprints[np.flatnonzero(scale)])


def _eroded(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ~grow(~masks, 1)


solve = partial(conclude, find)
