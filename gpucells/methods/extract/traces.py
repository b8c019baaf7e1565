"""Final traces at the movie's full rate, footprints and gain held fixed, any number of frames at a time.

The background is denoised in time, as far as its known error explains its fluctuations, and the cells are solved on top
of it, with the constraint that the trace option asks for. Where the background moves within an averaged frame, every
frame is solved for cells and background together first, without constraint.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of
from gpucells.methods.extract.adaptive_kappa import FIRST_K, REACH, ROUNDS, next_k
from gpucells.methods.extract.background import denoise_field
from gpucells.methods.extract.compatible import admm_traces
from gpucells.methods.extract.penalty import l1_weights
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.contamination import normal_distribution
from gpucells.ops.fold_frames import whiten_frames
from gpucells.ops.overlap_graph import OverlapGraph
from gpucells.ops.positive_share import positive_share
from gpucells.ops.residual import subtract_components
from gpucells.ops.robust_traces import robust_traces

Float32 = NDArray[np.float32]

SLOW = 0.2  # share of the fastest frequencies below which a background counts as slower than its frames
PLAIN = 100.0  # kappa of the least-squares options, in units of the noise (the original's figure)


class TraceSolver:
    """Everything about the cells that does not change from frame to frame.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` of the whole image, maximum 1.
    nodes : Bilinear
        Of the background field, over the whole image; none where there is no background.
    baseline, noise, gain : numpy.ndarray
        ``(n_pixels,)`` in the movie's units (gain: none).
    settings : ExtractSettings
        Of the run.
    averaged : numpy.ndarray, optional
        ``(n_cells, n)`` traces at any rate, which the L1 penalty is taken from; none without them.
    """

    def __init__(
        self, footprints: sparse.csr_array, nodes: Bilinear, baseline: Float32, noise: Float32, gain: Float32,
        settings: ExtractSettings, averaged: Float32 | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.noise, self.baseline = noise, baseline
        whiten = sparse.diags_array(1 / noise)
        self.cells = sparse.csr_array(footprints @ whiten).astype(np.float32)
        self.hats = sparse.csr_array(nodes.images() @ sparse.diags_array(gain / noise)).astype(np.float32)
        self.hats.eliminate_zeros()
        self.covered = np.flatnonzero(np.diff(sparse.csc_array(self.cells).indptr))
        self._joint_graph = OverlapGraph.of(self.cells, nodes, (gain / noise).astype(np.float32))
        self._alone = sparse.csr_array(self.cells[:, self.covered])
        self._behind = sparse.csr_array(self.hats[:, self.covered])
        self._graph = OverlapGraph.of(self._alone)
        self._room: Float32 | None = None
        self._penalty = np.zeros(footprints.shape[0], np.float32)
        if averaged is not None and self.kappa < PLAIN:
            self._penalty = l1_weights(self.cells, averaged, settings.l1_penalty_factor, self.kappa)

    @property
    def kappa(self) -> float:
        """Where the loss turns linear, in units of the noise."""
        plain = self.settings.trace_output_option in ("least_squares", "nonnegative_least_squares")
        return PLAIN if plain else self.settings.kappa_std_ratio

    @property
    def reach(self) -> int:
        """Frames on either side of a frame that its cells' traces depend on; 0 where every frame is on its own."""
        return REACH if self.settings.adaptive_kappa and self.kappa < PLAIN else 0

    def solve_together(self, frames: NDArray[Any], start: Float32 | None) -> tuple[Float32, Float32]:
        """Solve cells and background without constraint.

        Parameters
        ----------
        frames : numpy.ndarray
            ``(n, height, width)`` of any real type, in the movie's units; what is not finite counts as 0.
        start : numpy.ndarray or None
            ``(n_cells + n_hats, n)`` where to begin.

        Returns
        -------
        traces, field
            ``(n_cells, n)`` and ``(n_hats, n)``.
        """
        movie = whiten_frames(frames, self.baseline, self.noise, np.arange(len(self.noise)))
        if self.settings.solver == "admm":
            both = sparse.csr_array(sparse.vstack([self.cells, self.hats]))
            solved = admm_traces(movie, both, self.kappa, start=start, lower=-np.inf)
            return solved[: self.cells.shape[0]], solved[self.cells.shape[0] :]
        kappa = np.full(len(self.noise), self.kappa, np.float32)
        solved, _ = robust_traces(
            movie, self.cells, kappa, start=start, lower=-np.inf, tolerance=0.02, graph=self._joint_graph
        )
        return solved[: self.cells.shape[0]], solved[self.cells.shape[0] :]

    def denoise(self, field: Float32, averaged: int) -> tuple[Float32, bool]:
        """Denoise the background's amplitudes over all frames.

        Parameters
        ----------
        field : numpy.ndarray
            ``(n_hats, n)``, each the average of ``averaged`` frames.
        averaged : int
            1 at the full rate.

        Returns
        -------
        field : numpy.ndarray
            ``(n_hats, n)`` float32.
        slow : bool
            Whether the field has nothing left near its fastest frequencies, so that it may be interpolated.
        """
        if field.shape[0] == 0:
            return field, True
        below = float(normal_distribution(self.kappa))
        smooth, fast = denoise_field(field, self.cells, self.hats, below, averaged)
        return smooth, fast < SLOW

    def lower_bounds(self, traces: Float32) -> Float32:
        """``(n_cells,)`` bounds of the final traces, from the unconstrained ones."""
        option = self.settings.trace_output_option
        if option in ("nonneg", "nonnegative_least_squares"):
            return np.zeros(len(traces), np.float32)
        if option == "baseline_adjusted" and traces.shape[1]:
            quantile = np.quantile(traces, self.settings.trace_quantile, axis=1)
            return np.minimum(0, quantile).astype(np.float32)
        return np.full(len(traces), -np.inf, np.float32)

    def solve_cells(self, frames: NDArray[Any], field: Float32, lower: Float32, start: Float32) -> Float32:
        """Solve the cells alone, on top of a known background.

        Parameters
        ----------
        frames : numpy.ndarray
            ``(n, height, width)`` as in :meth:`solve_together`.
        field : numpy.ndarray
            ``(n_hats, n)``.
        lower : numpy.ndarray
            ``(n_cells,)``.
        start : numpy.ndarray
            ``(n_cells, n)`` where to begin.

        Returns
        -------
        numpy.ndarray
            ``(n_cells, n)`` float32.
        """
        if self._room is None or self._room.shape[1] != len(frames):  # fresh memory costs more than the work in it
            self._room = namespace_of(frames).empty((len(self.covered), len(frames)), np.float32)
        movie = whiten_frames(frames, self.baseline, self.noise, self.covered, self._room)
        if self._behind.shape[0]:
            subtract_components(movie, self._behind, field, out=movie)
        penalty = np.where(np.isfinite(lower), self._penalty, 0).astype(np.float32)
        if self.settings.solver == "admm":
            return admm_traces(
                movie, self._alone, self.kappa, start=start, lower=lower, penalty=penalty, adaptive=self.reach > 0
            )
        if self.reach:
            return self._solve_adaptive(movie, lower, start, penalty)
        kappa = np.full(len(movie), self.kappa, np.float32)
        solved, _ = robust_traces(
            movie, self._alone, kappa, start=start, lower=lower, penalty=penalty, tolerance=0.01, graph=self._graph
        )
        return solved

    def _solve_adaptive(self, movie: Float32, lower: Float32, start: Float32, penalty: Float32) -> Float32:
        unit, traces = np.ones(len(movie), np.float32), start
        k = np.full(start.shape, FIRST_K, np.float32)
        for round_ in range(ROUNDS + 1):
            if round_:
                k = next_k(positive_share(movie, self._alone, traces, graph=self._graph), k)
            traces, _ = robust_traces(
                movie, self._alone, unit, start=traces, lower=lower, penalty=penalty, kappa_scale=k, tolerance=0.01,
                graph=self._graph,
            )  # fmt: skip
        return traces
