"""Device arrays of the stand-in: NumPy's arithmetic behind CuPy's walls."""

from __future__ import annotations

import sys
from typing import Any

import array_api_compat
import numpy as np
import pytest

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_it_is_installed_for_the_test_alone(emulated_cupy: Any) -> None:
    import cupy
    import cupyx.scipy.ndimage

    assert cupy is emulated_cupy
    assert cupy.is_available()
    blurred = cupyx.scipy.ndimage.uniform_filter(cupy.asarray(X), 1)
    assert isinstance(blurred, cupy.ndarray)
    assert cupy.get_array_module(blurred) is cupy
    assert cupy.get_array_module(X) is np


def test_what_was_there_before_comes_back() -> None:
    from emulator.stand_in.install import installed

    before = {name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")}
    with installed() as first:
        with installed() as second:
            assert sys.modules["cupy"] is second
        assert sys.modules["cupy"] is first
        array_api_compat.array_namespace(first.zeros(1))
    assert {name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")} == before
    assert "array_api_compat.cupy" not in sys.modules
    assert not hasattr(array_api_compat, "cupy")
    with pytest.raises(RuntimeError, match="not installed"):
        first.zeros(1)


def test_arithmetic_is_numpys(cupy_in_any_order: Any) -> None:
    cupy = cupy_in_any_order
    cupy.cuda.Stream(non_blocking=True)  # a second stream, so that the null stream is queued too
    x = cupy.asarray(X)
    x2 = x * 2 + 1
    x[0] = 7
    x += x2
    x[x > 17] = -1
    expected = X * 2 + 1 + np.array([[7, 7, 7], [3, 4, 5]], np.float32)
    expected[expected > 17] = -1
    np.testing.assert_array_equal(x.get(), expected)
    for name in ("sum", "argmax", "cumsum", "sort", "nonzero", "unique", "median", "array_equal", "count_nonzero"):
        arguments = (x, x) if name == "array_equal" else (x,)
        on_host = tuple(argument.get() for argument in arguments)
        got, wanted = getattr(cupy, name)(*arguments), getattr(np, name)(*on_host)
        for one, other in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, wanted)), strict=True):
            assert isinstance(one, cupy.ndarray)
            np.testing.assert_array_equal(one.get(), other)
    w, v = cupy.linalg.eigh(x @ x.T)
    np.testing.assert_allclose((v * w @ v.T).get(), (x @ x.T).get(), rtol=1e-5)
    assert float(x[1, 2]) == expected[1, 2]
    assert cupy.concatenate([x, x[:1]]).shape == (3, 3)
    assert cupy.random.default_rng is not None
    out = cupy.empty_like(x)
    assert cupy.multiply(x, 2, out=out) is out
    np.testing.assert_array_equal(out.get(), 2 * expected)
    flat = x.T.ravel()
    flat.sort()
    np.testing.assert_array_equal(flat.get(), np.sort(expected.T.ravel()))


def test_views_share_memory(cupy_in_any_order: Any) -> None:
    cupy = cupy_in_any_order
    cupy.cuda.Stream()
    x = cupy.zeros((3, 4), np.float32)
    x[1:].T[2] = 5
    x.reshape(-1)[0] = 3
    assert x.get()[:, 2].tolist() == [0, 5, 5]
    assert float(x[0, 0]) == 3
    assert x[1:].data.ptr == x.data.ptr + 16
    inside = cupy.ndarray((2, 2), np.float32, x.data + 16)
    inside.fill(8)
    assert x.get()[1].tolist() == [8, 8, 8, 8]


def test_host_arrays_are_refused(emulated_cupy: Any) -> None:
    cupy = emulated_cupy
    x = cupy.asarray(X)
    for mixed in (
        lambda: x + X,
        lambda: X + x,
        lambda: cupy.add(x, X),
        lambda: cupy.concatenate([x, X]),
        lambda: np.add(x, X),
        lambda: x.__setitem__(0, X[0]),
        lambda: cupy.sum(X),
        lambda: x + np.array(1.0),
    ):
        with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
            mixed()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(TypeError, match="Implicit conversion"):
        X[:] = x
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cupy.asarray(np.array(["a"]))
    with pytest.raises(AttributeError, match="has no 'ElementwiseKernel'"):
        _ = cupy.ElementwiseKernel


def test_transforms_take_no_threads(emulated_cupy: Any) -> None:
    from cupyx.scipy import fft

    with pytest.raises(TypeError, match="workers"):
        fft.dctn(emulated_cupy.asarray(X), workers=1)


def test_numbers_and_numpy_scalars_mix(emulated_cupy: Any) -> None:
    x = emulated_cupy.asarray(X) * np.float32(2) + 1
    assert x.dtype == np.float32
    assert isinstance(x.sum(), emulated_cupy.ndarray)
    assert x[np.array([0, 1]), 1].get().tolist() == [3, 9]  # CuPy uploads an index


def test_array_api_compat_sees_cupy(cupy_in_any_order: Any) -> None:
    x = cupy_in_any_order.asarray(X)
    assert array_api_compat.is_cupy_array(x)
    assert not array_api_compat.is_numpy_array(x)
    xp = array_api_compat.array_namespace(x, cupy_in_any_order.zeros(1))
    assert xp.__name__ == "array_api_compat.cupy"
    np.testing.assert_array_equal(xp.concat([x, xp.asarray(X)]).get(), np.concatenate([X, X]))
    assert xp.astype(x, xp.float64).dtype == np.float64
    assert float(xp.linalg.vector_norm(x)) == pytest.approx(np.linalg.norm(X))
    np.testing.assert_array_equal(array_api_compat.to_device(x, "cpu"), X)
    assert array_api_compat.device(x) == cupy_in_any_order.cuda.Device(0)


def test_copies_are_checked(emulated_cupy: Any) -> None:
    x = emulated_cupy.zeros((2, 3), np.float32)
    for wrong, error in [(X.astype(float), TypeError), (X[:1], ValueError), (x, TypeError)]:
        with pytest.raises(error):
            x.set(wrong)
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x[:, ::2].set(X[:, ::2])
    x.set(X)
    out = np.zeros_like(X)
    assert emulated_cupy.asnumpy(x, out=out) is out
    np.testing.assert_array_equal(out, X)
    with pytest.raises(ValueError, match="cannot be obtained"):
        x.get(out=np.zeros(6, np.float32))
    assert emulated_cupy.machine.counts == {"to_device": 1, "to_host": 1}


def test_an_uploaded_array_may_be_changed_at_once(cupy_in_any_order: Any) -> None:
    host = X.copy()
    with cupy_in_any_order.cuda.Stream(non_blocking=True):
        x = cupy_in_any_order.asarray(host)
        host[:] = 0
        np.testing.assert_array_equal(x.get(), X)


@pytest.mark.parametrize("emulated_settings", [{"n_devices": 2}])
def test_arrays_of_two_devices_do_not_mix(cupy_in_any_order: Any) -> None:
    cupy = cupy_in_any_order
    x = cupy.asarray(X)
    with cupy.cuda.Device(1):
        y = cupy.asarray(X)
        assert y.device == cupy.cuda.Device() == cupy.cuda.Device(1)
        with pytest.raises(ValueError, match="array device = 0 while current = 1"):
            x + y
        z = cupy.asarray(x)  # a copy between devices
        np.testing.assert_array_equal((y + z).get(), 2 * X)
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        y.sum()
    np.testing.assert_array_equal(y.get(), X)
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="invalid device"):
        cupy.cuda.Device(2)
    assert cupy.cuda.runtime.getDeviceCount() == 2
