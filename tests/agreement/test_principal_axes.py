"""Principal axes of samples against NumPy's decomposition in double precision, on both devices and every way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError, SettingsError
from gpucells.ops import nmf_rows, principal_axes
from gpucells.ops.principal_axes import onto_axes

find = principal_axes.principal_axes


def samples(n: int, m: int, *, weakest: float = 1.0, level: float = 0.0, n_signals: int = 5) -> Any:
    """Signals in noise of variance 1, far from 0."""
    rng = np.random.default_rng(n + m)
    strength = np.geomspace(20, weakest, n_signals) * 2
    signals = rng.normal(size=(n, n_signals)) * strength @ rng.normal(size=(n_signals, m)) / np.sqrt(m)
    return signals + rng.normal(size=(n, m)) / 10 + level


def require_agreement(found: Any, x: Any, k: int, rtol: float) -> None:
    """Compare with the decomposition of the matrix as it is, in double precision."""
    x = x.astype(np.float64)
    _, values, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    ours, mean = (a if isinstance(a, np.ndarray) else a.get() for a in (found.axes, found.mean))
    np.testing.assert_allclose(found.singular_values, values[:k], rtol=rtol)
    np.testing.assert_allclose(np.abs((ours * axes[:k]).sum(axis=1)), 1, atol=10 * rtol)
    np.testing.assert_allclose(ours @ ours.T, np.eye(k), atol=1e-5 if ours.dtype == np.float32 else 1e-9)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-6, atol=1e-6)
    assert found.sum_of_squares == pytest.approx((values**2).sum(), rel=1e-5)
    assert (np.take_along_axis(ours, np.abs(ours).argmax(axis=1)[:, None], axis=1) > 0).all()


@pytest.mark.parametrize("shape", [(700, 90), (90, 700), (257, 256)], ids=str)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 2e-5), (np.float64, 1e-9)])
def test_axes_are_numpys_on_both_devices(
    cuda: Any, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], dtype: Any, rtol: float
) -> None:
    monkeypatch.setattr(nmf_rows, "BLOCK_BYTES", 1)  # several blocks of the least length
    monkeypatch.setattr(nmf_rows, "DEVICE_BLOCK_BYTES", 1)
    monkeypatch.setattr(principal_axes, "COLUMNS_BYTES", 20_000)
    x = samples(*shape, level=100.0).astype(dtype)
    for array in (x, cuda.asarray(x)):
        found = find(array, 5)
        require_agreement(found, x, 5, rtol)
        assert type(found.axes) is type(array)
        assert found.axes.dtype == dtype


def test_readings_of_a_large_matrix_give_the_same_axes(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = samples(700, 600).astype(np.float32)
    made: list[Any] = []
    times = principal_axes._Products.times
    monkeypatch.setattr(
        principal_axes._Products, "times", lambda self, on=None: made.append(on) or times(self, on)
    )  # fmt: skip
    for array in (x, cuda.asarray(x)):
        made.clear()
        require_agreement(find(array, 5, way="fast"), x, 5, 2e-5)
        assert len(made) == principal_axes.READINGS
        assert all(directions is not None for directions in made), "the matrix of products is not to be made"


@pytest.mark.parametrize(("shape", "k", "weakest"), [((900, 600), 20, 1.0), ((1200, 800), 10, 0.2)])
def test_they_capture_more_than_seven_power_iterations(shape: tuple[int, int], k: int, weakest: float) -> None:
    extmath = pytest.importorskip("sklearn.utils.extmath", reason="scikit-learn is the peer")
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) * np.geomspace(3, weakest, shape[1])  # no gap anywhere
    x -= x.mean(axis=0)
    _, theirs, _ = extmath.randomized_svd(x, k, n_iter=7, random_state=0)
    assert (find(x, k, way="fast").singular_values ** 2).sum() > (theirs**2).sum()


@pytest.mark.parametrize("shape", [(300, 60), (60, 300)], ids=str)
def test_little_variance_beside_much_is_found(shape: tuple[int, int]) -> None:
    """In float32 products a variance of 1e-8 of the largest is lost; it must not be, nor that of 1e-22 in float64."""
    rng = np.random.default_rng(0)
    n = min(shape)
    left, right = (np.linalg.qr(rng.normal(size=(side, n)))[0] for side in shape)
    left -= left.mean(axis=0)
    left = np.linalg.qr(left)[0]
    for dtype, smallest, rtol in ((np.float32, 1e-4, 1e-2), (np.float64, 1e-11, 1e-3)):
        values = np.geomspace(1, smallest, 4)
        x = (left[:, :4] * values @ right[:, :4].T).astype(dtype)
        np.testing.assert_allclose(find(x, 4).singular_values, values, rtol=rtol)


def test_odd_matrices() -> None:
    assert find(np.ones((9, 4)), 0).axes.shape == (0, 4)
    still = find(np.full((9, 4), 3.0), 2)
    assert still.sum_of_squares == 0
    np.testing.assert_allclose(still.axes @ still.axes.T, np.eye(2), atol=1e-12)
    require_agreement(
        find(np.arange(12, dtype=np.uint8).reshape(6, 2) ** 2, 1), (np.arange(12.0) ** 2).reshape(6, 2), 1, 1e-5
    )
    assert find(np.ones((1, 4)), 1).axes.shape == (1, 4)
    for bad, k, error in (((0, 3), 0, InputError), ((3,), 1, InputError), ((5, 3), 4, SettingsError)):
        with pytest.raises(error):
            find(np.ones(bad), k)


def test_coordinates(cuda: Any) -> None:
    x = samples(300, 20, level=50.0)
    found = find(x, 3)
    wanted = (x - x.mean(axis=0)) @ found.axes.T
    np.testing.assert_allclose(onto_axes(x, found.mean, found.axes), wanted, atol=1e-9)
    on_gpu = onto_axes(*(cuda.asarray(a) for a in (x, found.mean, found.axes)))
    np.testing.assert_allclose(cuda.asnumpy(on_gpu), wanted, atol=1e-9)
    np.testing.assert_allclose(onto_axes(x, None, found.axes), x @ found.axes.T)
