r"""The spatial update: footprints and background images for given traces.

Every pixel is a problem of its own: with :math:`x` the traces of the cells whose support holds the pixel and of the
background, all with mean 0,

.. math:: \min_w \tfrac12 \lVert y - \textstyle\sum_k w_k x_k \rVert^2
          + \lambda \sum_k \lVert \tilde x_k \rVert w_k, \qquad w_k \ge 0 \text{ for cells,}

in units of the noise. The background is free, so it is eliminated first: :math:`\tilde x` is what of :math:`x` is
orthogonal to it, and :math:`1 / \lVert \tilde x_k \rVert` the standard error of :math:`w_k` beside it. All depends on
the movie through :math:`YX^\top` on the supports; coordinate descent solves all pixels
(:mod:`gpucells.ops.masked_lasso`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from gpucells.candidates.footprints import Windows
from gpucells.factorisation.settings import FactorisationSettings
from gpucells.ops.masked_lasso import masked_lasso, nnls_l0

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PAIRS_BYTES = 2**20  # of traces whose products are taken at once: they stay in the cache
TOLERANCE = 1e-4  # of what one regressor explains of a pixel; the next round moves the traces by more
RSS = 1.2  # of the noise: the residual up to which nnls_l0 takes cells away (CaImAn's figure)


def regressors(traces: Float32, field: Float32) -> Float32:
    """``(n_cells + n_background, n_frames)`` float32 with mean 0."""
    both = np.concatenate([traces, field])
    return np.asarray(both - both.mean(axis=1, keepdims=True), np.float32)


def update_footprints(
    windows: Windows, products: Float32, image_products: Float32, energy: Float64, traces: Float32, radius_px: float,
    settings: FactorisationSettings,
) -> tuple[sparse.csr_array, Float32, Float32]:  # fmt: skip
    """Solve footprints and background images.

    Parameters
    ----------
    windows : Windows
        Where the cells may have light.
    products : numpy.ndarray
        ``(n_entries,)`` products of the movie, in units of the noise, with the cells' regressors where the windows have
        entries.
    image_products : numpy.ndarray
        ``(n_background, n_pixels)`` products with the background's regressors.
    energy : numpy.ndarray
        ``(n_pixels,)`` float64 sum of squares of the movie about its mean; used by ``nnls_l0``.
    traces : numpy.ndarray
        ``(n_cells + n_background, n_frames)`` the regressors.
    radius_px : float
        Cell radius (px).
    settings : FactorisationSettings
        Of the run.

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1 in the movie's units; an empty row where nothing is left.
    scale : numpy.ndarray
        ``(n_cells,)`` by which the traces grow.
    images : numpy.ndarray
        ``(n_background, n_pixels)`` in units of the noise.
    """
    start = windows.start()
    n_cells, n_pixels = start.shape
    # Background images have no sign to keep, so they are eliminated: what is left of a product is orthogonal to them.
    field = traces[n_cells:].astype(np.float64)
    inverse = linalg.pinvh(field @ field.T) if len(field) else np.zeros((0, 0))
    across = np.asarray(field.astype(np.float32) @ traces[:n_cells].T, np.float64)
    share = inverse @ across  # of each cell's trace that the background's can take
    own_gram = _gram_of_neighbours(start, traces[:n_cells], across, share)
    of_cell = np.repeat(np.arange(n_cells), np.diff(start.indptr))
    own = products - np.einsum("be,be->e", share[:, of_cell], image_products[:, start.indices])
    norms = np.sqrt(np.maximum(own_gram.diagonal(), 0))
    if settings.spatial_solver == "nnls_l0":
        left = energy - np.einsum("bp,bp->p", image_products, inverse @ image_products)
        limit = np.full(n_pixels, RSS * traces.shape[1])
        solved = nnls_l0(own, own_gram, left, limit, start.indptr, start.indices, start=start.data, tolerance=TOLERANCE)
    else:
        penalty = np.full(n_pixels, settings.spatial_penalty)
        solved = masked_lasso(
            own, own_gram, penalty, start.indptr, start.indices, start=start.data, weight=norms, tolerance=TOLERANCE
        )
    start.data = solved
    images = np.asarray(inverse @ image_products - (start.T @ share.T).T, np.float32)
    footprints, scale = windows.finish(start, norms.astype(np.float32), radius_px, settings, len(images) > 0)
    return footprints, scale, images


def _gram_of_neighbours(start: sparse.csr_array, traces: Float32, across: Float64, share: Float64) -> sparse.csr_array:
    """Products of the cells' traces, less the background's part, of those pairs that have a pixel in common.

    Of thousands of cells over tens of thousands of frames all pairs would be the longest step by far.
    """
    n_cells = start.shape[0]
    support = sparse.csr_array(
        (np.ones(len(start.indices), np.float32), start.indices, start.indptr), shape=start.shape
    )
    first, second = sparse.coo_array(sparse.triu(support @ support.T)).coords
    values = np.empty(len(first))
    step = max(1, PAIRS_BYTES // max(1, 8 * traces.shape[1]))
    for begin in range(0, len(first), step):
        some = slice(begin, begin + step)
        values[some] = np.einsum("it,it->i", traces[first[some]], traces[second[some]], dtype=np.float64)
    values -= np.einsum("bi,bi->i", across[:, first], share[:, second])
    upper = sparse.coo_array((values, (first, second)), shape=(n_cells, n_cells))
    return sparse.csr_array(upper + sparse.triu(upper, k=1).T)
