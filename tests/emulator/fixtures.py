"""Fixtures of the emulator; ``tests/conftest.py`` gives them to every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from emulator.build import why_unavailable
from gpu_evidence import watched

#: At once and forward, as late as can be and in reverse, at random.
ORDERS = (0, 1, 2, 3)


def _name(param: object) -> str:
    return f"order {param}" if isinstance(param, int) else str(param)


@pytest.fixture(scope="session")
def emulator() -> None:
    """Skip where kernels cannot be emulated."""
    if reason := why_unavailable():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_sanitizer(emulator: None) -> Callable[[str], None]:
    """Return a function that skips the test where g++ lacks a sanitizer."""

    def need(sanitizer: str) -> None:
        if reason := why_unavailable(sanitizer):
            pytest.skip(reason)

    return need


@pytest.fixture
def emulated_settings() -> dict[str, Any]:
    """Settings of the stand-in; a test that wants others parametrises this name."""
    return {}


@pytest.fixture
def emulated_cupy(emulator: None, emulated_settings: dict[str, Any]) -> Iterator[Any]:
    """Stand in for CuPy while the test runs: ``import cupy`` finds what this yields."""
    from emulator.stand_in.install import installed

    with installed(**emulated_settings) as cupy:
        yield cupy


@pytest.fixture(params=ORDERS, ids="order {}".format)
def cupy_in_any_order(
    request: pytest.FixtureRequest, emulator: None, emulated_settings: dict[str, Any]
) -> Iterator[Any]:
    """As ``emulated_cupy``, once for each order of streams, blocks and lanes."""
    from emulator.stand_in.install import installed

    with installed(**{"order": request.param, **emulated_settings}) as cupy:
        yield cupy


@pytest.fixture(params=[*ORDERS[:3], pytest.param("gpu", marks=pytest.mark.gpu)], ids=_name)
def cuda(request: pytest.FixtureRequest, emulated_settings: dict[str, Any]) -> Iterator[Any]:
    """CuPy, for a test of an operation's CUDA body against its CPU body: the stand-in in some orders, and a GPU's."""
    if request.param == "gpu":
        cupy = pytest.importorskip("cupy")
        with watched(cupy):
            yield cupy
        return
    if reason := why_unavailable():
        pytest.skip(reason)
    from emulator.stand_in.install import installed

    with installed(**{"order": request.param, **emulated_settings}) as cupy:
        yield cupy


@pytest.fixture(params=["address", "thread"])
def sanitized_cuda(request: pytest.FixtureRequest, needs_sanitizer: Callable[[str], None]) -> Iterator[Any]:
    """The stand-in under each sanitizer: a process a launch, so once an operation, small."""
    needs_sanitizer(request.param)
    from emulator.stand_in.install import installed

    with installed(sanitize=request.param) as cupy:
        yield cupy
