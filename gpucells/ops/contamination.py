r"""How much a robust loss should distrust bright residuals.

Model (Inan, Erdogdu & Schnitzer 2017, NIPS): a share :math:`\varepsilon` of the samples carries positive contamination
of any shape on top of Gaussian noise of standard deviation :math:`\sigma`. The minimax estimator for that class is
least squares for residuals below :math:`\kappa = k\sigma` and linear above, with

.. math:: \frac{1}{1-\varepsilon} = \frac{\varphi(k)}{k} + \Phi(k),

:math:`\varphi, \Phi` the standard normal density and distribution. Everything here works on a number or on an array of
any array library (NumPy, CuPy), element by element.

Where we differ from the original: it has k(epsilon) as a two-term fit, which turns negative above epsilon = .988 and
is 9 % too large at epsilon = .001; :func:`k_from_epsilon` inverts the relation itself and keeps the fit as
``relation="fit"``.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import array_api_compat

from gpucells.errors import SettingsError

SMALLEST_EPSILON = 1e-6  # k = 4.1: beyond it the loss is least squares to single precision
LARGEST_EPSILON = 1 - 1e-6
ESTIMATE_RANGE = (0.001, 0.99)  # the original's bounds of an estimated epsilon
ESTIMATE_STEPS = ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9))  # the original rounds estimates inside these up to their end
NEWTON_STEPS = 4  # 4e-7 after 3 and 3e-14 after 4, over the whole range

Relation = Literal["exact", "fit"]


def normal_density(x: Any) -> Any:
    """Return the standard normal density at ``x`` (array or number), same shape and type."""
    xp = _namespace(x)
    return xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def normal_distribution(x: Any) -> Any:
    """Return the standard normal distribution function at ``x`` (array or number), same shape and type."""
    if array_api_compat.is_cupy_array(x):
        from cupyx.scipy.special import ndtr
    else:
        from scipy.special import ndtr
    return ndtr(x)


def epsilon_from_k(k: Any) -> Any:
    """Return the share of contaminated samples for which the threshold ``k`` is the minimax choice.

    Parameters
    ----------
    k : float or array
        Threshold in units of the noise, above 0.

    Returns
    -------
    float or array
        In (0, 1); .17 at the original's default k = .7.
    """
    excess = normal_density(k) / k - normal_distribution(-k)
    return excess / (1 + excess)


def k_from_epsilon(epsilon: Any, relation: Relation = "exact") -> Any:
    """Return the minimax threshold, in units of the noise, for a share of contaminated samples.

    Parameters
    ----------
    epsilon : float or array
        Share of contaminated samples. The exact relation clips it to 1e-6 … 1 - 1e-6 (k = 4.12 … 4e-7).
    relation : {"exact", "fit"}
        ``"fit"`` is the original's -.3775 ln(epsilon) - .0597 epsilon + .0544.

    Returns
    -------
    float or array
        Positive for ``"exact"``; the fit is negative above epsilon = .988.
    """
    xp = _namespace(epsilon)
    if relation == "fit":
        return -0.3775 * xp.log(epsilon) - 0.0597 * epsilon + 0.0544
    if relation != "exact":
        raise SettingsError(f"relation = {relation!r} is unknown", "use 'exact' or 'fit'")
    epsilon = _clip(xp, epsilon, SMALLEST_EPSILON, LARGEST_EPSILON)
    target = xp.log(epsilon)
    # Both starts are cheap and within 20 %: the relation's limit for epsilon near 1, the fit elsewhere.
    near_one = (1 - epsilon) / math.sqrt(2 * math.pi) / (0.5 + 0.5 * epsilon)
    k = _maximum(xp, near_one, -0.3775 * target - 0.0597 * epsilon + 0.0544)
    for _ in range(NEWTON_STEPS):
        # Newton on log epsilon(k), which is smooth and monotone; on epsilon itself the tail would overshoot.
        density = normal_density(k) / k
        excess = density - normal_distribution(-k)
        slope = -density / k / ((1 + excess) * excess)
        k = _maximum(xp, k - (xp.log(excess / (1 + excess)) - target) / slope, 0.3 * k)
    return k


def bias_bound(k: Any) -> Any:
    """Return how far below the truth a robust estimate of clean data can lie, in units of the noise.

    Parameters
    ----------
    k : float or array
        Threshold in units of the noise.

    Returns
    -------
    float or array
        2 (phi(k) + k Phi(k) - k) / Phi(k): .377 at k = .7, .198 at k = 1.
    """
    return 2 * (normal_density(k) - k * normal_distribution(-k)) / normal_distribution(k)


def estimate_epsilon(positive_fraction: Any, k: Any, mixing: Any = 0.05, in_steps: bool = True) -> Any:
    r"""Estimate the share of contaminated samples from how many residuals are positive.

    With clean data fitted at threshold ``k`` the share of negative residuals is known; what is missing from it is
    contamination. With :math:`\varepsilon_0 = \varepsilon(k)`, :math:`d` the positive fraction and :math:`\alpha` the
    mixing,

    .. math:: \hat\varepsilon = \varepsilon_0 - \frac{(1 + \varepsilon_0)/2 - d}
              {1/2 - \alpha\varphi(0)(\varphi(k)/\Phi(k) + k)}.

    Parameters
    ----------
    positive_fraction : float or array
        Weighted fraction of residuals above 0.
    k : float or array
        Threshold with which the residuals were made.
    mixing : float or array
        How much a sample's own residual moves the fit; the original's .05.
    in_steps : bool
        Round estimates between .3 and .9 up to .5, .7 or .9, as the original does.

    Returns
    -------
    float or array
        Between .001 and .99 (the original's bounds).
    """
    xp = _namespace(positive_fraction, k)
    prior = epsilon_from_k(k)
    move = 0.5 - mixing / math.sqrt(2 * math.pi) * (normal_density(k) / normal_distribution(k) + k)
    epsilon = _clip(xp, prior - (0.5 * (1 + prior) - positive_fraction) / move, *ESTIMATE_RANGE)
    for low, high in ESTIMATE_STEPS if in_steps else ():
        epsilon = xp.where((epsilon > low) & (epsilon < high), xp.asarray(high, dtype=epsilon.dtype), epsilon)
    return epsilon


def _namespace(*values: Any) -> Any:
    arrays = [value for value in values if array_api_compat.is_array_api_obj(value)]
    if arrays:
        return array_api_compat.array_namespace(*arrays)
    import array_api_compat.numpy as numpy_namespace

    return numpy_namespace


def _clip(xp: Any, value: Any, low: float, high: float) -> Any:
    return xp.clip(xp.asarray(value), low, high)


def _maximum(xp: Any, a: Any, b: Any) -> Any:
    return xp.where(a > b, a, b)
