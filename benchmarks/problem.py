"""A movie of any size with known cells and background, made on the device where it is worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.methods.extract.background import HatGrid
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.residual import subtract_components

RADIUS_PX = 6.0
NODES_RADII = 4.0  # as the two-photon preset has them
ACTIVE = 0.1  # share of the frames in which a cell has light
KAPPA = 1.5


@dataclass(frozen=True)
class Problem:
    """Movie ``(n_pixels, n_frames)`` float32 in units of the noise, and what is in it (host arrays)."""

    movie: Any
    footprints: sparse.csr_array
    traces: np.ndarray
    nodes: Bilinear
    field: np.ndarray
    image_shape: tuple[int, int]

    @property
    def samples(self) -> int:
        """Pixels times frames."""
        return int(self.movie.size)

    @property
    def entries_a_pixel(self) -> float:
        """Cells that a pixel has, on average."""
        return self.footprints.nnz / self.footprints.shape[1]

    @property
    def hats(self) -> sparse.csr_array:
        """``(n_nodes, n_pixels)``."""
        return self.nodes.images()


def make_problem(xp: Any, height: int, width: int, n_frames: int, n_cells: int, seed: int = 0) -> Problem:
    """Make one: Gaussian blobs at random, traces that decay, a background that drifts, noise of 1."""
    rng = np.random.default_rng(seed)
    nodes = HatGrid.over((height, width), NODES_RADII * RADIUS_PX).on(slice(0, height), slice(0, width))
    footprints = _blobs(rng, height, width, n_cells)
    traces = _transients(rng, n_cells, n_frames)
    field = np.cumsum(rng.normal(0, 0.02, (nodes.n_nodes, n_frames)), axis=1).astype(np.float32)
    movie = xp.empty((height * width, n_frames), np.float32)
    noise = xp.random.default_rng(seed)
    for first in range(0, height * width, width):  # a row of the image at a time: no second movie in memory
        movie[first : first + width] = noise.standard_normal((width, n_frames), dtype=np.float32)
    for images, amplitudes in ((footprints, traces), (nodes.images(), field)):
        subtract_components(movie, images, -amplitudes, out=movie)
    return Problem(movie, footprints, traces, nodes, field, (height, width))


def _blobs(rng: np.random.Generator, height: int, width: int, n_cells: int) -> sparse.csr_array:
    y, x = np.mgrid[-12:13, -12:13]
    blob = np.exp(-(y**2 + x**2) / (2 * (RADIUS_PX / 2) ** 2))
    blob[blob < 0.05] = 0
    rows, columns, values = [], [], []
    for cell in range(n_cells):
        at_y, at_x = y + rng.integers(0, height), x + rng.integers(0, width)
        kept = (blob > 0) & (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
        columns.append((at_y * width + at_x)[kept])
        values.append(blob[kept])
        rows.append(np.full(kept.sum(), cell))
    where = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_array((np.concatenate(values), where), shape=(n_cells, height * width), dtype=np.float32)


def _transients(rng: np.random.Generator, n_cells: int, n_frames: int) -> np.ndarray:
    decay = np.exp(-np.arange(24) / 6).astype(np.float32)
    traces = np.zeros((n_cells, n_frames + len(decay)), np.float32)
    events = np.argwhere(rng.random((n_cells, n_frames)) < ACTIVE / len(decay))
    for cell, frame in events:
        traces[cell, frame : frame + len(decay)] += rng.uniform(5, 20) * decay
    return traces[:, :n_frames]
