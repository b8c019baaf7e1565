r"""The L1 penalty on traces that resemble an overlapping cell's.

.. math:: \lambda_c = \text{factor} \cdot \max_{j \ne c} \operatorname{corr}(T_c, T_j)
          [\operatorname{corr}(S_c, S_j) > .2] \cdot \sum_p S_c(p)

in the objective as :math:`\kappa \lambda_c \sum_t T_c(t)` (EXTRACT 1.3, where it is multiplied by zero whenever kappa
is adaptive). A cell that resembles no neighbour is not penalised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32 = NDArray[np.float32]

SIMILAR = 0.2  # correlation of two images above which their traces are compared (the original's figure)


def l1_weights(footprints: sparse.csr_array, traces: Float32, factor: float, kappa: float) -> Float32:
    """Weight of every trace's L1 term.

    Parameters
    ----------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` in units of the noise.
    traces : numpy.ndarray
        ``(n_cells, n)`` as they are now, any rate.
    factor : float
        The setting ``l1_penalty_factor``.
    kappa : float
        Where the loss turns linear, in units of the noise.

    Returns
    -------
    numpy.ndarray
        ``(n_cells,)`` float32, not negative.
    """
    n_cells, n_pixels = footprints.shape
    mass = np.asarray(footprints.sum(axis=1), np.float64).ravel()
    if factor == 0 or n_cells < 2 or traces.shape[1] < 2:
        return np.zeros(n_cells, np.float32)
    shared = sparse.coo_array(sparse.triu(footprints @ footprints.T, k=1))
    first, second = shared.coords
    square = np.asarray(footprints.multiply(footprints).sum(axis=1), np.float64).ravel()
    spread = np.sqrt(np.maximum(square - mass**2 / n_pixels, 1e-30))
    alike = (shared.data - mass[first] * mass[second] / n_pixels) / (spread[first] * spread[second]) > SIMILAR
    first, second = first[alike], second[alike]
    centred = traces - traces.mean(axis=1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    correlation = np.einsum("it,it->i", centred[first], centred[second])
    largest = np.zeros(n_cells)
    np.maximum.at(largest, first, correlation)
    np.maximum.at(largest, second, correlation)
    return np.asarray(kappa * factor * largest * mass, np.float32)
