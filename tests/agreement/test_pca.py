"""Principal components against NumPy's decomposition in double precision, on both devices and every way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError, SettingsError
from gpucells.ops import pca as module
from gpucells.ops.pca import pca


def movie(n_pixels: int, n_frames: int, n_signals: int = 6, weakest: float = 1.0) -> Any:
    """Signals, a still picture a thousand times the noise, and light that all pixels see."""
    rng = np.random.default_rng(n_pixels + n_frames)
    left, right = rng.normal(size=(n_pixels, n_signals)), rng.gamma(0.3, 1, (n_signals, n_frames))
    strength = np.geomspace(20, weakest, n_signals) * (1 + np.sqrt(n_pixels / n_frames))
    x = left / np.sqrt(n_frames) * strength @ (right / right.std(axis=1, keepdims=True)) * 2
    x += rng.normal(size=(n_pixels, n_frames)) + 1000 * rng.random((n_pixels, 1)) + 5 * rng.normal(size=n_frames)
    return x.astype(np.float32)


def wanted(x: Any, counted: Any = None) -> tuple[Any, Any, Any]:
    x = x.astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    if counted is not None:
        x[~counted] = 0
        x[counted] -= x[counted].mean(axis=0)
    else:
        x -= x.mean(axis=0)
    return np.linalg.svd(x, full_matrices=False)


def require_agreement(found: Any, x: Any, k: int, counted: Any = None) -> None:
    left, values, right = wanted(x, counted)
    images = np.asarray(found.images if isinstance(found.images, np.ndarray) else found.images.get())
    np.testing.assert_allclose(found.singular_values, values[:k], rtol=1e-4)
    for ours, theirs in ((images, left[:, :k]), (found.traces, right[:k].T)):
        apart = ours @ ours.T - theirs @ theirs.T
        assert np.linalg.norm(apart, 2) < 1e-4
        np.testing.assert_allclose(ours.T @ ours, np.eye(k), atol=1e-4)
    product = images * found.singular_values @ found.traces.T
    np.testing.assert_allclose(product, left[:, :k] * values[:k] @ right[:k], atol=1e-3 * np.abs(product).max())


@pytest.mark.parametrize("shape", [(700, 90), (90, 700), (257, 256)], ids=str)
def test_singular_values_and_projector_are_numpys(
    cuda: Any, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 40_000)
    x = movie(*shape)
    for array in (x, cuda.asarray(x)):
        before = array.copy()
        found = pca(array, 6, way="covariance")
        require_agreement(found, x, 6)
        assert type(found.images) is type(array)
        assert bool((array == before).all())
        values = wanted(x)[1] ** 2
        np.testing.assert_allclose(found.eigenvalues, values, atol=1e-5 * values[0])


@pytest.mark.parametrize("shape", [(900, 400), (300, 900)], ids=str)
def test_a_subspace_gives_the_same_signals(cuda: Any, shape: tuple[int, int]) -> None:
    x = movie(*shape, 5, 3.0)
    for array in (x, cuda.asarray(x)):
        require_agreement(pca(array, 5, way="randomised"), x, 5)


def test_blocks_and_pixels_that_do_not_count(tmp_path: Any) -> None:
    x = movie(500, 80)
    counted = np.random.default_rng(0).random(500) < 0.8
    stored = np.memmap(tmp_path / "movie", np.float32, "w+", shape=x.shape)
    stored[:] = x
    for source in (x, stored, lambda: (x[first : first + 130] for first in range(0, 500, 130))):
        found = pca(source, 6, counted=counted)
        require_agreement(found, x, 6, counted)
        assert not np.any(found.images[~counted])


def test_the_way_is_that_of_fewer_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_long(shape: tuple[int, int], k: int) -> bool:
        return module._Source(np.empty(shape, np.float32), None).is_long(k)

    assert not is_long((16384, 500), 50)
    assert is_long((16384, 8000), 50)
    assert not is_long((16384, 8000), 2000)


def test_odd_movies() -> None:
    assert pca(np.full((50, 9), 3, np.float32), 4).singular_values.shape == (0,)
    assert pca(np.ones((50, 1), np.float32), 4).images.shape == (50, 0)
    assert pca(movie(20, 15), 100).singular_values.shape == (14,)
    assert pca(movie(20, 15), lambda values: len(values) // 5).singular_values.shape == (3,)
    with pytest.raises(InputError):
        pca(np.ones((5, 9), np.float32), 2, counted=np.zeros(5, bool))
    with pytest.raises(InputError):
        pca(lambda: iter(()), 2)
    with pytest.raises(SettingsError, match="spectrum"):
        pca(movie(20, 15), len, way="randomised")
