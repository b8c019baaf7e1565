"""What a method gives for one tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Rejected:
    """Candidates that a method tried and dropped.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_rejected, n_pixels)`` of the tile, maximum 1.
    traces : numpy.ndarray
        ``(n_rejected, n_frames)`` at the rate of the solver.
    reasons : tuple of str
        Why each was dropped.
    quality : dict
        Name of a measure to ``(n_rejected,)``.
    """

    footprints: sparse.csr_array
    traces: Float32
    reasons: tuple[str, ...]
    quality: dict[str, Float32]

    @classmethod
    def joined(cls, parts: Sequence[Rejected]) -> Rejected:
        """Put several together, in their order; all have the same measures, and there is at least one."""
        return cls(
            sparse.csr_array(sparse.vstack([part.footprints for part in parts])),
            np.concatenate([part.traces for part in parts]),
            tuple(reason for part in parts for reason in part.reasons),
            {name: np.concatenate([part.quality[name] for part in parts]) for name in parts[0].quality},
        )

    @classmethod
    def nobody(cls, footprints: sparse.csr_array, traces: Float32, names: Iterable[str]) -> Rejected:
        """Return an empty one, for images and movies of the size of these arrays."""
        return cls(footprints[:0], traces[:0], (), {name: np.zeros(0, np.float32) for name in names})


@dataclass(frozen=True)
class Filters:
    """What a cell's trace is gathered with, where a method tells it: ``weights`` on ``squares`` of pixels.

    Parameters
    ----------
    weights : numpy.ndarray
        ``(n_cells, n)`` float32: those of cell ``k`` go with the squares from ``first[k]`` on; any 0 may be beyond the
        last square.
    first : numpy.ndarray
        ``(n_cells,)`` where the squares of a cell's tile begin.
    squares : scipy.sparse.csr_array
        ``(n_squares, n_pixels)`` float32 weights of pixels in the movie's units.
    """

    weights: Float32
    first: NDArray[np.int64]
    squares: sparse.csr_array

    def selected(self, which: NDArray[Any]) -> Filters:
        """Return those of some cells, by number or as bool."""
        return Filters(self.weights[which], self.first[which], self.squares)

    @classmethod
    def joined(cls, parts: Sequence[Filters]) -> Filters:
        """Put the filters of several tiles together, whose squares are on the pixels of the same image."""
        width = max(part.weights.shape[1] for part in parts)
        starts = np.cumsum([0, *(part.squares.shape[0] for part in parts)])
        return cls(
            np.concatenate([np.pad(p.weights, ((0, 0), (0, width - p.weights.shape[1]))) for p in parts]),
            np.concatenate([part.first + start for part, start in zip(parts, starts[:-1], strict=True)]),
            sparse.csr_array(sparse.vstack([part.squares for part in parts])),
        )

    def products(self, seen: Float32) -> Float32:
        """Multiply the weights with what squares have of frames, ``(n_squares, n_frames)``: ``(n_cells, n_frames)``."""
        result = np.zeros((len(self.weights), seen.shape[1]), np.float32)
        for first in np.unique(self.first):
            cells, some = self.first == first, seen[first : first + self.weights.shape[1]]
            result[cells] = self.weights[cells, : len(some)] @ some
        return result


@dataclass(frozen=True)
class Components:
    """Footprints, traces and background of one tile, at the rate of the solver.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32 of the tile, maximum 1.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32 in the movie's units.
    baseline, noise, gain : numpy.ndarray
        ``(n_pixels,)``: constant light, noise at the solver's rate, share of the background field that a pixel shows.
    field : numpy.ndarray
        ``(n_hats, n_frames)`` amplitudes of the background's nodes, over the whole image's grid.
    quality : dict
        Name of a measure to ``(n_cells,)``.
    rejected : Rejected
        Candidates that were dropped.
    warnings : tuple of str
        What the user should know.
    nodes : numpy.ndarray, optional
        Which of the grid's nodes the rows of ``field`` are; all of them where not given.
    background_images, background_traces : numpy.ndarray, optional
        ``(n_background, n_pixels)`` in units of the noise and ``(n_background, n_frames)``, where a method's background
        is of low rank instead of a field.
    filters : Filters, optional
        Of the cells, where the final traces are what those gather of the movie.
    """

    footprints: sparse.csr_array
    traces: Float32
    baseline: Float32
    noise: Float32
    gain: Float32
    field: Float32
    quality: dict[str, Float32]
    rejected: Rejected
    warnings: tuple[str, ...] = dataclasses.field(default=())
    nodes: NDArray[np.int64] | None = None
    background_images: Float32 | None = None
    background_traces: Float32 | None = None
    filters: Filters | None = None

    def selected(self, which: NDArray[Any]) -> Components:
        """Return the same with some of the cells, by number or as bool."""
        return dataclasses.replace(
            self,
            footprints=sparse.csr_array(self.footprints[which]),
            traces=self.traces[which],
            quality={name: column[which] for name, column in self.quality.items()},
            filters=None if self.filters is None else self.filters.selected(which),
        )

    def refused(self, which: NDArray[np.bool_], reason: str) -> Components:
        """Return the same with some of the cells among the rejected, for one reason."""
        gone, stay = np.flatnonzero(which), np.flatnonzero(~which)
        late = Rejected(
            sparse.csr_array(self.footprints[gone]), self.traces[gone], (reason,) * len(gone),
            {name: column[gone] for name, column in self.quality.items()},
        )  # fmt: skip
        return dataclasses.replace(self.selected(stay), rejected=Rejected.joined([self.rejected, late]))


@dataclass(frozen=True)
class FinalCells:
    """What the last passes over a movie give.

    Parameters
    ----------
    components : Components
        With the final footprints; its traces are those of the solver's rate.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` at the movie's rate, in its units.
    denoised, spikes : numpy.ndarray, optional
        ``(n_cells, n_frames)`` by the method's model, where it has one.
    background_images, background_traces : numpy.ndarray, optional
        ``(n_background, n_pixels)`` in the movie's units, the first the baseline; ``(n_background, n_frames)``.
    quality : dict
        Measures that only the final traces have: name to ``(n_cells,)``.
    """

    components: Components
    traces: Float32
    denoised: Float32 | None = None
    spikes: Float32 | None = None
    background_images: Float32 | None = None
    background_traces: Float32 | None = None
    quality: dict[str, Float32] = dataclasses.field(default_factory=dict)
