"""What tests of whole methods on a GPU share: the stand-in that they run on."""

from __future__ import annotations

from typing import Any

import pytest
from emulator.stand_in.install import installed

from gpucells.tiles import plan


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, emulator: None) -> Any:
    """Let a run choose the stand-in; returns the context manager that installs it."""

    def named(device: str) -> tuple[str, ...]:
        return ("cpu",) if device == "cpu" else tuple(f"cuda:{k}" for k in device.removeprefix("cuda:").split(","))

    monkeypatch.setattr(plan, "choose_devices", named)
    return installed
