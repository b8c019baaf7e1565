"""Deconvolution of one trace as a convex program, solved by the interior-point solver Clarabel."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def response_matrix(coefficients: Any, n: int) -> Any:
    """``G`` of s = G c."""
    return sp.diags_array([1.0, *(-np.asarray(coefficients, float))], offsets=[0, -1, -2][: 1 + len(coefficients)],
                          shape=(n, n), format="csc")  # fmt: skip


def solve_convex(
    y: Any, coefficients: Any, *, noise: float | None = None, penalty: float = 0.0, baseline: float | None = None,
    least: float = -np.inf,
) -> tuple[Any, float, float]:  # fmt: skip
    """Return c, b and sum(s): of the least penalised squares, or, given the noise, of the least sum within it.

    None within it: the least squares.
    """
    import clarabel

    n, free = len(y), baseline is None
    y = np.asarray(y, float) - (0.0 if free else baseline)
    g = response_matrix(coefficients, n)
    model = sp.hstack([sp.eye_array(n), np.ones((n, 1))]) if free else sp.eye_array(n)  # c and b to the trace
    spikes = sp.hstack([g, sp.csc_array((n, 1))]) if free else g
    weights = np.asarray(spikes.sum(axis=0)).ravel()
    rows, right, cones = [-spikes], [np.zeros(n)], [clarabel.NonnegativeConeT(n)]
    if free and np.isfinite(least):
        rows.append(sp.csc_array(([-1.0], ([0], [n])), shape=(1, n + 1)))
        right.append(np.array([-least]))
        cones.append(clarabel.NonnegativeConeT(1))
    if noise is None:  # the residual is a variable: squares of the model are singular where the baseline is free
        n_model = model.shape[1]
        quadratic = sp.block_diag([sp.csc_array((n_model, n_model)), sp.eye_array(n)])
        linear = np.concatenate([penalty * weights, np.zeros(n)])
        rows = [sp.hstack([row, sp.csc_array((row.shape[0], n))]) for row in rows]
        rows.append(sp.hstack([model, sp.eye_array(n)]))
        right.append(y)
        cones.append(clarabel.ZeroConeT(n))
    else:
        quadratic, linear = sp.csc_array((model.shape[1], model.shape[1])), weights
        rows += [sp.csc_array((1, model.shape[1])), model]
        right += [np.array([noise * np.sqrt(n)]), y]
        cones.append(clarabel.SecondOrderConeT(n + 1))
    for tolerance in (1e-10, 1e-9, 1e-8):  # the solver's own error in c is about the square root of it
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
        solver = clarabel.DefaultSolver(
            sp.csc_matrix(sp.triu(quadratic)), np.asarray(linear), sp.csc_matrix(sp.vstack(rows)),
            np.concatenate(right), cones, settings,
        )  # fmt: skip
        found = solver.solve()
        if noise is not None and "Infeasible" in str(found.status):
            return solve_convex(y + (0.0 if free else baseline), coefficients, baseline=baseline, least=least)
        if str(found.status) == "Solved":
            break
    assert str(found.status) == "Solved", found.status
    x = np.asarray(found.x)
    return x[:n], float(x[n]) if free else float(baseline), float((g @ x[:n]).sum())
