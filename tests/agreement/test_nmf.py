"""Non-negative factorisation: the sweep against its definition, solvers against scikit-learn, CUDA against the CPU."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import tolerance
from reference.nmf import nndsvd, sweep

from gpucells.ops.nmf import nmf
from gpucells.ops.nmf_hals import sweep_factor
from gpucells.ops.nmf_rows import reconstruction_error
from gpucells.ops.nmf_start import initial_factors

# Components and items: tiles and blocks filled partly, wholly, more than one; the unrolled four and what is left of it.
SIZES = [(5, 1), (4, 64), (3, 65), (7, 150), (1, 9), (2, 0), (0, 3), (150, 90)]


def problem(n_components: int, n_items: int, dtype: Any = np.float32) -> tuple[Any, ...]:
    rng = np.random.default_rng(n_components + n_items)
    other = rng.gamma(1, 1, (n_components, 2 * n_components + 3)).astype(dtype)
    factor = (rng.gamma(1, 1, (n_components, n_items)) * (rng.random((n_components, n_items)) < 0.6)).astype(dtype)
    factor = np.pad(factor, ((0, 0), (2, 1)), constant_values=7)  # the first items are not those that are swept
    gram = other @ other.T
    if n_components > 2:
        gram[2] = gram[:, 2] = 0  # a component that has nothing
    cross = gram @ rng.gamma(1, 1, (n_components, n_items)).astype(dtype) * rng.normal(1, 0.2, (1, n_items))
    return factor, gram, cross.astype(dtype), rng.permutation(n_components)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sweeps_are_coordinate_descent_on_both_devices(cuda: Any, size: tuple[int, int], dtype: Any) -> None:
    factor, gram, cross, order = problem(*size, dtype)
    items = slice(2, 2 + size[1])
    wanted, moved = sweep(factor[:, items], gram, cross, order)
    wanted, _ = sweep(wanted, gram, cross, order)
    on_cpu, on_gpu = factor.copy(), cuda.asarray(factor)
    of_cpu = float(sweep_factor(on_cpu, gram, cross, first=2, order=order, n_sweeps=2))
    of_gpu = float(sweep_factor(on_gpu, cuda.asarray(gram), cuda.asarray(cross), first=2, order=order, n_sweeps=2))
    got = cuda.asnumpy(on_gpu)
    for result, violation in ((on_cpu, of_cpu), (got, of_gpu)):
        np.testing.assert_array_equal(result[:, [0, 1, -1]], 7)
        assert violation == pytest.approx(moved, rel=1e-4 if dtype == np.float32 else 1e-9)
        if dtype == np.float64:
            np.testing.assert_allclose(result[:, items], wanted, rtol=1e-9, atol=1e-9)
    if dtype == np.float32:
        largest = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(on_cpu[:, items], wanted, rtol=0, atol=2e-4 * largest)  # bad conditioning
        tolerance.assert_as_accurate(got[:, items], on_cpu[:, items], wanted)


def test_sanitizers_find_nothing(sanitized_cuda: Any) -> None:
    factor, gram, cross, order = problem(5, 140)
    on_gpu = sanitized_cuda.asarray(factor)
    sweep_factor(on_gpu, sanitized_cuda.asarray(gram), sanitized_cuda.asarray(cross), first=2, order=order, n_sweeps=2)
    sweep_factor(factor, gram, cross, first=2, order=order, n_sweeps=2)
    np.testing.assert_allclose(sanitized_cuda.asnumpy(on_gpu), factor, rtol=1e-3, atol=1e-4)


def matrix(dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    """Return a matrix of 6 components and noise, and factors of 8 to start from."""
    rng = np.random.default_rng(1)
    x = rng.gamma(1, 1, (90, 6)) @ rng.gamma(1, 1, (6, 70)) + 0.3 * rng.random((90, 70))
    x[3], x[:, 5] = 0, 0
    return x.astype(dtype), rng.random((90, 8)).astype(dtype), rng.random((8, 70)).astype(dtype)


SOLVERS: list[dict[str, Any]] = [
    {}, {"alpha_w": 0.01, "l1_ratio": 0.5}, {"alpha_w": 0.02, "alpha_h": 0.1, "l1_ratio": 1.0},
    {"solver": "mu"}, {"solver": "mu", "alpha_w": 0.01, "l1_ratio": 0.5},
    {"solver": "mu", "loss": "kullback-leibler"},
    {"solver": "mu", "loss": "kullback-leibler", "alpha_w": 0.01, "alpha_h": 0.02, "l1_ratio": 0.4},
]  # fmt: skip
ON_BOTH: list[dict[str, Any]] = [
    {}, {"alpha_w": 0.01, "l1_ratio": 0.5, "n_sweeps": 2, "shuffle": True}, {"solver": "mu"},
    {"solver": "mu", "loss": "kullback-leibler"},
]  # fmt: skip
THEIRS = {"hals": "cd", "alpha_w": "alpha_W", "alpha_h": "alpha_H", "loss": "beta_loss"}


def peer(n_components: int, init: str = "custom", **ours: Any) -> Any:
    decomposition = pytest.importorskip(
        "sklearn.decomposition", reason="scikit-learn is the peer; pip install gpucells[test]"
    )
    settings = {THEIRS.get(name, name): value for name, value in ours.items()}
    return decomposition.NMF(n_components, init=init, **settings)


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("tol", "most"), [(0.0, 15), (3e-2, 300)])
def test_solvers_go_the_way_of_scikit_learn(settings: dict[str, Any], tol: float, most: int) -> None:
    x, w, h = matrix()
    model = peer(8, tol=tol, max_iter=most, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        wanted = model.fit_transform(x, W=w.copy(), H=h.copy())
        transformed = model.transform(x)
    ours = nmf(x, w=w, h=h, tol=tol, max_iterations=most, **settings)
    assert (ours.n_iterations, ours.converged) == (model.n_iter_, tol > 0)
    np.testing.assert_allclose(ours.w, wanted, rtol=0, atol=1e-9 * wanted.max())
    np.testing.assert_allclose(ours.h, model.components_, rtol=0, atol=1e-9 * model.components_.max())
    loss = settings.get("loss", "frobenius")
    assert reconstruction_error(x, ours.w, ours.h, loss) == pytest.approx(model.reconstruction_err_, rel=1e-9)
    if settings.get("alpha_w") and loss != "frobenius":
        return  # scikit-learn 1.9 adds the penalty to its own sums again every iteration there
    again = nmf(x, h=model.components_, fixed_h=True, tol=tol, max_iterations=most, **settings)
    np.testing.assert_allclose(again.w, transformed, rtol=0, atol=1e-9 * transformed.max())


@pytest.mark.parametrize("n_components", [1, 6])
@pytest.mark.parametrize("start", ["nndsvd", "nndsvda", "nndsvdar"])
def test_nndsvd_is_that_of_the_whole_decomposition(start: Any, n_components: int) -> None:
    x, _, _ = matrix()
    w, h = initial_factors(x, n_components, start)
    for ours, wanted in zip((w, h), nndsvd(x, n_components), strict=True):
        lit = wanted > 1e-4 * wanted.max()  # nothing says on which side of 0 the rest fell
        np.testing.assert_allclose(ours[lit], wanted[lit], rtol=0, atol=1e-6 * wanted.max())
        rest = ours[wanted == 0]
        assert (rest == (0 if start == "nndsvd" else x.mean())).all() or (start == "nndsvdar" and (rest > 0).all())


@pytest.mark.parametrize("settings", ON_BOTH, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_both_devices_give_the_same_factors(cuda: Any, settings: dict[str, Any], dtype: Any) -> None:
    x = matrix()[0].astype(dtype)
    rules = {"n_components": 5, "max_iterations": 6, "tol": 0.0, **settings}
    on_cpu, on_gpu = nmf(x, **rules), nmf(cuda.asarray(x), **rules)
    assert on_gpu.n_iterations == on_cpu.n_iterations
    for ours, wanted in ((on_gpu.w, on_cpu.w), (on_gpu.h, on_cpu.h)):
        assert ours.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(cuda.asnumpy(ours), wanted, rtol=0, atol=2e-4 * wanted.max())
    fixed = {"h": on_cpu.h, "fixed_h": True, **settings}
    of_gpu, of_cpu = nmf(cuda.asarray(x), **fixed), nmf(x, **fixed)
    np.testing.assert_allclose(cuda.asnumpy(of_gpu.w), of_cpu.w, rtol=0, atol=2e-3 * of_cpu.w.max())
