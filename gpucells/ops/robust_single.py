r"""One footprint against many frames, or one trace against many pixels: the robust fit of a single factor.

For every problem j (a frame) with samples i (pixels)

.. math:: \min_{x_j \ge 0} \sum_i \rho_{\kappa_j}(b_{ij} - a_i x_j), \qquad
          \rho_\kappa(r) = r^2/2 \text{ for } r \le \kappa,\ \kappa(r - \kappa/2) \text{ above}

(Inan, Erdogdu & Schnitzer 2017). The slope is piecewise linear in x, so Newton's method is an active-set method: with
the residuals split at kappa, x moves by slope / curvature and stays at or above 0. The slope is concave in x and not
positive at the least-squares solution, so from there x falls towards the optimum without ever passing it; three or
four steps do. A start below the optimum passes it once.

Compiled, to be called from compiled code; rows of a larger array are taken by number. Problems lie along the contiguous
axis and go in blocks that stay in the cache, so the data are read from memory once.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 128  # problems solved together: 100 pixels of them are 50 kB; faster than 64 and than 256
# Share of the whole curvature kept where nearly every sample is an outlier: there the loss is all but straight, and a
# step of its own curvature would go anywhere.
CURVATURE_FLOOR = 0.02


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def start_problems(data, samples, values, x):  # type: ignore[no-untyped-def]
    """Set ``x`` to the clipped least-squares solution.

    Parameters
    ----------
    data, samples, values, x
        As in :func:`fit_problems`.
    """
    n_problems = len(x)
    energy = np.float32(1e-20)
    for i in range(len(values)):
        energy += values[i] * values[i]
    for first in range(0, n_problems, BLOCK):
        width = min(BLOCK, n_problems - first)
        total = np.zeros(BLOCK, np.float32)
        for i in range(len(samples)):
            row, a = data[samples[i], first : first + width], values[i]
            for t in range(width):
                total[t] += a * row[t]
        for t in range(width):
            x[first + t] = max(np.float32(0), total[t] / energy)


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def fit_problems(data, samples, values, kappas, steps, tolerance, x, free):  # type: ignore[no-untyped-def]
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
    steps : int
        At most so many.
    tolerance : float
        Relative L1 change at which a block of problems is done.
    x : numpy.ndarray
        ``(n_problems,)`` float32, where to start; replaced by the solution.
    free : numpy.ndarray
        ``(n_problems,)`` float32, overwritten with the last step's result before it was cut off at zero.
    """
    n_problems = len(x)
    slope, curvature = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    now, kappa = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    least = np.float32(1e-20)
    for i in range(len(values)):
        least += np.float32(CURVATURE_FLOOR) * values[i] * values[i]
    for first in range(0, n_problems, BLOCK):
        width = min(BLOCK, n_problems - first)
        start, limits = x[first : first + width], kappas[first : first + width]
        for t in range(width):
            now[t], kappa[t] = start[t], limits[t]
        for _ in range(steps):
            slope[:] = 0
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
                slope[t] = now[t] + slope[t] / max(curvature[t], least)
                new = max(np.float32(0), slope[t])
                change += abs(new - now[t])
                size += abs(now[t])
                now[t] = new
            if change <= tolerance * size:
                break
        raw = free[first : first + width]
        for t in range(width):
            start[t], raw[t] = now[t], slope[t]
