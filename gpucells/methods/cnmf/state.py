"""What the rounds of CNMF change on one tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.methods.cnmf.background import Blocks, principal_traces
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.model.components import Rejected
from gpucells.ops.footprint_products import footprint_products
from gpucells.ops.pixel_levels import whiten_pixels
from gpucells.ops.support_products import support_products
from gpucells.preprocess.noise_units import NoiseUnits, scaled

Float32 = NDArray[np.float32]


@dataclasses.dataclass
class State:
    """A tile's movie in units of the noise, and the model of it.

    Parameters
    ----------
    units : NoiseUnits
        The movie.
    radius_px : float
        Cell radius (px).
    settings : CnmfSettings
        Of the run.
    blocks : Blocks
        Where the background is looked for.
    means : numpy.ndarray
        ``(n_blocks, n_frames)`` the movie's block means.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1, in the movie's own units.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` in the movie's own units.
    images, field : numpy.ndarray
        Background, ``(n_background, n_pixels)`` in units of the noise and ``(n_background, n_frames)``.
    dropped : list of Rejected
        Candidates that are no cells.
    """

    units: NoiseUnits
    radius_px: float
    settings: CnmfSettings
    blocks: Blocks
    means: Float32
    footprints: sparse.csr_array
    traces: Float32
    images: Float32
    field: Float32
    dropped: list[Rejected] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, units: NoiseUnits, radius_px: float, settings: CnmfSettings) -> State:
        """Begin without cells, and with one background component."""
        n_pixels, n_frames = units.movie.shape
        blocks = Blocks.of(units.inside, radius_px)
        means = footprint_products(units.movie, blocks.means)
        state = cls(
            units, radius_px, settings, blocks, means,
            sparse.csr_array((0, n_pixels), dtype=np.float32), np.zeros((0, n_frames), np.float32),
            np.zeros((0, n_pixels), np.float32), np.zeros((0, n_frames), np.float32),
        )  # fmt: skip
        state.update_background(1 if settings.n_background == "auto" else settings.n_background)
        return state

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        height, width = self.units.inside.shape
        return height, width

    def whitened(self) -> sparse.csr_array:
        """Footprints in units of the noise."""
        return scaled(self.footprints, np.float32(1) / self.units.noise)

    def set_footprints(self, footprints: sparse.csr_array) -> None:
        """Begin with these footprints and empty traces."""
        self.footprints = scaled(footprints, self.units.inside.ravel().astype(np.float32))
        self.traces = np.zeros((footprints.shape[0], self.units.movie.shape[1]), np.float32)

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget the other cells."""
        self.footprints = sparse.csr_array(self.footprints[np.flatnonzero(which)])
        self.traces = self.traces[which]

    def read_again(self, read: Callable[[Any], None]) -> None:
        """Fill the movie, which was used up, from where it came from; ``read`` writes into ``(height, width, n)``."""
        units = self.units
        read(units.movie.reshape(*self.image_shape, -1))
        whiten_pixels(units.movie, units.baseline, units.noise, units.inside.ravel())

    def update_background(self, n: int | str | None = None) -> None:
        """Find the background again in what the cells leave: its traces in block means, its images by regression.

        Parameters
        ----------
        n : int or "auto", optional
            How many components; those of the settings where not given.
        """
        whitened = self.whitened()
        left = self.means - sparse.csr_array(self.blocks.means @ whitened.T) @ self.traces
        self.field = principal_traces(left, self.blocks.shape, self.settings.n_background if n is None else n)
        self.images = dense_products(self.units.movie, self.field) - (self.field @ self.traces.T) @ whitened


def dense_products(movie: Any, traces: Float32) -> Float32:
    """``(n_traces, n_pixels)`` products of a few traces with every pixel of ``(n_pixels, n_frames)``."""
    n_pixels, n_traces = len(movie), len(traces)
    if is_cupy_array(movie):
        return np.ascontiguousarray(to_host(movie @ namespace_of(movie).asarray(traces.T)).T, np.float32)
    # Not BLAS: a product this thin is bound by memory, and its threads wait for each other where the cores are busy.
    pixels = np.tile(np.arange(n_pixels), n_traces)
    return support_products(movie, traces, n_pixels * np.arange(n_traces + 1), pixels).reshape(n_traces, n_pixels)


def image_products(movie: Any, images: Float32) -> Float32:
    """``(n_images, n_frames)`` products of a few whole images with every frame of ``(n_pixels, n_frames)``."""
    if is_cupy_array(movie):
        return to_host(namespace_of(movie).asarray(images) @ movie)
    return footprint_products(movie, sparse.csr_array(images))
