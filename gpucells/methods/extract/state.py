"""What the rounds of EXTRACT change on one tile, and how a tile's movie comes to be in units of its noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.methods.extract.settings import ExtractSettings
from gpucells.model.components import Rejected
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.pixel_levels import whiten_pixels
from gpucells.preprocess.noise_units import scaled, to_noise_units

Float32 = NDArray[np.float32]


@dataclasses.dataclass
class State:
    """A tile's movie in units of the noise, and the model of it."""

    movie: Float32
    noise: Float32
    inside: NDArray[np.bool_]
    image_shape: tuple[int, int]
    radius_px: float
    settings: ExtractSettings
    nodes: Bilinear
    hats: sparse.csr_array
    footprints: sparse.csr_array
    traces: Float32
    field: Float32
    gain: Float32
    offset: Float32
    baseline: Float32
    dropped: list[Rejected] = dataclasses.field(default_factory=list)
    kept: tuple[sparse.csr_array, Bilinear, OverlapGraph] | None = None

    @property
    def kappa(self) -> Float32:
        """``(n_pixels,)`` in units of the noise."""
        return np.full(len(self.noise), self.settings.kappa_std_ratio, np.float32)

    def whitened(self) -> sparse.csr_array:
        """Footprints in units of the noise."""
        return scaled(self.footprints, np.float32(1) / self.noise)

    def background(self) -> sparse.csr_array:
        """Hats as each pixel shows them, in units of the noise."""
        return scaled(self.hats, self.gain / self.noise)

    def overlaps(self) -> OverlapGraph:
        """Footprints and field pixel by pixel; built anew only where footprints or nodes are others than last time."""
        gain = np.where(self.inside.ravel(), self.gain / self.noise, 0).astype(np.float32)
        graph = None
        if self.kept is not None and self.kept[0] is self.footprints and self.kept[1] is self.nodes:
            graph = self.kept[2].with_gain(gain)
        if graph is None:
            graph = OverlapGraph.of(self.whitened(), self.nodes, gain)
        self.kept = self.footprints, self.nodes, graph
        return graph

    def append(self, footprints: sparse.csr_array) -> None:
        """Take more footprints, with empty traces."""
        more = scaled(footprints, self.inside.ravel().astype(np.float32))
        empty = np.zeros((more.shape[0], self.movie.shape[1]), np.float32)
        self.footprints = sparse.csr_array(sparse.vstack([self.footprints, more]))
        self.traces = np.concatenate([self.traces, empty])

    def read_again(self, read: Callable[[Float32], None]) -> None:
        """Fill the movie, which was used up, from where it came from; ``read`` writes into ``(height, width, n)``."""
        read(self.movie.reshape(*self.image_shape, -1))
        whiten_pixels(self.movie, self.baseline, self.noise, self.inside.ravel())


def prepare(
    movie: Float32, inside: NDArray[np.bool_], nodes: Bilinear, radius_px: float, settings: ExtractSettings
) -> State:
    """Take the baseline off and divide by the noise, in place.

    Parameters
    ----------
    movie, inside, nodes, radius_px, settings
        As :func:`gpucells.methods.extract.solve.solve` takes them.
    """
    height, width, n_frames = movie.shape
    n_pixels = height * width
    units = to_noise_units(movie, inside, settings.baseline_quantile)
    if settings.background == "none":
        nodes = Bilinear.none(height, width)
    state = State(
        units.movie, units.noise, units.inside, (height, width), radius_px, settings,
        nodes, masked_hats(nodes, units.inside),
        sparse.csr_array((0, n_pixels), dtype=np.float32),
        np.zeros((0, n_frames), np.float32), np.zeros((0, n_frames), np.float32),
        np.ones(n_pixels, np.float32), np.zeros(n_pixels, np.float32), units.baseline,
    )  # fmt: skip
    state.field = np.zeros((state.hats.shape[0], n_frames), np.float32)
    return state


def masked_hats(nodes: Bilinear, live: NDArray[np.bool_]) -> sparse.csr_array:
    """``(n_nodes, n_pixels)`` images of the background's nodes, empty where no pixel counts."""
    hats = sparse.csr_array(nodes.images() @ sparse.diags_array(live.ravel().astype(np.float32)), dtype=np.float32)
    hats.eliminate_zeros()
    return hats
