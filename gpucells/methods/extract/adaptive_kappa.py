r"""Adaptive kappa: the threshold of every sample from how contaminated its surroundings look (EXTRACT 1.3).

A sample that many positive residuals surround belongs to something that is not in the model, so the loss should
distrust it more. For every component c, "around" means the samples where its shape :math:`\hat A_c` (maximum 1) is
above .01:

1. positive fraction :math:`d_{ic}` of the residuals of row i around component c;
2. contamination :math:`\hat\varepsilon_{ic}` from it (:func:`gpucells.ops.contamination.estimate_epsilon`), smoothed
   by a running median of five rows;
3. spread to samples: :math:`\varepsilon_{ij} = \sum_c \hat\varepsilon_{ic} \hat A_{cj} / \sum_c \hat A_{cj}`;
4. :math:`\kappa_{ij} = \sigma\, k(\varepsilon_{ij})`, with :math:`\sigma` the median over rows of the residual's
   standard deviation along the row.

With ``around="rows"`` rows and samples change places: shapes are the coefficients' columns, and d is a fraction of
rows. In the S-step, where rows are pixels, that is the same estimate as in the T-step.

That is :func:`estimate_kappa`, for the compatible iteration. The fast solver spreads thresholds instead of
contaminations, takes the noise for known, and estimates with :func:`next_k`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.ops.contamination import estimate_epsilon, k_from_epsilon

Float32 = NDArray[np.float32]

START_K = 0.6361  # the threshold for a contamination of .2, from which the original starts
FIRST_K = START_K * 0.7  # .445, for a contamination of a third: where the original's traces start (see the page)
ROUNDS = 3  # estimates a solve, the original's number
REACH = 2 * ROUNDS  # frames either side that an estimate looks at: two for each running median
SUPPORT = 0.01  # share of a component's maximum that counts as around it, the original's
SPREAD_FLOOR = 1e-6  # keeps the weights finite where no component is


@dataclass(frozen=True)
class KappaEstimate:
    """An estimate, and what the next one starts from.

    Parameters
    ----------
    kappa : array
        ``(n_rows, n_samples)`` in the data's units.
    epsilon, k : array
        ``(n_rows, n_components)``, or ``(n_samples, n_components)`` with ``around="rows"``: contamination, and the
        threshold that belongs to it in units of the noise.
    noise : float
        Standard deviation of the residual, in the data's units.
    """

    kappa: Any
    epsilon: Any
    k: Any
    noise: float


def estimate_kappa(
    residual: Any, components: Any, coefficients: Any, around: str, before: KappaEstimate | None = None
) -> KappaEstimate:
    """Estimate kappa of every sample.

    Parameters
    ----------
    residual : array
        ``(n_rows, n_samples)`` data minus model.
    components : array
        ``(n_components, n_samples)``, not negative.
    coefficients : array
        ``(n_rows, n_components)``; only used with ``around="rows"``.
    around : {"components", "rows"}
        Whose shape says what surrounds a sample.
    before : KappaEstimate, optional
        The estimate under which the residual was made.

    Returns
    -------
    KappaEstimate
    """
    xp = array_api_compat.array_namespace(residual, components)
    if around == "rows":
        residual, components = residual.T, coefficients.T
    peak = xp.max(components, axis=1, keepdims=True)
    shape = xp.maximum(components / xp.where(peak > 0, peak, xp.ones_like(peak)), xp.zeros_like(components))
    support = xp.astype(shape > SUPPORT, residual.dtype)
    size = xp.sum(support, axis=1, keepdims=True)
    support = support / xp.where(size > 0, size, xp.ones_like(size))
    positive = xp.astype(residual > 0, residual.dtype) @ support.T
    k = before.k if before else xp.full_like(positive, START_K)
    epsilon = _median5(xp, estimate_epsilon(positive, k))
    weights = shape + SPREAD_FLOOR
    of_samples = epsilon @ (weights / xp.sum(weights, axis=0))
    noise = float(xp.median(xp.std(residual, axis=1, correction=1)))
    kappa = noise * k_from_epsilon(of_samples, "fit")
    return KappaEstimate(kappa.T if around == "rows" else kappa, epsilon, k_from_epsilon(epsilon, "fit"), noise)


def _median5(xp: Any, values: Any) -> Any:
    """Return the running median of five rows, zero beyond the ends."""
    edge = xp.zeros_like(values[:1, :])
    n_rows = values.shape[0]
    padded = xp.concat([edge, edge, values, edge, edge], axis=0)
    return xp.sort(xp.stack([padded[i : i + n_rows, :] for i in range(5)]), axis=0)[2, ...]


def next_k(share: Float32, k: Float32) -> Float32:
    r"""Threshold of every cell and frame for the next solve of the traces, in units of the noise.

    :math:`k = k(\operatorname{median}_5 \hat\varepsilon)`, the running median over frames, which repeats the first and
    last one beyond the ends.

    Parameters
    ----------
    share : numpy.ndarray
        ``(n_cells, n_frames)`` share of the cell's pixels with a positive residual.
    k : numpy.ndarray
        ``(n_cells, n_frames)`` the thresholds under which the residual was made.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32, .02 to 2.7.
    """
    epsilon = ndimage.median_filter(estimate_epsilon(share, k), size=(1, 5), mode="nearest")
    return np.asarray(k_from_epsilon(epsilon), np.float32)
