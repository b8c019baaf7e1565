"""The last passes: traces and background at the movie's own rate, told apart; robust traces on that background."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.factorisation.final import FinalUpdates
from gpucells.factorisation.shared_light import background_shares
from gpucells.methods.roi.settings import RoiSettings
from gpucells.model.components import Components, FinalCells
from gpucells.ops.fold_frames import whiten_frames
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.residual import subtract_components
from gpucells.ops.robust_traces import robust_traces
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]

TOLERANCE = 0.01  # of a robust trace, times the norm of its footprint, in noises
SAME = 0.9999  # cosine above which footprints are one: no frame tells them apart


class HeldTraces(FinalUpdates):
    """One pass for least squares; a second one for robust traces on the background that the first one found.

    Parameters
    ----------
    components, noise, image_shape, radius_px, settings, hold
        As :class:`gpucells.factorisation.final.FinalUpdates` takes them.
    """

    def __init__(
        self, components: Components, noise: Float32, image_shape: tuple[int, int], radius_px: float,
        settings: RoiSettings, hold: bool,
    ) -> None:  # fmt: skip
        super().__init__(components, noise, image_shape, radius_px, settings, True)
        self._footprints.eliminate_zeros()  # what the mask hides
        self._empty = np.diff(self._footprints.indptr) == 0
        robust = settings.traces == "robust" and not self._empty.all()
        self.n_passes = 2 if robust else 1
        self._kappa = settings.kappa
        self._solved: Float32 | None = None  # of the second pass

    def begin(self, number: int) -> None:
        """Make room for what pass ``number`` collects."""
        if number == 0:
            super().begin(0)
            return
        whitened = scaled(self._footprints, self._weight)
        self._covered = np.flatnonzero(np.diff(sparse.csc_array(whitened).indptr))
        self._cells = sparse.csr_array(whitened[:, self._covered])
        self._background = self._behind(self._covered)
        self._graph = OverlapGraph.of(self._cells)
        self._solved = np.empty_like(self._traces)

    def see(self, some: slice, frames: Any) -> None:
        """Take frames ``some`` of the movie, ``(n, height, width)`` in its own type."""
        if self._solved is None:
            super().see(some, frames)
            return
        movie = whiten_frames(frames, self._components.baseline, self._noise, self._covered)
        images, courses = self._background
        if images.shape[0]:
            subtract_components(movie, images, courses[:, some], out=movie)
        kappa = np.full(len(self._covered), self._kappa, np.float32)
        self._solved[:, some], _ = robust_traces(
            movie, self._cells, kappa, start=np.ascontiguousarray(self._traces[:, some]), lower=-np.inf,
            tolerance=TOLERANCE, graph=self._graph,
        )  # fmt: skip

    def end(self) -> None:
        """Solve what the pass was for."""
        if self._solved is None:
            super().end()
        else:
            self._traces = self._solved
            self._model_traces()

    def _fit_model(self) -> None:
        """Give cells and background what is theirs; deconvolve where this is the last pass."""
        settings = self._settings
        shares = background_shares(self._traces, self._field, settings.decay_lags, settings.decay_fudge).astype(
            np.float32
        )
        self._traces = np.asarray(self._traces - shares @ self._field, np.float32)
        whitened = scaled(self._footprints, self._weight)
        self._images = np.asarray(self._images + (whitened.T @ shares).T, np.float32)
        if self.n_passes == 1:
            self._model_traces()

    def _model_traces(self) -> None:
        self._traces = shared_evenly(self._footprints, self._traces)
        super()._fit_model()

    def result(self) -> FinalCells:
        """Return cells, the model's traces and the background, all in the movie's units; NaN where nothing is seen."""
        final = super().result()
        warnings = (*final.components.warnings, *warnings_of(self._footprints))
        for traces in (final.traces, final.denoised, final.spikes):
            if traces is not None:
                traces[self._empty] = np.nan
        return replace(final, components=replace(final.components, warnings=warnings))


def shared_evenly(footprints: sparse.csr_array, traces: Float32) -> Float32:
    """Give cells whose footprints are the same the mean of their traces; what they explain together stays as it is.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    """
    n_same, group = _same(footprints)
    if n_same == len(traces):
        return traces
    members = sparse.csr_array((np.ones(len(group), np.float32), (group, np.arange(len(group)))))
    means = (members @ traces) / np.bincount(group)[:, None]
    return np.asarray(means[group], np.float32)


def _same(footprints: sparse.csr_array) -> tuple[int, NDArray[np.int64]]:
    """How many footprints differ, and which of those each one is."""
    size = np.sqrt(np.asarray(footprints.multiply(footprints).sum(axis=1)).ravel())
    unit = sparse.csr_array(sparse.diags_array(1 / np.maximum(size, 1e-20)) @ footprints)
    cosine = sparse.csr_array(unit @ unit.T)
    cosine.data = (cosine.data > SAME).astype(np.float32)
    cosine.eliminate_zeros()
    n, group = sparse.csgraph.connected_components(cosine, directed=False)
    return int(n), group


def warnings_of(footprints: sparse.csr_array) -> tuple[str, ...]:
    """Say which footprints cannot be solved, or not apart.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``, of pixels that count.
    """
    found = []
    empty = np.flatnonzero(np.diff(footprints.indptr) == 0)
    if len(empty):
        found.append(
            f"{len(empty)} footprints have no pixel that varies inside the mask, the first is number {empty[0]}: "
            "their traces are NaN"
        )
    n, group = _same(footprints)
    if n < len(group):
        first = np.flatnonzero(np.bincount(group)[group] > 1)[0]
        twins = np.flatnonzero(group == group[first])
        found.append(
            f"{len(group) - n} footprints are the same as another's, such as numbers {twins[0]} and {twins[1]}: each "
            "has an even share of the light"
        )
    return tuple(found)
