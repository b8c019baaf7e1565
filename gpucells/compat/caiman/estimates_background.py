"""The background of estimates, and what it leaves: ``b f``, or CNMF-E's ring ``W`` and ``b0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.compat.caiman.movies import as_movie, flat_frames, frame_blocks
from gpucells.compat.told_once import tell_once
from gpucells.errors import InputError
from gpucells.model.movie import Movie
from gpucells.ops.ring_weights import ring_offsets, ring_weights

if TYPE_CHECKING:
    from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates

Float32 = NDArray[np.float32]
#: Memory that the movie may take while the ring's weights are fitted, in pixels of ``ssub_B``.
RING_BYTES = 2 << 30


def coarse(shape: tuple[int, int], side: int) -> sparse.csr_array:
    """Return means of squares of pixels, ``(n_squares, n_pixels)``, both in Fortran order, cut at the edge."""
    height, width = shape
    rows = -(-height // side)
    square = (np.arange(height)[:, None] // side + rows * (np.arange(width)[None] // side)).ravel(order="F")
    counts = np.bincount(square)
    entries = (1 / counts[square]).astype(np.float32), (square, np.arange(height * width))
    return sparse.csr_array(entries, shape=(len(counts), height * width))


def fit_ring(self: Estimates, images: Any, radius_px: float, ssub_B: int) -> None:
    """Fit ``W`` and ``b0`` to what the cells leave of the movie.

    Parameters
    ----------
    images : array or Movie
        ``(n_frames, height, width)``.
    radius_px : float
        Of the ring.
    ssub_B : int
        Side of the squares of pixels that the weights are of.
    """
    shape, n_frames = tuple(self.dims), self.C.shape[1]
    side = max(1, int(ssub_B))
    means = coarse(shape, side)
    if 4 * means.shape[0] * n_frames > RING_BYTES:
        tell_once("estimates.W stays None: fitting the ring's weights would take more than 2 GiB; b0 is there")
    fits = 4 * means.shape[0] * n_frames <= RING_BYTES
    total = np.zeros(shape[0] * shape[1])
    left = np.empty((means.shape[0], n_frames if fits else 0), np.float32)
    for some in frame_blocks(n_frames, len(total)):
        rest = flat_frames(images, some) - self.A @ self.C[:, some]
        total += np.nansum(rest, axis=1, dtype=np.float64)
        if fits:
            left[:, some] = means @ rest
    self.b0, self.ssub_B = (total / max(1, n_frames)).astype(np.float32), side
    if fits:
        # Its squares are counted down the columns: to the fit, the turned picture is one in C order.
        rows, columns = -(-shape[0] // side), -(-shape[1] // side)
        blocks = left.reshape(columns, rows, n_frames)
        known = np.isfinite(blocks).all(axis=2)
        offsets = ring_offsets(max(1.0, round(radius_px / side)))
        self.W = sparse.csr_matrix(ring_weights(blocks, known, offsets).weights)


def _background_of(self: Estimates, frames: Float32, some: slice) -> Float32:
    """Return the background of frames, ``(n_pixels, n)``."""
    if self.W is not None and self.b0 is not None:
        means = coarse(tuple(self.dims), int(self.ssub_B or 1))
        rest = means @ (frames - self.A @ self.C[:, some] - self.b0[:, None])
        spread = sparse.csr_array((means > 0).T, dtype=np.float32)
        return np.asarray(self.b0[:, None] + spread @ (self.W @ rest), np.float32)
    if self.b is None or self.f is None:
        raise InputError("the estimates have no background", "fit finds one; of CNMF-E, W where memory allows")
    return np.asarray(self.b @ self.f[:, some], np.float32)


def compute_background(self: Estimates, Yr: Any) -> Float32:
    """Return the background ``(n_pixels, n_frames)``, as large as the movie.

    Parameters
    ----------
    Yr : array
        The movie, ``(n_pixels, n_frames)`` in Fortran order or ``(n_frames, height, width)``; the ring needs it.
    """
    movie, n_frames = as_movie(Yr, self.dims), self.C.shape[1]
    found = np.empty((self.A.shape[0], n_frames), np.float32)
    for some in frame_blocks(n_frames, len(found)):
        found[:, some] = _background_of(self, flat_frames(movie, some), some)
    return found


def compute_residuals(self: Estimates, Yr: Any) -> Estimates:
    """Set ``YrA`` (``R``) to what each footprint has of the movie without background and cells.

    Parameters
    ----------
    Yr : array
        As :func:`compute_background` takes it.
    """
    movie = as_movie(Yr, self.dims)
    n_frames = movie.n_frames if isinstance(movie, Movie) else movie.shape[0]
    gather = sparse.csr_matrix(self.A.T)
    power = np.asarray(self.A.power(2).sum(axis=0)).ravel()
    left = np.empty(self.C.shape, np.float32)
    for some in frame_blocks(n_frames, self.A.shape[0]):
        frames = flat_frames(movie, some)
        left[:, some] = gather @ (frames - _background_of(self, frames, some) - self.A @ self.C[:, some])
    self.YrA = self.R = left / np.where(power > 0, power, 1)[:, None].astype(np.float32)
    return self
