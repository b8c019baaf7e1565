r"""Coefficients of an indicator's response, from the autocovariance of traces (Pnevmatikakis et al. 2016).

For a response of order :math:`p`, covariances follow :math:`r_i = \sum_j \gamma_j r_{|i-j|}`. Noise of variance
:math:`\sigma^2` is in :math:`r_0` alone and is taken off there; :math:`i = 1, \dots, L + p` give least squares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError
from gpucells.ops.noise import noise_std

Float64 = NDArray[np.float64]

# What CaImAn puts in place of roots that are no decay, without the random numbers that it adds to them.
STEADIEST, FASTEST = 0.95, 0.15
BLOCK_BYTES = 16 * 2**20  # of traces in float64 at once


def time_constants(
    traces: Any, order: int, noise: ArrayLike | None = None, lags: int = 5, fudge: float = 0.96
) -> Float64:
    r"""Estimate the coefficients of the response of each trace's indicator.

    Parameters
    ----------
    traces : array
        ``(n_traces, n_frames)`` of any real type, NumPy's or CuPy's.
    order : int
        1 for a decay, 2 for a rise and a decay.
    noise : array_like, optional
        ``(n_traces,)`` standard deviations, or one for all; by `noise_std` where not given.
    lags : int
        Equations beyond the ``order`` that are needed; 5 is CaImAn's.
    fudge : float
        Factor on the roots, which noise and short traces make too large; .96 is CaImAn's for CNMF.

    Returns
    -------
    numpy.ndarray
        ``(n_traces, order)`` float64. The roots of :math:`z^p - \sum_j \gamma_j z^{p-j}` are real and between 0 and
        1: of complex ones the real part is taken, .95 in place of one that is 1 or more or does not exist (a trace
        that is constant or not finite), .15 in place of one that is 0 or less; then all are multiplied by ``fudge``.

    Raises
    ------
    InputError
        An order that is neither 1 nor 2, too few frames, or another number of noise levels than of traces.
    """
    if order not in (1, 2):
        raise InputError(f"order = {order} of a response", "use 1 for a decay, 2 for a rise and a decay")
    if traces.ndim != 2 or traces.shape[1] <= lags + order:
        raise InputError(
            f"traces of shape {tuple(traces.shape)} have no covariance at lag {lags + order}",
            "give (n_traces, n_frames) with more frames than that, fewer lags, or coefficients of your own",
        )
    if noise is None:
        noise = to_host(noise_std(traces))
    try:
        variance = np.broadcast_to(np.asarray(noise, np.float64) ** 2, len(traces))
    except ValueError as error:
        raise InputError(f"noise of shape {np.shape(noise)} for {len(traces)} traces", "give one a trace") from error
    return from_roots(_stable(_roots(_solve(_covariances(traces, lags + order), variance, order))) * fudge)


def from_roots(roots: ArrayLike) -> Float64:
    """Return the coefficients ``(n, order)`` of responses whose decays by a frame are ``(n, order)``."""
    decays = np.asarray(roots, np.float64)
    if decays.shape[1] == 1:
        return decays.copy()
    return np.stack([decays[:, 0] + decays[:, 1], -decays[:, 0] * decays[:, 1]], axis=1)


def _covariances(traces: Any, most: int) -> Float64:
    """Return the biased autocovariances ``(n_traces, most + 1)``."""
    xp = namespace_of(traces)
    n_frames = traces.shape[1]
    found = np.empty((len(traces), most + 1))
    rows = max(1, BLOCK_BYTES // (8 * n_frames))
    for first in range(0, len(traces), rows):
        block = xp.asarray(traces[first : first + rows], dtype=np.float64)
        centred = block - xp.mean(block, axis=1, keepdims=True)
        for lag in range(most + 1):
            early, late = centred[:, : n_frames - lag], centred[:, lag:]
            sums = np.einsum("it,it->i", early, late) if xp is np else to_host(xp.sum(early * late, axis=1))
            found[first : first + rows, lag] = sums / n_frames
    return found


def _solve(covariances: Float64, variance: Float64, order: int) -> Float64:
    """Solve the equations of all traces; NaN where there is no solution."""
    signal = covariances.copy()
    signal[:, 0] -= variance
    lags = np.arange(1, covariances.shape[1])
    columns = [covariances[:, abs(lags - j)] for j in range(1, order + 1)]
    for j, column in enumerate(columns):
        column[:, j] = signal[:, 0]  # the equation of lag j + 1, where its own variance stands
    right = covariances[:, 1:]
    with np.errstate(all="ignore"):
        if order == 1:
            only: Float64 = np.sum(columns[0] * right, axis=1) / np.sum(columns[0] ** 2, axis=1)
            return only[:, None]
        one, both, two = (np.sum(columns[i] * columns[j], axis=1) for i, j in ((0, 0), (0, 1), (1, 1)))
        first, second = (np.sum(column * right, axis=1) for column in columns)
        determinant = one * two - both * both
        pair: Float64 = np.stack([two * first - both * second, one * second - both * first], axis=1)
        pair /= determinant[:, None]
        return pair


def _roots(coefficients: Float64) -> Float64:
    """Return the real parts of the roots, the largest first."""
    if coefficients.shape[1] == 1:
        return coefficients
    with np.errstate(invalid="ignore"):
        middle = coefficients[:, 0] / 2
        spread = np.sqrt(np.maximum(middle**2 + coefficients[:, 1], 0))
        return np.stack([middle + spread, middle - spread], axis=1)


def _stable(roots: Float64) -> Float64:
    """Replace roots that are no decay."""
    steady: Float64 = np.where(np.isfinite(roots) & (roots < 1), roots, STEADIEST)
    return np.where(steady > 0, steady, FASTEST)
