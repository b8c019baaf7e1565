"""The last passes at full rate: non-negative traces, and the scaled probability of every cell.

The scaled probability is the light that the mixture gives a cell in a frame, its images fixed: rounds of EM, frame by
frame, on what the background leaves of the movie. As images have maximum 1 it is the fluorescence at the cell's
brightest pixel, like the trace; divided by that pixel's baseline it is dF/F.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.factorisation import final
from gpucells.methods.cellmax.counts import count_photons, smooth_images, unit_of_counts
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.model.components import Components, FinalCells
from gpucells.ops.fold_frames import whiten_frames
from gpucells.ops.photon_em import photon_traces
from gpucells.ops.residual import subtract_components
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]


class FinalUpdates(final.FinalUpdates):
    """One pass for the traces and one for the probabilities; parameters as those of its parent."""

    def __init__(
        self, components: Components, noise: Float32, image_shape: tuple[int, int], radius_px: float,
        settings: CellmaxSettings, hold: bool,
    ) -> None:  # fmt: skip
        super().__init__(components, noise, image_shape, radius_px, settings, hold)
        self._em, self._probability = settings, np.zeros((0, self._n_frames), np.float32)
        self._asked = settings.probability_iter > 0 and components.footprints.shape[0] > 0
        self.n_passes = 2 if self._asked else 1

    def begin(self, number: int) -> None:
        """Make room for what pass ``number`` collects."""
        self._counting = number == 1
        if self._counting:
            self._begin_probability()
        else:
            super().begin(number)

    def see(self, some: slice, frames: Any) -> None:
        """Take frames ``some`` of the movie, ``(n, height, width)`` in its own type."""
        if not self._counting:
            super().see(some, frames)
            return
        counts = whiten_frames(frames, self._components.baseline, self._noise, self._covered)
        images, courses = self._background
        subtract_components(counts, images, courses[:, some], out=counts)
        count_photons(counts, self._unit, self._em)
        start = np.ones((self._both.shape[0], counts.shape[1]), np.float32)
        solved = photon_traces(counts, self._both, start, self._em.probability_iter)
        self._probability[:, some] = solved[: len(self._probability)]

    def end(self) -> None:
        """Solve what the pass was for."""
        if self._counting:
            return
        super().end()
        if self._em.nonnegative_traces and len(self._traces):
            assert self._model is not None
            assert self._problem is not None
            least = np.asarray(self._model.baseline, np.float32)
            self._traces, self._field = self._problem.solve(self._traces, self._field, least, final.SWEEPS)

    def result(self) -> FinalCells:
        """Return the cells; their ``denoised`` is the scaled probability where it was asked for."""
        cells = super().result()
        held = replace(cells, components=self._components)  # no pass has changed a footprint
        return replace(held, denoised=self._probability) if self._asked else held

    def _begin_probability(self) -> None:
        """Lay out the images at those pixels that cells cover: the others know of no cell."""
        whitened = scaled(self._footprints, self._weight)
        self._covered = np.unique(whitened.indices).astype(np.int64)
        unit = unit_of_counts(self._noise, self._inside, self._em) * (self._weight > 0)
        smooth = smooth_images(self._inside, self._radius_px, unit, self._em.background_spacing)
        self._background = self._behind(self._covered)
        both = sparse.csc_array(sparse.vstack([scaled(whitened, unit.astype(np.float32)), smooth]))
        self._both, self._unit = sparse.csr_array(both[:, self._covered]), unit[self._covered].astype(np.float32)
        self._probability = np.zeros((len(self._traces), self._n_frames), np.float32)
