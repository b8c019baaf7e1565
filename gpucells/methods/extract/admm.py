r"""The original's first-order solver, kept for comparison: robust regression of every row on all components at once.

Rows of data :math:`B` (n_rows x n_samples) are regressed on components :math:`A` (n_components x n_samples):

.. math:: \min_X \sum_{ij} \rho_{\kappa_{ij}}\big((B - XA)_{ij}\big)
          + \sum_{ic} \bar\kappa_i \lambda_c X_{ic}, \quad X \ge 0 \text{ and } X = 0 \text{ outside a mask}

with the one-sided Huber loss :math:`\rho` (Inan, Erdogdu & Schnitzer 2017; EXTRACT 1.3). The T-step has frames as rows
and footprints as components; the S-step has pixels as rows and traces as components. Data above the model by more
than kappa are replaced by model + kappa and least squares is solved again, one such step per step of ADMM:

.. math::
    X &\leftarrow \min(B, XA + \kappa) P - \bar\kappa\lambda Q + \rho (Z - U) Q, \quad
    Q = (AA^T + \rho I)^{-1},\ P = A^T Q \\
    Z &\leftarrow \max(X + U, \text{bound}) \odot \text{mask}, \qquad U \leftarrow U + X - Z

with :math:`\rho = \sqrt{\lambda_{min} \lambda_{max}}` of :math:`AA^T` and components scaled to unit norm. The original
has seven copies of this; here they are choices:

=========================== ======================= ===================
original                    ``constraint``          ``adaptive``
=========================== ======================= ===================
fp_solve                    none                    none (then rho = 0)
fp_solve_admm               nonnegative             none
fp_solve_adaptive           nonnegative             components
fp_solve_adaptive_filter    nonnegative             rows
fp_solve_adaptive_raw       none                    components
fp_solve_admm_baseline      baseline                none
fp_solve_adaptive_baseline  baseline                components
=========================== ======================= ===================

Where we differ: the L1 penalty acts in all of them (the original multiplies it by zero in the adaptive ones, and
applies it once, after the last step, in fp_solve). The fast solver is in :mod:`gpucells.ops.robust_traces`.

Written against the arrays' own namespace: NumPy or CuPy, dense blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import array_api_compat

from gpucells.errors import InputError, SettingsError
from gpucells.methods.extract.adaptive_kappa import START_K, KappaEstimate, estimate_kappa

Constraint = Literal["nonnegative", "baseline", "bound", "none"]
Adaptive = Literal["components", "rows"]

REESTIMATE_AT = (0.5, 0.7, 0.9)  # shares of the iterations at which kappa is estimated anew, the original's
SMALLEST_NORM = 1e-8  # of a component, so that an empty one stays finite
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 1e-6, 1e-3  # of the stop test (Boyd et al. 2011, section 3.3)


@dataclass(frozen=True)
class Solution:
    """What the iteration found.

    Parameters
    ----------
    coefficients : array
        ``(n_rows, n_components)``.
    losses : list of float
        Sum of loss / kappa after each iteration, at the first kappa; empty unless tracked.
    n_iterations : int
        Iterations that were run.
    epsilon : array or None
        Last estimate of the contamination, ``(n_rows, n_components)`` (adaptive "components") or
        ``(n_samples, n_components)`` ("rows").
    """

    coefficients: Any
    losses: list[float]
    n_iterations: int
    epsilon: Any = None


def solve_admm(
    data: Any,
    components: Any,
    start: Any,
    kappa: float,
    *,
    constraint: Constraint = "nonnegative",
    lower: Any = None,
    adaptive: Adaptive | None = None,
    penalty: Any = None,
    mask: Any = None,
    n_iterations: int = 100,
    reestimate_at: tuple[float, ...] = REESTIMATE_AT,
    baseline_quantile: float = 0.25,
    baseline_every_step: bool = False,
    stop_early: bool = True,
    track_loss: bool = False,
) -> Solution:
    """Regress every row of the data on the components, robustly.

    Parameters
    ----------
    data : array
        ``(n_rows, n_samples)``: frames x pixels (T-step) or pixels x frames (S-step).
    components : array
        ``(n_components, n_samples)``: footprints, or traces.
    start : array
        ``(n_rows, n_components)`` coefficients to start from.
    kappa : float
        Threshold of the loss, in the data's units. Adaptive kappa starts from .6361 times this, as in the original,
        where the noise would be meant.
    constraint : {"nonnegative", "baseline", "bound", "none"}
        Lower bound of the coefficients: 0; the smaller of 0 and a quantile of each component's own; ``lower``; nothing.
    lower : array, optional
        ``(n_components,)`` the bounds of ``constraint="bound"``, which is not the original's; ``-inf`` for none.
    adaptive : {"components", "rows"}, optional
        Estimate kappa for every row and sample from the contamination around each component at each row, or around
        each component at each sample; see :mod:`gpucells.methods.extract.adaptive_kappa`. One fixed kappa where not
        given.
    penalty : array, optional
        ``(n_components,)`` lambda of the L1 penalty.
    mask : array, optional
        ``(n_rows, n_components)`` of 0 and 1: where coefficients may differ from 0.
    n_iterations : int
        100 in the original.
    reestimate_at : tuple of float
        Shares of the iterations at which kappa is estimated anew.
    baseline_quantile : float
        Of the ridge solution's coefficients, for ``constraint="baseline"``.
    baseline_every_step : bool
        Take that quantile from the current coefficients at every step.
    stop_early : bool
        Test for convergence from half of the iterations on; an adaptive run then goes on to its next estimate.
    track_loss : bool
        Keep the loss of every iteration.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        Shapes that do not fit each other.
    SettingsError
        An unknown constraint, or a kappa that is not positive.
    """
    _check(data, components, start, kappa, constraint)
    xp = array_api_compat.array_namespace(data, components, start)
    norm = xp.maximum(xp.sqrt(xp.sum(components**2, axis=1)), xp.asarray(SMALLEST_NORM, dtype=components.dtype))
    components = components / norm[:, None]
    penalty = None if penalty is None else penalty / norm
    solver = _Iteration(xp, data, components, penalty, mask, constraint, plain=constraint == "none" and not adaptive)
    solver.begin(start * norm, float(kappa) * (START_K if adaptive else 1))
    if constraint == "bound":
        solver.bound = (lower * norm)[None, :]
    solver.baseline_quantile, solver.baseline_every_step = baseline_quantile, baseline_every_step
    rounds = sorted({math.floor(share * n_iterations + 0.5) for share in reestimate_at}) if adaptive else []
    losses: list[float] = []
    estimate: KappaEstimate | None = None
    step = done = 0
    while step < n_iterations:
        step += 1
        done += 1
        if adaptive and step in rounds:
            estimate = estimate_kappa(data - solver.x @ components, components, solver.z, adaptive, estimate)
            solver.kappa = estimate.kappa
        solver.step()
        if track_loss:
            losses.append(robust_loss(data - solver.z @ components, kappa))
        if stop_early and 2 * step >= n_iterations and solver.has_converged():
            later = [when for when in rounds if when > step]
            if not later:
                break
            step = later[0] - 1
    return Solution(solver.z / norm, losses, done, estimate.epsilon if estimate else None)


def robust_loss(residual: Any, kappa: Any) -> float:
    """Return the sum over all samples of the one-sided Huber loss divided by kappa.

    Parameters
    ----------
    residual : array
        Data minus model.
    kappa : float or array
        Threshold, one or of the residual's shape.
    """
    xp = array_api_compat.array_namespace(residual)
    return float(xp.sum(xp.where(residual < kappa, residual**2 / (2 * kappa), residual - kappa / 2)))


class _Iteration:
    """The state of the iteration, and one step of it."""

    baseline_quantile = 0.25
    baseline_every_step = False

    def __init__(
        self, xp: Any, data: Any, components: Any, penalty: Any, mask: Any, constraint: Constraint, plain: bool
    ) -> None:
        self.xp, self.data, self.components = xp, data, components
        self.penalty, self.mask, self.constraint = penalty, mask, constraint
        gram = components @ components.T
        n_components = components.shape[0]
        values = xp.linalg.eigvalsh(gram)
        largest = float(values[-1])
        smallest = max(float(values[0]), 3 * largest / n_components)
        # Without a constraint nothing is split, and rho is only a guard against components that are copies.
        self.rho = 1e-7 * largest if plain else math.sqrt(smallest * largest)
        eye = xp.eye(n_components, dtype=components.dtype, device=array_api_compat.device(components))
        self.inverse = xp.linalg.inv(gram + self.rho * eye)
        self.projection = components.T @ self.inverse
        self.plain = plain
        self.bound: Any = None

    def begin(self, x: Any, kappa: Any) -> None:
        self.x = self.z = self.z_before = x
        self.u = self.xp.zeros_like(x)
        self.kappa = kappa

    def step(self) -> None:
        xp = self.xp
        self.z_before = self.z
        x = xp.minimum(self.data, self.x @ self.components + self.kappa) @ self.projection
        if self.penalty is not None:
            x -= self._kappa_of_rows() * (self.penalty[None, :] @ self.inverse)
        if not self.plain:
            x += self.rho * ((self.z - self.u) @ self.inverse)
        self.x = x
        z = x + self.u
        if self.constraint != "none":
            z = xp.maximum(z, self._lower_bound(z))
        if self.mask is not None:
            z = z * self.mask
        self.z = z
        self.u = self.u + x - z

    def has_converged(self) -> bool:
        norm = self.xp.linalg.vector_norm
        floor = ABSOLUTE_TOLERANCE * math.sqrt(math.prod(self.x.shape))
        primal = floor + RELATIVE_TOLERANCE * max(float(norm(self.x)), float(norm(self.z)))
        dual = floor + RELATIVE_TOLERANCE * self.rho * float(norm(self.u))
        return float(norm(self.x - self.z)) < primal and self.rho * float(norm(self.z - self.z_before)) < dual

    def _kappa_of_rows(self) -> Any:
        return self.kappa if isinstance(self.kappa, float) else self.xp.mean(self.kappa, axis=1)[:, None]

    def _lower_bound(self, z: Any) -> Any:
        zero = self.xp.zeros_like(z[:1, :])
        if self.constraint == "nonnegative":
            return zero
        if self.constraint == "bound":
            return self.bound
        if self.bound is None or self.baseline_every_step:
            from_what = z if self.baseline_every_step else self.data @ self.projection
            self.bound = self.xp.minimum(zero, _quantile(self.xp, from_what, self.baseline_quantile))
        return self.bound


def _quantile(xp: Any, values: Any, quantile: float) -> Any:
    """Return the quantile of every column by MATLAB's rule: the i-th of n sorted values is the (i - .5)/n quantile."""
    ordered = xp.sort(values, axis=0)
    n_rows = ordered.shape[0]
    position = min(max(quantile * n_rows - 0.5, 0.0), n_rows - 1.0)
    low = min(int(position), max(n_rows - 2, 0))
    part = position - low
    high = min(low + 1, n_rows - 1)
    return (1 - part) * ordered[low, :][None, :] + part * ordered[high, :][None, :]


def _check(data: Any, components: Any, start: Any, kappa: float, constraint: str) -> None:
    wanted = (data.shape[0], components.shape[0])
    if data.ndim != 2 or components.ndim != 2 or data.shape[1] != components.shape[1] or tuple(start.shape) != wanted:
        raise InputError(
            f"data {data.shape}, components {components.shape} and start {start.shape} do not fit",
            "(n_rows, n_samples), (n_components, n_samples), (n_rows, n_components)",
        )
    if constraint not in get_args(Constraint):
        raise SettingsError(f"constraint = {constraint!r} is unknown", f"use one of {get_args(Constraint)}")
    if not kappa > 0:
        raise SettingsError(f"kappa = {kappa}", "it must be above 0")
