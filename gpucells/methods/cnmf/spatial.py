r"""The spatial update: footprints and background images for given traces.

Every pixel is a problem of its own: with :math:`x` the traces of the cells whose support holds the pixel and of the
background, all with mean 0,

.. math:: \min_w \tfrac12 \lVert y - \textstyle\sum_k w_k x_k \rVert^2 + \lambda \sum_k \lVert x_k \rVert w_k, \qquad
          w_k \ge 0 \text{ for cells,}

in units of the noise, so that :math:`1 / \lVert x_k \rVert` is the standard error of :math:`w_k` alone. It depends on
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
    n_cells, n_background = start.shape[0], len(image_products)
    gram = traces.astype(np.float64) @ traces.T.astype(np.float64)
    norms = np.sqrt(np.diag(gram))
    # Where there is no cell, the background's images are what least squares make them, without a search.
    images = _alone(gram[n_cells:, n_cells:], image_products)
    covered, place = np.unique(start.indices, return_inverse=True)
    indptr = np.concatenate([start.indptr, start.indptr[-1] + len(covered) * np.arange(1, n_background + 1)])
    pixels = np.concatenate([place, np.tile(np.arange(len(covered)), n_background)])
    every = np.concatenate([products, image_products[:, covered].ravel()])
    begin = np.concatenate([start.data, images[:, covered].ravel()])
    is_cell = np.arange(n_cells + n_background) < n_cells
    lower = np.where(is_cell, 0, -np.inf)
    if settings.spatial_solver == "nnls_l0":
        limit = np.full(len(covered), RSS * traces.shape[1])
        solved = nnls_l0(
            every, gram, energy[covered], limit, indptr, pixels, start=begin, lower=lower, removable=is_cell,
            tolerance=TOLERANCE,
        )  # fmt: skip
    else:
        penalty = np.full(len(covered), settings.spatial_penalty)
        solved = masked_lasso(
            every, gram, penalty, indptr, pixels, start=begin, lower=lower, weight=np.where(is_cell, norms, 0),
            tolerance=TOLERANCE,
        )  # fmt: skip
    start.data = solved[: len(start.data)]
    images[:, covered] = solved[len(start.data) :].reshape(n_background, len(covered))
    footprints, scale = windows.finish(start, norms[:n_cells].astype(np.float32), radius_px, settings, n_background > 0)
    return footprints, scale, images


def _alone(gram: Float64, products: NDArray[np.floating]) -> Float32:
    """Images by least squares, of ``(n_background, n_background)`` and ``(n_background, n_pixels)`` products."""
    if len(gram) == 0:
        return np.zeros(products.shape, np.float32)
    return np.asarray(linalg.pinvh(gram) @ products, np.float32)
