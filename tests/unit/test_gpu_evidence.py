"""Evidence from a GPU: what is kept of a run, and when it has gone stale."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_evidence
import numpy as np
import pytest

from gpucells.ops.fold_frames import whiten_frames


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpu_evidence, "EVIDENCE", tmp_path / "evidence.json")
    monkeypatch.setattr(gpu_evidence, "_seen", {})
    monkeypatch.setattr(gpu_evidence, "_device", {})
    return tmp_path / "evidence.json"


def record(exitstatus: int) -> None:
    config = SimpleNamespace(getoption=lambda _: True)
    gpu_evidence.pytest_sessionfinish(SimpleNamespace(config=config), exitstatus)  # type: ignore[arg-type]


def test_what_ran_is_kept_and_goes_stale_with_the_kernel(
    evidence: Path, emulated_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_evidence, "_facts", lambda cupy: {"device": "of a test"})
    assert "fold_frames.cu" in gpu_evidence.stale()
    one = emulated_cupy.ones(6, np.float32)
    with gpu_evidence.watched(emulated_cupy):
        whiten_frames(emulated_cupy.zeros((4, 2, 3), np.uint16), one, one, emulated_cupy.arange(6))
        gpu_evidence.tolerance.assert_as_accurate([1.0], [1.0], [1.0])
    record(exitstatus=1)
    assert not evidence.exists(), "a run with a failure is no evidence"
    record(exitstatus=0)
    kept = json.loads(evidence.read_text())
    assert kept["device"] == "of a test"
    assert kept["kernels"]["fold_frames.cu"]["tests"] == 1
    assert kept["kernels"]["fold_frames.cu"]["worst_ratio"] == 0
    assert "fold_frames.cu" not in gpu_evidence.stale()
    monkeypatch.setattr(gpu_evidence, "kernel_hashes", lambda: {"fold_frames.cu": "changed"})
    assert gpu_evidence.stale() == ["fold_frames.cu"]
