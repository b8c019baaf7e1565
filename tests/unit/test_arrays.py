"""The crossing between host and device, with a stand-in for CuPy."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpucells.device.arrays import namespace_of, to_host


class FakeArray:
    """A CuPy array: nothing of NumPy takes it, and only ``get`` brings it back."""

    def __init__(self, values: Any, device: FakeDevice) -> None:
        self.values, self.device = values, device

    def get(self) -> Any:
        assert FakeDevice.current is self.device, "CuPy would copy from another device"
        return self.values


class FakeDevice:
    current: FakeDevice | None = None

    def __init__(self, number: int = 0) -> None:
        self.id = number

    def __enter__(self) -> None:
        FakeDevice.current = self

    def __exit__(self, *_: object) -> None:
        FakeDevice.current = None


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    fake = SimpleNamespace(ndarray=FakeArray, cuda=SimpleNamespace(Device=FakeDevice))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_back_from_whichever_device_it_is_on(cupy: SimpleNamespace) -> None:
    here = np.arange(6)
    there = FakeArray(here, FakeDevice(3))
    assert namespace_of(there) is cupy
    assert namespace_of(here) is np
    np.testing.assert_array_equal(to_host(there), here)


def test_what_is_on_the_host_stays_there() -> None:
    here = np.arange(6)
    assert to_host(here) is here
    assert namespace_of([1, 2]) is np
