"""What the rounds of CNMF change on one tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.factorisation.background import Blocks, principal_traces
from gpucells.factorisation.ring import Ring
from gpucells.factorisation.settings import TraceSettings
from gpucells.model.components import Rejected
from gpucells.ops.dense_products import trace_products
from gpucells.ops.footprint_products import footprint_products
from gpucells.ops.pixel_levels import whiten_pixels
from gpucells.ops.residual import subtract_components
from gpucells.ops.robust_footprints import Known
from gpucells.preprocess.noise_units import NoiseUnits, scaled

Float32 = NDArray[np.float32]

ENERGY_BYTES = 2**24  # of the movie in double precision at once


@dataclasses.dataclass
class State:
    """A tile's movie in units of the noise, and the model of it.

    Parameters
    ----------
    units : NoiseUnits
        The movie.
    radius_px : float
        Cell radius (px).
    settings : TraceSettings
        Of the run.
    blocks : Blocks
        Where the background is looked for.
    means : numpy.ndarray
        ``(n_blocks, n_frames)`` the movie's block means.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1, in the movie's own units.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` in the movie's own units.
    products : numpy.ndarray
        ``(n_cells, n_frames)`` of the footprints with the movie, all in units of the noise.
    images, field : numpy.ndarray
        Background, ``(n_background, n_pixels)`` in units of the noise and ``(n_background, n_frames)``.
    field_products : numpy.ndarray
        ``(n_background, n_pixels)`` of the background's traces with the movie.
    ring : Ring, optional
        Of the background that the global components leave.
    blocks_seen, light : numpy.ndarray
        ``(n_blocks, n_frames)`` the movie in the ring's blocks, and the background that the ring tells there; none
        without a ring.
    dropped : list of Rejected
        Candidates that are no cells.
    """

    units: NoiseUnits
    radius_px: float
    settings: TraceSettings
    blocks: Blocks
    means: Float32
    footprints: sparse.csr_array
    traces: Float32
    products: Float32
    images: Float32
    field: Float32
    field_products: Float32
    ring: Ring | None
    blocks_seen: Float32
    light: Float32
    dropped: list[Rejected] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, units: NoiseUnits, radius_px: float, settings: TraceSettings) -> State:
        """Begin without cells, and with the background that shows already."""
        n_pixels, n_frames = units.movie.shape
        blocks = Blocks.of(units.inside, radius_px)
        means = footprint_products(units.movie, blocks.means)
        layout = settings.ring_shape
        ring = None if layout is None else Ring.of(units.inside, units.noise, radius_px, layout)
        seen = np.zeros((0, n_frames), np.float32) if ring is None else footprint_products(units.movie, ring.means)
        state = cls(
            units, radius_px, settings, blocks, means,
            sparse.csr_array((0, n_pixels), dtype=np.float32), np.zeros((0, n_frames), np.float32),
            np.zeros((0, n_frames), np.float32), np.zeros((0, n_pixels), np.float32),
            np.zeros((0, n_frames), np.float32), np.zeros((0, n_pixels), np.float32), ring, seen, np.zeros_like(seen),
        )  # fmt: skip
        state.update_background(all_known=False)
        if settings.n_background == "auto":
            state.images = state.blocks.smooth(state.images, units.inside)
        state.update_ring()
        return state

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        height, width = self.units.inside.shape
        return height, width

    def whitened(self) -> sparse.csr_array:
        """Footprints in units of the noise."""
        return scaled(self.footprints, np.float32(1) / self.units.noise)

    def begin_with(self, footprints: sparse.csr_array) -> None:
        """Take these footprints, and empty traces."""
        self.footprints, self.traces = self.footprints[:0], self.traces[:0]
        self.append(footprints)

    def append(self, footprints: sparse.csr_array) -> None:
        """Take more footprints, with empty traces."""
        more = scaled(footprints, self.units.inside.ravel().astype(np.float32))
        empty = np.zeros((more.shape[0], self.units.movie.shape[1]), np.float32)
        both = sparse.csr_array(sparse.vstack([self.footprints, more]))
        self.set_cells(both, np.concatenate([self.traces, empty]))

    def set_cells(self, footprints: sparse.csr_array, traces: Float32) -> None:
        """Take other footprints and traces."""
        self.footprints, self.traces = footprints, traces
        self.products = footprint_products(self.units.movie, self.whitened())

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget the other cells."""
        self.footprints = sparse.csr_array(self.footprints[np.flatnonzero(which)])
        self.traces, self.products = self.traces[which], self.products[which]

    def energy(self) -> NDArray[np.float64]:
        """``(n_pixels,)`` sums of squares of the movie, without the ring's light, about its mean."""
        movie = self.units.movie
        xp, result = namespace_of(movie), np.empty(len(movie))
        step = max(1, ENERGY_BYTES // max(1, 8 * movie.shape[1]))
        nodes = None if self.ring is None else self.ring.nodes
        for first in range(0, len(movie), step):
            some = movie[first : first + step].astype(xp.float64)
            if nodes is not None:
                some -= xp.asarray(nodes[first : first + step] @ self.light)
            result[first : first + step] = to_host(some.var(axis=1)) * movie.shape[1]
        return result

    def read_again(self, read: Callable[[Any], None]) -> None:
        """Fill the movie, which was used up, from where it came from; ``read`` writes into ``(height, width, n)``."""
        units = self.units
        read(units.movie.reshape(*self.image_shape, -1))
        whiten_pixels(units.movie, units.baseline, units.noise, units.inside.ravel())

    def update_background(self, all_known: bool = True) -> None:
        """Find the background again in what the cells leave: its traces in block means, its images by regression.

        Parameters
        ----------
        all_known : bool
            False while cells are looked for: transients that one block has alone are then some cell's. Only where a
            ring tells the background that is local; without one, the global components have to.
        """
        whitened = self.whitened()
        left = self.means - sparse.csr_array(self.blocks.means @ whitened.T) @ self.traces
        if self.ring is not None and not all_known:
            left = self.blocks.without_transients(left)
        self.field = principal_traces(left, self.blocks.shape, self.settings.n_background)
        self.field_products = trace_products(self.units.movie, self.field)
        self.images = np.asarray(self.field_products - (self.field @ self.traces.T) @ whitened, np.float32)

    def update_ring(self) -> None:
        """Fit the ring to what cells above their baseline and the global background leave of its blocks."""
        if self.ring is not None:
            self.light = self.ring.behind(self.blocks_seen, self.whitened(), self.traces, self.images, self.field)

    def behind(self) -> Known:
        """Return the whole background: global components and the ring's light."""
        images, traces = sparse.csr_array(self.images), self.field
        if self.ring is not None:
            images, traces = sparse.vstack([images, self.ring.spread]), np.concatenate([traces, self.light])
        return Known(sparse.csc_array(images), traces)

    def residual(self, out: Any = None) -> Any:
        """Return what cells and background leave of the movie, in units of the noise; ``out`` may be the movie."""
        behind = self.behind()
        images = sparse.csr_array(sparse.vstack([self.whitened(), behind.images]))
        return subtract_components(self.units.movie, images, np.concatenate([self.traces, behind.traces]), out=out)
