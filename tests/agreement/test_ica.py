"""Independent components: rounds against their definition, solvers against scikit-learn, CUDA against the CPU."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import tolerance
from reference.ica import converged, raised, white

from gpucells.ops import ica
from gpucells.ops.ica import fixed_point_ica, orthonormalised
from gpucells.ops.picard import picard_ica

CONTRASTS = ("skew", "tanh", "cube", "gauss")


def data(n_sources: int = 5, n_noise: int = 3, n_samples: int = 3000, dtype: Any = np.float32) -> Any:
    return white(np.random.default_rng(n_samples), n_sources, n_noise, n_samples).astype(dtype)


@pytest.mark.parametrize("size", [(5, 3, 3000), (1, 0, 300), (2, 1, 257), (3, 4, 70)], ids=str)
@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_round_is_its_definition_on_both_devices(
    cuda: Any, monkeypatch: pytest.MonkeyPatch, size: Any, contrast: Any, dtype: Any
) -> None:
    monkeypatch.setattr(ica, "HOST_BYTES", 1)  # several blocks of the least length
    monkeypatch.setattr(ica, "DEVICE_BYTES", 1)
    z = data(*size, dtype)
    k = max(1, len(z) - 1)
    w = orthonormalised(np.random.default_rng(0).normal(size=(k, len(z))))
    wanted = raised(z.astype(np.float64), w, contrast)
    on_cpu, of_cpu = ica._sample_step(z, contrast, 1.0)(w)
    on_gpu, of_gpu = ica._sample_step(cuda.asarray(z), contrast, 1.0)(w)
    if dtype == np.float64:
        np.testing.assert_allclose(on_cpu, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    tolerance.assert_as_accurate(on_gpu, on_cpu, wanted)
    np.testing.assert_allclose(of_gpu, of_cpu, rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_sanitizers_find_nothing(sanitized_cuda: Any, contrast: Any) -> None:
    z = data(2, 1, 300)
    w = np.eye(3)
    on_gpu, _ = ica._sample_step(sanitized_cuda.asarray(z), contrast, 1.0)(w)
    np.testing.assert_allclose(on_gpu, ica._sample_step(z, contrast, 1.0)(w)[0], rtol=1e-3, atol=1e-4)


def test_third_moments_give_the_rounds_on_samples(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ica, "DEVICE_BYTES", 1)
    z = data(dtype=np.float64)
    w = orthonormalised(np.random.default_rng(0).normal(size=(4, 8)))
    wanted, value = ica._sample_step(z, "skew", 1.0)(w)
    for array in (z, cuda.asarray(z)):
        got, of_tensor = ica._tensor_step(array)(w)
        np.testing.assert_allclose(got, wanted, atol=1e-12 * np.abs(wanted).max())
        np.testing.assert_allclose(of_tensor, value, atol=1e-10)


@pytest.mark.parametrize(("ours", "theirs"), [("cube", "cube"), ("tanh", "logcosh"), ("gauss", "exp")])
def test_it_goes_the_way_of_scikit_learn(ours: Any, theirs: str) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is the peer")
    z = data(7, 1, dtype=np.float64)
    start = np.random.default_rng(3).normal(size=(8, 8))
    for most, tol in ((5, 0.0), (500, 1e-6)):
        model = decomposition.FastICA(fun=theirs, whiten=False, w_init=start, max_iter=most, tol=tol)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge
            model.fit(z.T)
        found = fixed_point_ica(
            z, contrast=ours, start=start, max_iterations=most, tol=tol, stop="each", positive=False
        )
        assert found.n_iterations == model.n_iter_
        assert found.converged == (tol > 0)
        cosine = (found.matrix * model.components_).sum(axis=1)  # of the same signs
        np.testing.assert_allclose(cosine, 1, atol=1e-9)


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_skewness_is_that_of_a_converged_reference(dtype: Any, tensor: bool) -> None:
    z = data(6, 0, dtype=np.float64)
    start = np.random.default_rng(4).normal(size=(6, 6))
    best = converged(z, orthonormalised(start), "skew")
    found = fixed_point_ica(z.astype(dtype), start=start, tol=1e-9, max_iterations=1000, tensor=tensor)
    reached, wanted = (((w @ z) ** 3).mean(axis=1).sum() for w in (found.matrix, best))
    assert reached >= wanted * (1 - (1e-6 if dtype == np.float32 else 1e-10))
    assert found.converged
    np.testing.assert_allclose(found.contrast, ((found.matrix @ z) ** 3).mean(axis=1), rtol=1e-3)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_both_devices_find_the_same(cuda: Any, contrast: Any) -> None:
    z = data()
    on_cpu, on_gpu = (fixed_point_ica(array, 6, contrast=contrast, tol=1e-5) for array in (z, cuda.asarray(z)))
    assert abs(on_cpu.n_iterations - on_gpu.n_iterations) <= 1
    order = np.argsort(-on_cpu.contrast)[:5]
    np.testing.assert_allclose((on_cpu.matrix * on_gpu.matrix).sum(axis=1)[order], 1, atol=1e-3)


def test_picard_finds_what_the_fixed_point_does() -> None:
    pytest.importorskip("picard", reason="python-picard is not installed: pip install gpucells[picard]")
    z = data(5, 0)
    fixed, other = fixed_point_ica(z, contrast="tanh", tol=1e-8), picard_ica(z, tol=1e-7)
    cosine = fixed.matrix @ other.matrix.T  # both with positive third moments
    np.testing.assert_allclose(cosine.max(axis=1), 1, atol=1e-4)
    assert other.converged
    assert not picard_ica(z, tol=1e-12, max_iterations=2).converged
    assert picard_ica(z, 3).matrix.shape == (3, 5)
