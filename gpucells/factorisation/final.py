"""The last updates, over all cells of the image at the movie's own rate: traces, footprints, traces again.

Each pass reads the movie once, in blocks of frames as they come from the file, and keeps only products: of footprints
and background images with every frame, or of traces with every pixel of the supports. No tile, and no copy of the
movie, has a part in it, so a cell at the seam of two tiles is solved with all its neighbours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.footprints import Windows
from gpucells.device.arrays import namespace_of, to_host
from gpucells.factorisation.ring import Ring
from gpucells.factorisation.settings import FactorisationSettings, TraceSettings
from gpucells.factorisation.spatial import regressors, update_footprints
from gpucells.factorisation.temporal import LeastSquares, deconvolved, gram_of
from gpucells.model.components import Components, FinalCells
from gpucells.ops.frame_products import accumulate, project
from gpucells.ops.oasis import Deconvolved
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SWEEPS = 20  # of the traces; they begin where the tiles left them


class FinalUpdates:
    """Passes over the movie, frame block by frame block.

    Parameters
    ----------
    components : Components
        Of the whole image; traces and background at the movie's own rate.
    noise : numpy.ndarray
        ``(n_pixels,)`` of single frames, in the movie's units; infinite where a pixel does not count.
    image_shape : tuple of int
        ``(height, width)``.
    radius_px : float
        Cell radius (px).
    settings : TraceSettings
        Of the run.
    hold : bool
        Leave the footprints as they are: one pass, as for settings that say nothing of footprints.
    """

    def __init__(
        self, components: Components, noise: Float32, image_shape: tuple[int, int], radius_px: float,
        settings: TraceSettings, hold: bool,
    ) -> None:  # fmt: skip
        # Footprints are fitted once more where the settings say how.
        self._refit = None if hold or not isinstance(settings, FactorisationSettings) else settings
        self.n_passes = 1 if self._refit is None or components.footprints.shape[0] == 0 else 3
        self._settings, self._radius_px = settings, radius_px
        self._inside = np.isfinite(noise).reshape(image_shape)
        self._noise = np.where(np.isfinite(noise), noise, 1).astype(np.float32)
        self._weight = (np.isfinite(noise) / self._noise).astype(np.float32)  # 1 over the noise, 0 outside
        self._components = components
        assert components.background_images is not None
        assert components.background_traces is not None
        # The tiles' images are in units of the noise of averaged frames.
        self._images = (components.background_images * components.noise * self._weight).astype(np.float32)
        self._traces, self._field = components.traces, components.background_traces
        self._footprints = scaled(components.footprints, (self._weight > 0).astype(np.float32))
        self._n_frames = self._traces.shape[1]
        layout = settings.ring_shape
        self._ring = None if layout is None else Ring.of(self._inside, self._noise, radius_px, layout)
        self._blocks_seen = np.empty((0 if self._ring is None else len(self._ring.noise), self._n_frames), np.float32)
        self._light = np.zeros_like(self._blocks_seen)
        self._model: Deconvolved | None = None
        self._sums: tuple[Any, ...] = ()
        self._problem: LeastSquares | None = None  # what the last traces were solved from

    def begin(self, number: int) -> None:
        """Make room for what pass ``number`` collects."""
        self._spatial, self._first = number == 1, number == 0
        if self._spatial:
            self._begin_footprints()
            return
        self._rows = scaled(self._footprints, self._weight**2)  # the movie itself is not divided by its noise
        self._image_rows = (self._images * self._weight).astype(np.float32)
        self._products = np.empty((len(self._traces) + len(self._field), self._n_frames), np.float32)
        if self._first and self._ring is not None:
            self._rows = sparse.csr_array(sparse.vstack([self._rows, scaled(self._ring.means, self._weight)]))

    def see(self, some: slice, frames: Any) -> None:
        """Take frames ``some`` of the movie, ``(n, height, width)`` in its own type."""
        if not self._spatial:
            products, n_cells = project(frames, self._rows, self._image_rows), len(self._traces)
            n_blocks = self._rows.shape[0] - n_cells
            if n_blocks:
                self._blocks_seen[:, some] = products[n_cells : n_cells + n_blocks]
            self._products[:n_cells, some] = products[:n_cells]
            self._products[n_cells:, some] = products[n_cells + n_blocks :]
            return
        xp = namespace_of(frames)
        n_cells = len(self._traces)
        local, indptr, pixels = self._supports
        if not self._sums:
            sizes = (len(pixels), (len(self._both) - n_cells, len(self._noise)))
            self._sums = tuple(xp.zeros(size, np.float64) for size in (*sizes, *[len(self._noise)] * 2))
        out, row_out, total, energy = self._sums
        accumulate(
            frames, local[:, some], indptr, pixels, out,
            row_traces=self._both[n_cells:, some], row_out=row_out, total=total, energy=energy,
        )  # fmt: skip

    def end(self) -> None:
        """Solve what the pass was for."""
        if self._spatial:
            self._end_footprints()
        else:
            self._end_traces()

    def _begin_footprints(self) -> None:
        assert self._model is not None
        assert self._refit is not None
        self._both = regressors(self._model.denoised, self._field)
        self._windows = Windows.of(self._footprints, self._noise, self._inside, self._radius_px)
        self._entries = self._windows.start()
        self._supports = self._both[: len(self._traces)], self._entries.indptr, self._entries.indices
        self._sums = ()
        if self._ring is not None and self._refit.spatial_solver == "nnls_l0":
            # Its energy is that of the movie without the ring's light, which takes the products of the two.
            (traces, indptr, pixels), spread = self._supports, self._ring.spread
            self._centred_light = regressors(self._light, self._field[:0])
            self._supports = (
                np.concatenate([traces, self._centred_light]),
                np.concatenate([indptr, indptr[-1] + spread.indptr[1:]]),
                np.concatenate([pixels, spread.indices]),
            )

    def _end_traces(self) -> None:
        baseline, n_cells = self._components.baseline, len(self._traces)
        of_baseline = self._rows @ baseline
        self._products -= np.concatenate([of_baseline[:n_cells], self._image_rows @ baseline])[:, None]
        if self._first:
            self._blocks_seen -= of_baseline[n_cells:, None]
        whitened = scaled(self._footprints, self._weight)
        problem = LeastSquares(self._products, gram_of(whitened, self._images))
        if self._ring is not None:
            problem = self._without_ring(self._ring, problem, whitened)
        self._traces, self._field = problem.solve(self._traces, self._field, -np.inf, SWEEPS)
        self._problem = problem
        self._fit_model()

    def _behind(self, pixels: NDArray[np.integer[Any]]) -> tuple[sparse.csr_array, Float32]:
        """Return the whole background at some pixels, in units of their noise: images, and traces at every frame."""
        images, traces = sparse.csr_array(self._images), self._field
        if self._ring is not None:
            images = sparse.csr_array(sparse.vstack([images, self._ring.spread]))
            traces = np.concatenate([traces, self._light])
        return sparse.csr_array(images[:, pixels], dtype=np.float32), np.ascontiguousarray(traces, np.float32)

    def _fit_model(self) -> None:
        """Deconvolve the traces as they are now."""
        self._model = deconvolved(self._traces, self._settings, final=True)

    def _without_ring(self, ring: Ring, problem: LeastSquares, whitened: sparse.csr_array) -> LeastSquares:
        """Tell the ring's light from what cells and global background leave, and take it off the products."""
        traces, field = self._traces, self._field
        if len(field):  # else nothing but the ring takes the background off: the traces are those that knew it
            traces, field = problem.solve(traces, field, -np.inf, SWEEPS)
        self._light = ring.behind(self._blocks_seen, whitened, traces, self._images, field)
        self._traces, self._field = traces, field
        return LeastSquares(problem.products - ring.products(whitened, self._images, self._light), problem.gram)

    def _end_footprints(self) -> None:
        assert self._refit is not None
        products, image_products, total, energy = (to_host(sums) for sums in self._sums)
        products, with_light = np.split(products, [len(self._entries.data)])
        # Regressors have mean 0, so that a pixel's constant is nothing to them; what is left of the mean is rounding.
        weight = self._weight.astype(np.float64)
        mean = self._both.astype(np.float64).sum(axis=1) / self._n_frames
        n_cells = len(self._traces)
        pixels = self._entries.indices
        of_cell = np.repeat(np.arange(n_cells), np.diff(self._entries.indptr))
        products = (products - mean[of_cell] * total[pixels]) * weight[pixels]
        image_products = (image_products - mean[n_cells:, None] * total) * weight
        energy = (energy - total**2 / self._n_frames) * weight**2
        if self._ring is not None:
            energy += self._light_in_energy(self._ring, with_light, total)
            products -= self._ring.at(self._both[:n_cells], self._light, self._entries.indptr, pixels)
            image_products = image_products - (self._both[n_cells:] @ self._light.T) @ self._ring.spread
        footprints, scale, self._images = update_footprints(
            self._windows, products.astype(np.float32), image_products.astype(np.float32), energy, self._both,
            self._radius_px, self._refit,
        )  # fmt: skip
        gone = scale == 0  # the tile saw it: it stays as it was
        if gone.any():
            kept = sparse.diags_array((~gone).astype(np.float32)) @ footprints
            footprints = sparse.csr_array(kept + sparse.diags_array(gone.astype(np.float32)) @ self._footprints)
            footprints.eliminate_zeros()
            scale = np.where(gone, 1, scale)
        self._footprints = sparse.csr_array(footprints, dtype=np.float32)
        self._traces = (self._traces * scale[:, None]).astype(np.float32)

    def _light_in_energy(self, ring: Ring, with_light: Float64, total: Float64) -> Float64:
        """Return what each pixel's energy changes by without the ring's light, where its products were taken."""
        if len(with_light) == 0:
            return np.zeros(len(total))
        light, spread = self._centred_light, ring.spread
        mean = light.astype(np.float64).sum(axis=1) / self._n_frames
        of_block = np.repeat(np.arange(len(light)), np.diff(spread.indptr))
        products = (with_light - mean[of_block] * total[spread.indices]) * self._weight[spread.indices]
        shared = np.bincount(spread.indices, spread.data * products, minlength=len(total))
        return ring.energy(light) - 2 * shared

    def result(self) -> FinalCells:
        """Return cells, the model's traces and the background, all in the movie's units."""
        assert self._model is not None
        model, constant = self._model, np.ones((1, self._n_frames), np.float32)
        images = np.concatenate([self._components.baseline[None], self._images * self._noise])
        quality = {
            "deconvolution_baseline": model.baseline, "deconvolution_noise": model.noise,
            "deconvolution_penalty": model.penalty,
        } | {f"ar_{lag + 1}": column for lag, column in enumerate(model.coefficients.T)}  # fmt: skip
        held = self._refit is None  # also what a mask hides of them
        return FinalCells(
            self._components if held else replace(self._components, footprints=self._footprints),
            self._traces,
            np.asarray(model.denoised + model.baseline[:, None], np.float32),
            np.asarray(model.spikes, np.float32),
            images.astype(np.float32),
            np.concatenate([constant, self._field]),
            {name: column.astype(np.float32) for name, column in quality.items()},
        )  # fmt: skip


def order_cells(components: Components, settings: TraceSettings) -> Components:
    """Put the brightest cells first; reject the last ones where the settings say how many there may be.

    Parameters
    ----------
    components : Components
        Of the whole image.
    settings : TraceSettings
        Of the run.
    """
    whitened = scaled(components.footprints, np.float32(1) / components.noise)
    light = np.sqrt(np.asarray(whitened.multiply(whitened).sum(axis=1)).ravel())
    peak = components.traces.max(axis=1, initial=0) - np.median(components.traces, axis=1)
    order = np.argsort(-light * peak, kind="stable")
    ordered = components.selected(order)
    if settings.n_cells == "auto" or len(order) <= settings.n_cells:
        return ordered
    return ordered.refused(
        np.arange(len(order)) >= settings.n_cells, f"dimmer than n_cells = {settings.n_cells} others"
    )
