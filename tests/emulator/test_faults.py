"""The emulator's zoo: one planted fault a kernel, and what must be said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator.launch import LaunchError, SanitizerError
from emulator.raw_module import RawModule

pytestmark = pytest.mark.usefixtures("emulator")

FAULTS = (Path(__file__).parent / "kernels" / "faults.cu").read_text(encoding="utf-8")
ORDERS = (0, 1, 7)
RACES = ["no_barrier", "barrier_too_early", "blocks_race", "plain_count", "last_block_without_fence", "no_syncwarp",
         "shuffle_is_no_barrier"]  # fmt: skip
ADDRESSES = {
    "read_beyond_global": "READ of size 4",
    "write_beyond_global": "WRITE of size 4",
    "write_before_global": "WRITE of size 4",
    "read_beyond_static": "out of bounds",
    "write_beyond_static": "out of bounds",
    "pointer_beyond_static": "WRITE of size 4",
    "read_beyond_dynamic": "READ of size 4",
    "write_beyond_dynamic": "WRITE of size 4",
    "beyond_local": "index 4 out of bounds",
    "misaligned": "misaligned address",
    "overflow": "signed integer overflow",
    "cast_overflow": "outside the range of representable values",
}
GUARDS = {
    "write_beyond_global": r"argument \[0\] written out of bounds, at byte 256 of 256",
    "write_before_global": r"argument \[0\] written out of bounds, at byte -4 of 256",
    "write_beyond_static": "written beyond the end of a __shared__ variable",
    "pointer_beyond_static": "written beyond the end of a __shared__ variable",
    "write_beyond_dynamic": "written beyond the end of dynamic shared memory",
    "divergent_barrier": r"deadlock: 40 threads at the barrier faults.cu:\d+, "
    r"24 threads at the warp's collective faults.cu:\d+ with mask ffffffff \(block \d,0,0\)",
    "two_barriers": "wait at different barriers: 32 threads at the barrier",
    "mask_names_others": "mask that leaves it out",
    "mask_names_absent": "deadlock",
    "failing_assert": r"assert\(n < 64\) failed at faults.cu:\d+",
    "trap": r"__trap\(\) at faults.cu:\d+",
    "too_much_shared": "more than 48 KiB",
}
DYNAMIC = {"read_beyond_dynamic": 128, "write_beyond_dynamic": 128, "unwritten_dynamic": 256}


def run(name: str, order: int = 0, **settings: Any) -> np.ndarray:
    module = RawModule(code=FAULTS, filename="faults.cu", order=order, **settings)
    x = np.arange(1, 65, dtype=np.float32)
    module.get_function(name)((3,), (64,), (x, np.int32(64)), shared_mem=DYNAMIC.get(name, 0))
    return x


@pytest.mark.parametrize("name", RACES)
def test_races_are_reported_in_any_order(name: str, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("thread")
    for order in (0, 1):
        with pytest.raises(SanitizerError, match=r"data race"):
            run(name, order, sanitize="thread")


@pytest.mark.parametrize("name", ["no_barrier", "barrier_too_early", "no_syncwarp"])
def test_races_change_the_result_with_the_order(name: str) -> None:
    results = {run(name, order).tobytes() for order in ORDERS}
    assert len(results) > 1


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_and_undefined_behaviour_are_reported(name: str, needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address")
    with pytest.raises(SanitizerError, match=ADDRESSES[name]) as raised:
        run(name, sanitize="address")
    assert "faults.cu:" in str(raised.value)


@pytest.mark.parametrize("name", GUARDS)
def test_reported_without_a_sanitizer(name: str) -> None:
    for order in ORDERS:
        with pytest.raises(LaunchError, match=GUARDS[name]):
            run(name, order)


@pytest.mark.parametrize("name", ["unwritten_shared", "unwritten_dynamic", "read_beyond_global", "lane_has_returned"])
def test_what_was_never_written_reads_as_nan(name: str) -> None:
    for order in ORDERS:
        assert np.isnan(run(name, order)).any()


def test_an_endless_loop_is_ended(needs_sanitizer: Callable[[str], None]) -> None:
    needs_sanitizer("address")
    with pytest.raises(LaunchError, match=r"did not end within 0\.5 s"):
        run("endless", sanitize="address", timeout_s=0.5)
