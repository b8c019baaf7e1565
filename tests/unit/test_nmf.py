"""Non-negative factorisation: edges, errors, blocks, the memory it takes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError, SettingsError
from gpucells.ops import nmf_rows
from gpucells.ops.nmf import nmf
from gpucells.ops.nmf_rows import reconstruction_error

EVERY = [{}, {"solver": "mu"}, {"solver": "mu", "loss": "kullback-leibler"}]


def matrix(n_rows: int = 40, n_columns: int = 30, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.gamma(1, 1, (n_rows, 4)) @ rng.gamma(1, 1, (4, n_columns))


@pytest.mark.parametrize("settings", EVERY, ids=str)
@pytest.mark.parametrize("start", ["random", "nndsvd", "nndsvda", "nndsvdar", None])
def test_planted_factors_explain_the_matrix(start: Any, settings: dict[str, Any]) -> None:
    x = matrix()
    found = nmf(x, 4, start=start, max_iterations=1000, tol=1e-6, **settings)
    assert found.w.shape == (40, 4)
    assert found.h.shape == (4, 30)
    assert min(found.w.min(), found.h.min()) >= 0
    if start == "nndsvd" and settings:
        return  # zeros stay zeros there
    assert reconstruction_error(x, found.w, found.h) < 0.03 * np.linalg.norm(x)


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_blocks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    x = matrix(90)
    rules = {"start": "random", "max_iterations": 12, "alpha_w": 0.01, "l1_ratio": 0.5, **settings}
    whole = nmf(x, 5, **rules)
    monkeypatch.setattr(nmf_rows, "BLOCK_BYTES", 1)
    monkeypatch.setattr(nmf_rows, "THREADS_BLOCK_BYTES", 1)
    monkeypatch.setattr(nmf_rows, "FEWEST_ROWS", 7)
    np.testing.assert_allclose(nmf(x, 5, **rules).w, whole.w, rtol=1e-6, atol=1e-8)
    assert nmf_rows.reconstruction_error(x, whole.w, whole.h) == pytest.approx(np.linalg.norm(x - whole.w @ whole.h))


def test_any_layout_and_type_gives_the_same() -> None:
    x = np.round(10 * matrix()).astype(np.uint16)
    wanted = nmf(x.astype(np.float32), 3, max_iterations=5)
    for same in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(nmf(same, 3, max_iterations=5).w, wanted.w, rtol=1e-3, atol=1e-4)
    assert wanted.w.dtype == np.float32
    assert nmf(x.astype(np.float64), 3, max_iterations=1).w.dtype == np.float64


def test_the_same_seed_gives_the_same_and_given_factors_are_left_alone() -> None:
    x = matrix()
    first, again, other = (nmf(x, 4, start="random", shuffle=True, seed=seed, max_iterations=5) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.w, again.w)
    assert not np.array_equal(first.w, other.w)
    w, h = np.ones((40, 2)), np.ones((2, 30))
    nmf(x, w=w, h=h, max_iterations=3)
    assert (w == 1).all()
    assert (h == 1).all()


def test_more_sweeps_a_pass_get_further() -> None:
    x = matrix(seed=2) + np.random.default_rng(0).random((40, 30))
    errors = []
    for n_sweeps in (1, 4):
        found = nmf(x, 4, start="random", max_iterations=5, tol=0, n_sweeps=n_sweeps)
        errors.append(reconstruction_error(x, found.w, found.h))
    assert errors[1] < errors[0]


def test_a_penalty_makes_zeros() -> None:
    x = matrix()
    dense, sparse = (nmf(x, 4, start="random", alpha_w=alpha, l1_ratio=1.0).w for alpha in (0.0, 0.3))
    assert (sparse == 0).mean() > (dense == 0).mean() + 0.1


@pytest.mark.parametrize("settings", EVERY, ids=str)
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 6), (6, 1)])
def test_small_matrices(shape: tuple[int, int], settings: dict[str, Any]) -> None:
    for x in (np.zeros(shape), np.full(shape, 2.0)):
        for n_components in (0, 1, 2):
            found = nmf(x, n_components, **settings)
            assert found.w.shape == (shape[0], n_components)
            assert found.h.shape == (n_components, shape[1])
            assert np.isfinite(found.w).all()
            assert np.isfinite(found.h).all()
            if n_components == 1:
                np.testing.assert_allclose(found.w @ found.h, x, atol=1e-3)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_values_that_cannot_be_are_refused(bad: float) -> None:
    x = matrix()
    x[5, 6] = bad
    with pytest.raises(InputError, match="finite and not negative"):
        nmf(x, 2)
    with pytest.raises(InputError, match="h has values"):
        nmf(matrix(), w=np.ones((40, 2)), h=np.full((2, 30), bad))


@pytest.mark.parametrize(
    "settings",
    [{"solver": "cd"}, {"loss": "itakura"}, {"loss": "kullback-leibler"}, {"start": "svd"}, {"l1_ratio": 2.0},
     {"max_iterations": 0}, {"n_components": 31, "start": "nndsvd"}, {"n_components": -1}, {"fixed_h": True},
     {"w": np.ones((40, 2))}, {"h": np.ones((2, 30))}],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        nmf(matrix(), **settings)


@pytest.mark.parametrize(("w", "h"), [((40, 2), (2, 29)), ((40, 3), (2, 30)), ((39, 2), (2, 30))])
def test_factors_that_do_not_fit_are_refused(w: tuple[int, int], h: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="is wanted"):
        nmf(matrix(), w=np.ones(w), h=np.ones(h))
    with pytest.raises(InputError, match="axes"):
        nmf(np.ones(4), 2)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_no_second_copy_of_the_matrix_is_made(monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    monkeypatch.setattr(nmf_rows, "BLOCK_BYTES", 2**18)
    x = np.full((4000, 500), 3, dtype)
    nmf(x[:300], 3, max_iterations=1)  # compiled
    tracemalloc.start()
    try:
        nmf(x, 3, max_iterations=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * x.size * 2
