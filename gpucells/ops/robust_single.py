r"""One footprint against many frames, or one trace against many pixels: the robust fit of a single factor.

For every problem j (a frame) with samples i (pixels)

.. math:: \min_{x_j \ge 0} \sum_i w_i\, \rho_{\kappa_j}(b_{ij} - a_i x_j) + \kappa_j \lambda x_j, \qquad
          \rho_\kappa(r) = r^2/2 \text{ for } r \le \kappa,\ \kappa(r - \kappa/2) \text{ above}

(Inan, Erdogdu & Schnitzer 2017). The slope is piecewise linear in x, so Newton's method is an active-set method: with
the residuals split at kappa, x moves by slope / curvature and stays at or above 0. The slope is concave in x and not
positive at the least-squares solution, so from there x falls towards the optimum without ever passing it; three or
four steps do. Numbers are those of EXTRACT's solver of cell finding; adaptive kappa re-estimates the
contamination of every problem at fixed steps from its share of positive residuals
(:func:`gpucells.ops.contamination.estimate_epsilon`).

The compiled bodies :func:`start_problems`, :func:`fit_problems` and :func:`positive_share` can be called from other
compiled code; they take the rows of a larger array by number. Problems lie along the contiguous axis and go in blocks
that stay in the cache, so the data are read from memory once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.ops.contamination import Relation, estimate_epsilon, k_from_epsilon

Float32 = NDArray[np.float32]

BLOCK = 128  # problems solved together: 100 pixels of them are 50 kB; faster than 64 and than 256
STEPS = 10  # the original's limit
TOLERANCE = 1e-4  # relative L1 change at which a block is done, the original's
REESTIMATE_AT = (0.5, 2 / 3, 0.75)  # shares of the steps at which adaptive kappa is estimated anew, the original's
MIXING = 0.05  # how much a sample moves its own fit, the original's figure


@dataclass(frozen=True)
class AdaptiveKappa:
    """Re-estimate kappa of every problem while fitting.

    Parameters
    ----------
    noise : float
        Standard deviation of a sample, in the data's units.
    k : float
        Threshold to start with, in units of the noise.
    relation : {"exact", "fit"}
        How k follows from epsilon; the original has the fit.
    in_steps : bool
        Round large estimates up, as the original does: traces of contaminated cells come out better by about .01 of
        correlation than with the estimate itself.
    """

    noise: float
    k: float = 1.0
    relation: Relation = "exact"
    in_steps: bool = True


def robust_scale(
    data: Float32,
    shape: Float32,
    kappa: float | Float32,
    *,
    noise: Float32 | None = None,
    penalty: float = 0.0,
    adaptive: AdaptiveKappa | None = None,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
) -> Float32:
    """Fit how much of one shape is in each problem.

    Parameters
    ----------
    data : numpy.ndarray
        ``(n_samples, n_problems)`` float32: pixels x frames to fit a trace; transpose it to fit a footprint.
    shape : numpy.ndarray
        ``(n_samples,)``, not negative: the footprint, or the trace.
    kappa : float or numpy.ndarray
        Threshold of the loss in the data's units, one or ``(n_problems,)``. With ``noise``, in units of it. Not used
        with ``adaptive``, which has its own start.
    noise : numpy.ndarray, optional
        ``(n_samples,)`` noise of each sample: samples then count by 1 / noise². All alike where not given.
    penalty : float
        Lambda of the L1 penalty.
    adaptive : AdaptiveKappa, optional
        Re-estimate kappa of every problem; with ``noise``, set its ``noise`` to 1.
    steps : int
        Newton steps at most.
    tolerance : float
        Relative L1 change at which a block of problems is done.

    Returns
    -------
    numpy.ndarray
        ``(n_problems,)`` float32, not negative; 0 where ``shape`` is empty.

    Raises
    ------
    InputError
        Sizes that do not fit each other.
    """
    data = np.ascontiguousarray(data, dtype=np.float32)
    shape = np.ascontiguousarray(shape, dtype=np.float32)
    if data.ndim != 2 or shape.shape != data.shape[:1]:
        raise InputError(f"data {data.shape} and shape {shape.shape} do not fit: (n_samples, n_problems), (n_samples,)")
    if noise is not None:
        data, shape = data / noise[:, None], shape / noise
    samples = np.flatnonzero(shape > 0)
    x = np.zeros(data.shape[1], dtype=np.float32)
    if not samples.size:
        return x
    values = shape[samples]
    start_problems(data, samples, values, float(1 / (values**2).sum()), x)
    if adaptive is None:
        kappas = np.ascontiguousarray(np.broadcast_to(np.asarray(kappa, dtype=np.float32), x.shape))
        fit_problems(data, samples, values, kappas, penalty, steps, tolerance, x)
    else:
        _fit_adaptively(data, samples, values, penalty, adaptive, steps, tolerance, x)
    return x


def _fit_adaptively(
    data: Float32,
    samples: NDArray[np.intp],
    values: Float32,
    penalty: float,
    adaptive: AdaptiveKappa,
    steps: int,
    tolerance: float,
    x: Float32,
) -> None:
    # Both as in the original: bright pixels, where the cell itself decides the residual, count less.
    weights = (1 / (1 + values)).astype(np.float32)
    weights /= weights.sum()
    mixing = MIXING * float(values.mean() * values.sum() / (values**2).sum())
    positive = np.empty_like(x)
    k = np.full(x.shape, adaptive.k, dtype=np.float32)
    rounds = [math.floor(share * steps + 0.5) for share in REESTIMATE_AT]  # half up: 7.5 to 8
    for done, until in zip([1, *rounds], [*rounds, steps + 1], strict=True):
        kappas = (adaptive.noise * k).astype(np.float32)
        fit_problems(data, samples, values, kappas, penalty, until - done, tolerance, x)
        if until <= steps:
            positive_share(data, samples, values, weights, x, positive)
            epsilon = estimate_epsilon(positive, k, mixing, in_steps=adaptive.in_steps)
            k = np.asarray(k_from_epsilon(epsilon, adaptive.relation), dtype=np.float32)


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def start_problems(data, samples, values, inverse, x):  # type: ignore[no-untyped-def]
    """Set ``x`` to the clipped least-squares solution.

    Parameters
    ----------
    data, samples, values, x
        As in :func:`fit_problems`.
    inverse : float
        1 / sum of ``values`` squared.
    """
    n_problems = len(x)
    for first in range(0, n_problems, BLOCK):
        width = min(BLOCK, n_problems - first)
        total = np.zeros(BLOCK, np.float32)
        for i in range(len(samples)):
            row, a = data[samples[i], first : first + width], values[i]
            for t in range(width):
                total[t] += a * row[t]
        for t in range(width):
            x[first + t] = max(np.float32(0), total[t] * np.float32(inverse))


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def fit_problems(data, samples, values, kappas, penalty, steps, tolerance, x):  # type: ignore[no-untyped-def]
    """Take Newton steps from ``x``, in place.

    Parameters
    ----------
    data : numpy.ndarray
        ``(n_rows, n_problems)`` float32, C order.
    samples : numpy.ndarray
        ``(n_samples,)`` integers: the rows of ``data`` that are the samples.
    values : numpy.ndarray
        ``(n_samples,)`` float32: the shape at them, above 0.
    kappas : numpy.ndarray
        ``(n_problems,)`` float32 thresholds in the data's units.
    penalty : float
        Lambda of the L1 penalty.
    steps : int
        At most so many.
    tolerance : float
        Relative L1 change at which a block of problems is done.
    x : numpy.ndarray
        ``(n_problems,)`` float32, where to start; replaced by the solution.
    """
    n_problems = len(x)
    slope, curvature = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    now, kappa = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    largest = np.float32(0)
    for i in range(len(values)):
        largest += values[i] * values[i]
    for first in range(0, n_problems, BLOCK):
        width = min(BLOCK, n_problems - first)
        now[:width], kappa[:width] = x[first : first + width], kappas[first : first + width]
        for _ in range(steps):
            slope[:width] = -np.float32(penalty) * kappa[:width]
            curvature[:] = 0
            for i in range(len(samples)):
                row, a = data[samples[i], first : first + width], values[i]
                square = a * a
                for t in range(width):
                    r = row[t] - a * now[t]
                    inside = r < kappa[t]
                    slope[t] += a * (r if inside else kappa[t])
                    curvature[t] += square if inside else np.float32(0)
            change, size = np.float32(0), np.float32(0)
            for t in range(width):
                # A start far below the optimum can make every sample an outlier, where the loss is straight: the step
                # of the full quadratic cannot overshoot there.
                c = curvature[t] if curvature[t] > 0 else largest
                new = max(np.float32(0), now[t] + slope[t] / c)
                change += abs(new - now[t])
                size += abs(now[t])
                now[t] = new
            if change <= tolerance * size:
                break
        x[first : first + width] = now[:width]


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def positive_share(data, samples, values, weights, x, share):  # type: ignore[no-untyped-def]
    """Find the weighted fraction of each problem's residuals that is above 0.

    Parameters
    ----------
    data, samples, values, x
        As in :func:`fit_problems`.
    weights : numpy.ndarray
        ``(n_samples,)`` float32, sum 1.
    share : numpy.ndarray
        ``(n_problems,)`` float32, overwritten with the fraction.
    """
    n_problems = len(x)
    for first in range(0, n_problems, BLOCK):
        width = min(BLOCK, n_problems - first)
        now, part = x[first : first + width], share[first : first + width]
        part[:] = 0
        for i in range(len(samples)):
            row, a, weight = data[samples[i], first : first + width], values[i], weights[i]
            for t in range(width):
                part[t] += weight if row[t] > a * now[t] else np.float32(0)
