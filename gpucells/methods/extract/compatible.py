"""The original's iteration in the place of the Newton solvers, for comparison on small movies (``solver="admm"``).

Components that share pixels, directly or through others, are one group; every group is solved densely by
:func:`gpucells.methods.extract.admm.solve_admm`, all of the original's 100 iterations. A background field overlaps
everything and makes the whole tile one group.

Memory: a block of rows takes about :data:`COPIES` arrays of (rows x samples of the group) in float32, and rows are
taken so many at a time that these stay below :data:`BLOCK_SAMPLES` samples each; the dense components of a group,
(components x samples), come on top. With a background on an image of 512 x 512 and 1000 components that is 1 GB.
Time is what the page on the method says of it: 4 x components x samples x rows operations an iteration.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.methods.extract.admm import solve_admm
from gpucells.ops.residual import subtract_components
from gpucells.ops.robust_footprints import Known

Float32 = NDArray[np.float32]

ITERATIONS = 100  # the original's max_iter_T and max_iter_S
BLOCK_SAMPLES = 2**22
COPIES = 5  # data, model, clipped data and two of the iteration's own


def admm_traces(
    movie: Float32,
    footprints: sparse.csr_array,
    kappa: float,
    *,
    offset: Float32 | None = None,
    start: Float32 | None = None,
    lower: Float32 | float = 0.0,
    penalty: Float32 | float = 0.0,
    adaptive: bool = False,
    n_iterations: int = ITERATIONS,
) -> Float32:
    """Solve every frame for the traces, as :func:`gpucells.ops.robust_traces.robust_traces` does.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of each pixel's noise.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    kappa : float
        Where the loss turns linear, in units of the noise; what adaptive kappa starts from, times .6361.
    offset : numpy.ndarray, optional
        ``(n_pixels,)`` to take off every pixel.
    start : numpy.ndarray, optional
        ``(n_cells, n_frames)``.
    lower : numpy.ndarray or float
        ``(n_cells,)`` lower bounds.
    penalty : numpy.ndarray or float
        ``(n_cells,)`` weight of the L1 term, as in :func:`~gpucells.ops.robust_traces.robust_traces`.
    adaptive : bool
        The original's adaptive kappa; all frames are then solved at once.
    n_iterations : int
        Of every group.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32.
    """
    n_cells, n_frames = footprints.shape[0], movie.shape[1]
    solved = np.zeros((n_cells, n_frames), np.float32)
    begin = solved if start is None else start
    bounds = np.broadcast_to(np.asarray(lower, np.float32), n_cells)
    weights = np.broadcast_to(np.asarray(penalty, np.float32), n_cells) / np.float32(kappa)
    for cells, pixels in _groups(footprints):
        images = footprints[cells][:, pixels].toarray()
        rows = n_frames if adaptive else max(1, BLOCK_SAMPLES // len(pixels))
        for first in range(0, n_frames, rows):
            some = slice(first, first + rows)
            data = movie[pixels, some].T - (0 if offset is None else offset[pixels])
            solved[cells, some] = solve_admm(
                np.ascontiguousarray(data, np.float32), images, begin[cells, some].T, kappa, lower=bounds[cells],
                constraint="bound", adaptive="components" if adaptive else None, penalty=weights[cells],
                n_iterations=n_iterations, stop_early=False,
            ).coefficients.T  # fmt: skip
    return solved


def admm_footprints(
    movie: Float32,
    traces: Float32,
    start: sparse.csr_array,
    kappa: float,
    *,
    known: Known,
    offset: Float32,
    n_iterations: int = ITERATIONS,
) -> sparse.csr_array:
    """Solve every pixel for the footprints, as :func:`gpucells.ops.robust_footprints.robust_footprints` does.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of each pixel's noise.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    start : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``; its stored entries are the masks.
    kappa : float
        Where the loss turns linear, in units of the noise.
    known : Known
        The background; a copy of the movie without it is made.
    offset : numpy.ndarray
        ``(n_pixels,)`` to take off every pixel.
    n_iterations : int
        Of every group.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, zeros dropped.
    """
    data = subtract_components(movie, sparse.csr_array(known.images), known.traces, offset)
    parts: list[sparse.coo_array] = []
    for cells, pixels in _groups(start):
        begin = start[cells][:, pixels]
        mask = sparse.csr_array((np.ones(begin.nnz, np.float32), begin.indices, begin.indptr), begin.shape).toarray()
        images = np.zeros(begin.shape, np.float32)
        rows = max(1, BLOCK_SAMPLES // movie.shape[1])
        for first in range(0, len(pixels), rows):
            some = slice(first, first + rows)
            images[:, some] = solve_admm(
                data[pixels[some]], traces[cells], begin[:, some].toarray().T, kappa, mask=mask[:, some].T,
                n_iterations=n_iterations, stop_early=False,
            ).coefficients.T  # fmt: skip
        row, column = np.nonzero(images)
        parts.append(sparse.coo_array((images[row, column], (cells[row], pixels[column])), shape=start.shape))
    return sparse.csr_array(sum(parts, sparse.csr_array(start.shape, dtype=np.float32)))


def _groups(footprints: sparse.csr_array) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Go over groups of components that share pixels: the components, and the pixels of all of them."""
    pattern = sparse.csr_array(
        (np.ones(footprints.nnz, np.float32), footprints.indices, footprints.indptr), shape=footprints.shape
    )
    n_groups, label = sparse.csgraph.connected_components(pattern @ pattern.T, directed=False)
    order = np.argsort(label, kind="stable")
    for cells in np.split(order, np.cumsum(np.bincount(label, minlength=n_groups))[:-1]):
        pixels = np.unique(footprints[cells].indices)
        if len(pixels):
            yield cells, pixels
