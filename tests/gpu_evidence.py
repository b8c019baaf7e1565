"""What was seen on a GPU: which kernels ran there, as they are now, and how their results compare with the CPU's.

``pytest -m gpu --record-evidence`` writes ``tests/agreement/gpu_evidence.json``; every other run says at its end which
kernels have changed since, or were never run on one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import tolerance

EVIDENCE = Path(__file__).parent / "agreement" / "gpu_evidence.json"
_seen: dict[str, dict[str, Any]] = {}
_device: dict[str, Any] = {}


def kernel_hashes() -> dict[str, str]:
    """SHA-256 of each kernel file with its headers, in every variant, by the file's name."""
    from declared_kernels import declared_kernels

    text: dict[str, list[str]] = {}
    for _, kernel in declared_kernels():
        text.setdefault(kernel.file, []).extend(kernel.code(variant) for variant in kernel.variants())
    return {file: hashlib.sha256("\0".join(sorted(set(codes))).encode()).hexdigest() for file, codes in text.items()}


@contextmanager
def watched(cupy: Any) -> Iterator[None]:
    """Note which kernels are launched on a GPU, and the worst ratio of an error to what is allowed."""
    from gpucells.device.kernels import Kernel

    launched: set[str] = set()
    original = Kernel.launch

    def launch(kernel: Kernel, *args: Any, **kwargs: Any) -> None:
        launched.add(kernel.file)
        original(kernel, *args, **kwargs)

    Kernel.launch = launch  # type: ignore[method-assign]
    tolerance.ratios.clear()
    try:
        yield
    finally:
        Kernel.launch = original  # type: ignore[method-assign]
    _device.update(_facts(cupy))
    for file in launched:
        entry = _seen.setdefault(file, {"tests": 0, "worst_ratio": 0.0})
        entry["tests"] += 1
        entry["worst_ratio"] = max([entry["worst_ratio"], *tolerance.ratios])


def _facts(cupy: Any) -> dict[str, Any]:
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "driver_cuda": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
    }


def stale() -> list[str]:
    """Kernels that no evidence is about, as they are now."""
    kept = json.loads(EVIDENCE.read_text())["kernels"] if EVIDENCE.exists() else {}
    return sorted(file for file, sha in kernel_hashes().items() if kept.get(file, {}).get("sha256") != sha)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-evidence", action="store_true", help=f"write {EVIDENCE.name} of the gpu tests that pass")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write what was seen, unless a test failed."""
    if not session.config.getoption("--record-evidence") or exitstatus != 0 or not _seen:
        return
    hashes = kernel_hashes()
    kernels = {file: {"sha256": hashes[file], **entry} for file, entry in sorted(_seen.items())}
    record = {**_device, "date": datetime.now(UTC).date().isoformat(), "kernels": kernels}
    EVIDENCE.write_text(json.dumps(record, indent=1) + "\n")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which kernels have not been seen on a GPU as they are now."""
    if unseen := stale():
        terminalreporter.write_line(f"not yet run on a GPU as they are: {', '.join(unseen)}", yellow=True)
