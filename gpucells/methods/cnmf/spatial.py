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
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.ops.masked_lasso import masked_lasso, nnls_l0

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TOLERANCE = 1e-4  # of what one regressor explains of a pixel; the next round moves the traces by more
RSS = 1.2  # of the noise: the residual up to which nnls_l0 takes cells away (CaImAn's figure)


def regressors(traces: Float32, field: Float32) -> Float32:
    """``(n_cells + n_background, n_frames)`` float32 with mean 0."""
    both = np.concatenate([traces, field])
    return np.asarray(both - both.mean(axis=1, keepdims=True), np.float32)


def update_footprints(
    windows: Windows, products: Float32, image_products: Float32, energy: Float64, traces: Float32, radius_px: float,
    settings: CnmfSettings,
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
    settings : CnmfSettings
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
    gram = traces.astype(np.float64) @ traces.T.astype(np.float64)
    # Background images have no sign to keep, so they are eliminated: what is left of a product is orthogonal to them.
    inverse = linalg.pinvh(gram[n_cells:, n_cells:]) if len(image_products) else np.zeros((0, 0))
    share = inverse @ gram[n_cells:, :n_cells]  # of each cell's trace that the background's can take
    own_gram = gram[:n_cells, :n_cells] - gram[:n_cells, n_cells:] @ share
    of_cell = np.repeat(np.arange(n_cells), np.diff(start.indptr))
    own = products - np.einsum("be,be->e", share[:, of_cell], image_products[:, start.indices])
    norms = np.sqrt(np.maximum(np.diag(own_gram), 0))
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
