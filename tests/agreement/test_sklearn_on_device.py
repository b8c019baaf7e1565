"""The estimators on arrays of a GPU: what the CPU finds, results there, and no data on the host on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpucells.errors import InputError, SettingsError

pytest.importorskip("sklearn", reason="gpucells.compat.sklearn needs scikit-learn: pip install gpucells[sklearn]")
from gpucells.compat import sklearn as compat

FITS: list[tuple[str, dict[str, Any]]] = [
    ("NMF", {"init": "random"}), ("NMF", {"solver": "mu", "alpha_W": 0.01, "l1_ratio": 0.5}),
    ("NMF", {"solver": "mu", "beta_loss": "kullback-leibler", "init": "random"}),
    ("FastICA", {"max_iter": 30}), ("FastICA", {"fun": "exp", "whiten_solver": "eigh"}),
    ("FastICA", {"fun": "cube", "whiten": "arbitrary-variance"}),
    ("PCA", {"svd_solver": "randomized"}),
    ("PCA", {"svd_solver": "randomized", "n_oversamples": 2, "iterated_power": 3}),
    ("PCA", {"svd_solver": "covariance_eigh", "whiten": True}), ("PCA", {"svd_solver": "full"}), ("PCA", {}),
]  # fmt: skip
FITTED = ("components_", "mixing_", "mean_", "whitening_", "explained_variance_", "singular_values_")


def movie(dtype: Any = np.float32) -> np.ndarray:
    """Four sparse sources over 700 frames of 60 pixels, and a little noise."""
    rng = np.random.default_rng(0)
    traces = rng.exponential(1, (700, 4)) * (rng.random((700, 4)) < 0.2)
    x = traces @ rng.gamma(0.5, 1, (4, 60)) + 0.05 * rng.random((700, 60))
    return x.astype(dtype)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Return a function that watches a stand-in's copies to the host, and returns the list of their bytes."""

    def watch(cupy: Any) -> list[int]:
        sizes: list[int] = []
        get = cupy.ndarray.get

        def seen(array: Any, *args: Any, **keys: Any) -> Any:
            sizes.append(int(array.nbytes))
            return get(array, *args, **keys)

        monkeypatch.setattr(cupy.ndarray, "get", seen)
        return sizes

    return watch


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "settings"), FITS, ids=str)
def test_results_are_the_cpus_and_stay_there(stand_in: Any, copied: Any, name: str, settings: dict[str, Any]) -> None:
    x = movie()
    wanted = getattr(compat, name)(4, random_state=0, **settings)
    of_cpu = wanted.fit_transform(x)
    again_on_cpu = wanted.transform(x)
    with stand_in(order=2, vram_bytes=64 << 20) as cupy:
        on_gpu, model = cupy.asarray(x), getattr(compat, name)(4, random_state=0, **settings)
        sizes = copied(cupy)
        found = model.fit_transform(on_gpu)
        again, back = model.transform(on_gpu), model.inverse_transform(found)
        # Square matrices of features are the most that may cross; what has a row for each frame may not.
        assert max(sizes) <= 60 * 60 * 8 < found.nbytes * 3
        assert not [size for size in sizes if size in (x.nbytes, found.nbytes, 2 * found.nbytes)]
        for there in (found, again, back, *(getattr(model, key) for key in FITTED if hasattr(model, key))):
            assert isinstance(there, cupy.ndarray)
            assert there.dtype == np.float32
        atol = 5e-3 * np.abs(of_cpu).max()
        np.testing.assert_allclose(cupy.asnumpy(found), of_cpu, rtol=0, atol=atol)
        np.testing.assert_allclose(cupy.asnumpy(again), again_on_cpu, rtol=0, atol=atol)
        np.testing.assert_allclose(cupy.asnumpy(back), wanted.inverse_transform(of_cpu), rtol=0, atol=atol)
        assert model.n_features_in_ == 60
        elsewhere = model.transform(x)  # a model goes where the data are
        assert isinstance(elsewhere, np.ndarray)
        np.testing.assert_allclose(elsewhere, again_on_cpu, rtol=0, atol=atol)
        assert isinstance(wanted.transform(on_gpu), cupy.ndarray)


def test_what_cannot_be_is_refused_there(stand_in: Any) -> None:
    with stand_in(vram_bytes=64 << 20) as cupy, warnings.catch_warnings():
        warnings.simplefilter("error")
        x = movie()
        bad = x.copy()
        bad[3, 4] = np.nan
        for data, words in ((bad, "NaN"), (x[0], "2D"), (x[:0], "sample")):
            for name in ("NMF", "FastICA", "PCA"):
                with pytest.raises(InputError, match=words):
                    getattr(compat, name)(2).fit(cupy.asarray(data))
        with pytest.raises(InputError, match="Negative"):
            compat.NMF(2).fit(cupy.asarray(-x))
        for model in (compat.FastICA(2, algorithm="deflation"), compat.PCA(0.9), compat.PCA(2, svd_solver="arpack")):
            with pytest.raises(SettingsError, match="does not take CuPy arrays"):
                model.fit(cupy.asarray(x))
        model = compat.PCA(2, svd_solver="covariance_eigh").fit(cupy.asarray(np.round(9 * x).astype(np.uint8)))
        assert model.components_.dtype == np.float64
        with pytest.raises(InputError, match="X has 59 features, but PCA is expecting 60"):
            model.transform(cupy.asarray(x[:, 1:]))
