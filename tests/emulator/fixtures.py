"""Fixtures of the emulator; ``tests/conftest.py`` gives them to every test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from emulator.build import why_unavailable


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
