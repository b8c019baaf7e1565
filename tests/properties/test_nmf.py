"""Non-negative factorisation: the objective never rises, and units and the order of rows do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from reference.nmf import objective

from gpucells.ops.nmf import nmf

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 15), st.integers(1, 5), st.integers(0, 10_000))
SOLVERS = st.sampled_from(["hals", "frobenius", "kullback-leibler"])


def problem(size: tuple[int, int, int, int]) -> tuple[Any, Any, Any]:
    n_rows, n_columns, n_components, seed = size
    rng = np.random.default_rng(seed)
    x = rng.gamma(0.5, 1, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.8)
    return x, rng.random((n_rows, n_components)) + 0.1, rng.random((n_components, n_columns)) + 0.1


@given(SIZES, SOLVERS, st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.05]), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_objective_never_rises(
    size: tuple[int, int, int, int], solver: str, alpha_w: float, alpha_h: float, l1_ratio: float
) -> None:
    x, w, h = problem(size)
    loss = "frobenius" if solver == "hals" else solver
    penalties = {"alpha_w": alpha_w, "alpha_h": alpha_h, "l1_ratio": l1_ratio}
    before = objective(x, w, h, loss=loss, **penalties)
    for _ in range(6):
        found = nmf(
            x, w=w, h=h, solver="hals" if solver == "hals" else "mu", loss=loss, max_iterations=1, tol=0, **penalties
        )  # type: ignore[arg-type]
        w, h = found.w, found.h
        if loss != "frobenius" and ((w @ h)[x > 0] <= 1e-6).any():
            return  # where a product vanishes a floor takes its place, and the divergence is infinite
        now = objective(x, w, h, loss=loss, **penalties)
        assert now <= before + 1e-9 * (1 + abs(before))
        before = now


@given(SIZES, st.sampled_from([1e-3, 7.0, 1e4]))
def test_units_and_the_order_of_rows_do_not_matter(size: tuple[int, int, int, int], unit: float) -> None:
    x, w, h = problem(size)
    order = np.random.default_rng(size[3]).permutation(len(x))
    found = nmf(x, w=w, h=h, max_iterations=5, tol=0)
    scaled = nmf(unit * x[order], w=unit * w[order], h=h, max_iterations=5, tol=0)
    np.testing.assert_allclose(scaled.w @ scaled.h, unit * (found.w @ found.h)[order], rtol=1e-6, atol=1e-8 * unit)
