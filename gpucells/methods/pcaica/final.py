"""The last pass over the movie: traces by regression or by filters, in the units that are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gpucells.factorisation import final
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.methods.registry import FinalUpdates
from gpucells.model.components import Components, FinalCells
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.frame_products import project

Float32 = NDArray[np.float32]

FALSE = 0.1  # events of a trace that its noise alone may have
APART = 2  # frames on either side that an event is the highest of


def final_updates(
    components: Components, noise: Float32, image_shape: tuple[int, int], radius_px: float, settings: PcaicaSettings,
    hold: bool,
) -> FinalUpdates:  # fmt: skip
    """Return the passes that the settings ask for; footprints that are held have no filters, and are solved.

    Parameters
    ----------
    components, noise, image_shape, radius_px, settings, hold
        As :class:`gpucells.factorisation.final.FinalUpdates` takes them.
    """
    if components.filters is not None:
        return FilterTraces(components, settings)
    return RegressionTraces(components, noise, image_shape, radius_px, settings, hold)


class RegressionTraces(final.FinalUpdates):
    """Least squares of all cells on their background, deconvolved."""

    def result(self) -> FinalCells:
        """Return the cells, in the units that are asked for."""
        assert isinstance(self._settings, PcaicaSettings)
        return in_units(super().result(), self._settings.output_units)


class FilterTraces:
    """What unmixing filters gather of the movie, less what they gather of its constant light.

    A filter sees no frame's mean: it is made of principal components, which have none.

    Parameters
    ----------
    components : Components
        Of the whole image, with filters.
    settings : PcaicaSettings
        Of the run.
    """

    n_passes = 1

    def __init__(self, components: Components, settings: PcaicaSettings) -> None:
        assert components.filters is not None
        self._components, self._settings, self._filters = components, settings, components.filters
        self._light = self._filters.squares @ components.baseline
        self._traces = np.empty((0, 0), np.float32)

    def begin(self, number: int) -> None:
        """Make room for the traces."""
        self._traces = np.empty(self._components.traces.shape, np.float32)

    def see(self, some: slice, frames: Any) -> None:
        """Take frames ``some`` of the movie, ``(n, height, width)`` in its own type."""
        seen = project(frames, self._filters.squares) - self._light[:, None]
        self._traces[:, some] = self._filters.products(seen.astype(np.float32))

    def end(self) -> None:
        """Have nothing left to solve."""

    def result(self) -> FinalCells:
        """Return cells, traces and events, in the units that are asked for."""
        traces, baseline = self._traces, self._components.baseline[None]
        events = find_events(traces)
        found = FinalCells(
            self._components, traces, None, events, baseline.astype(np.float32), np.ones((1, traces.shape[1]), "f4"),
            {"n_events": (events > 0).sum(axis=1).astype(np.float32)},
        )  # fmt: skip
        return in_units(found, self._settings.output_units)


def find_events(traces: Float32) -> Float32:
    """Find local maxima that noise does not reach.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32: at an event's frame its height above the trace's median, 0 elsewhere.
    """
    n_frames = traces.shape[1]
    if traces.size == 0:
        return np.zeros_like(traces)
    above = traces - np.median(traces, axis=1, keepdims=True)
    needed = difference_noise(above) * float(norm.isf(FALSE / n_frames))
    event = above > np.maximum(needed, 1e-12)[:, None]
    for apart in range(1, min(APART, n_frames - 1) + 1):
        event[:, apart:] &= above[:, apart:] > above[:, :-apart]
        event[:, :-apart] &= above[:, :-apart] >= above[:, apart:]
    return np.where(event, above, 0).astype(np.float32)


def in_units(cells: FinalCells, units: str) -> FinalCells:
    """Divide traces, and what the model says of them, by what the units ask for.

    Parameters
    ----------
    cells : FinalCells
        In the movie's units at the brightest pixel.
    units : str
        ``"fl"`` leaves them, ``"std"``, ``"2norm"``, ``"var"`` divide by a trace's deviation, norm, variance.
    """
    if units == "fl":
        return cells
    traces = cells.traces.astype(np.float64)
    size = {"std": traces.std(axis=1), "2norm": np.linalg.norm(traces, axis=1), "var": traces.var(axis=1)}[units]
    by = (1 / np.where(size > 0, size, 1))[:, None].astype(np.float32)
    scale = {"deconvolution_baseline", "deconvolution_noise", "deconvolution_penalty"}
    return replace(
        cells,
        traces=cells.traces * by,
        denoised=None if cells.denoised is None else cells.denoised * by,
        spikes=None if cells.spikes is None else cells.spikes * by,
        quality={
            name: (column * by[:, 0] if name in scale else column).astype(np.float32)
            for name, column in cells.quality.items()
        },
    )
