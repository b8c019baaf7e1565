"""What every test may rely on: one thread a worker, a compiled-kernel cache, the movies beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# Before NumPy and numba are imported: libraries read these once. Under xdist every worker is one busy core already.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")  # 2 and not 1, so that parallel loops are really split
os.environ.setdefault("NUMBA_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "numba"))
os.environ.setdefault("MPLBACKEND", "agg")

import pytest  # noqa: E402
from emulator.fixtures import (  # noqa: E402, F401
    cuda,
    cupy_in_any_order,
    emulated_cupy,
    emulated_settings,
    emulator,
    needs_sanitizer,
    sanitized_cuda,
)
from gpu_evidence import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary  # noqa: E402, F401
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "deterministic",
    derandomize=True,  # the same examples on every machine: a red test is red for everyone
    database=None,
    deadline=None,  # the first call of a numba function compiles it
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("thorough", parent=settings.get_profile("deterministic"), derandomize=False, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the simulated and real movies, ``shared/data`` beside the repository; skips where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the movies of shared/data are not beside this repository")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where CuPy sees none, with the reason."""
    wanted = [item for item in items if item.get_closest_marker("gpu")]
    if not wanted:
        return
    reason = _why_no_gpu()
    if reason:
        for item in wanted:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_no_gpu() -> str:
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "CuPy sees no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy sees no GPU: {error}"
