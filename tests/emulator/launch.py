"""Runs one launch of a built kernel: in this process between guards, or in a child under a sanitizer."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

GUARD_BYTES = 4096
#: Fills what lies outside of arrays: NaN as half, float and double, and unlikely as an integer.
CANARY = np.uint16(0xFFF8)
_ALIGNMENT = 256  # of CUDA's allocations; addresses keep their remainder, so that misaligned views stay misaligned
_SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:redzone=2048",
    "TSAN_OPTIONS": "report_signal_unsafe=0:history_size=2:halt_on_error=1:atexit_sleep_ms=0",
}


class LaunchError(RuntimeError):
    """A launch that CUDA would refuse, or a kernel that does what it must not."""


class SanitizerError(LaunchError):
    """What a sanitizer reported; the message is its report."""


@dataclass(frozen=True)
class Region:
    """Bytes of memory that the kernel may touch, and whether it may write them."""

    address: int
    n_bytes: int
    writable: bool

    def memory(self) -> np.ndarray:
        """Return the bytes themselves."""
        return np.frombuffer((ctypes.c_uint8 * self.n_bytes).from_address(self.address), np.uint8)


@dataclass(frozen=True)
class Argument:
    """A scalar's bytes, or a pointer: region and offset into it."""

    scalar: bytes = b""
    region: int = -1
    offset: int = 0


@dataclass(frozen=True)
class Launch:
    """All that a launch is besides its memory."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    dynamic_bytes: int
    shared_limit_bytes: int
    order: int
    flush_denormals: bool

    def packed(self) -> bytes:
        """Return the ``struct Launch`` of machine.cpp."""
        limits = (self.dynamic_bytes, self.shared_limit_bytes, self.order, self.flush_denormals)
        return struct.pack("6I2Q2i", *self.grid, *self.block, *limits)


def merge(arrays: Sequence[tuple[int, int, bool]]) -> list[Region]:
    """Merge (address, bytes, writable) that overlap, so that two arguments on one memory stay on one memory."""
    merged: list[Region] = []
    for address, n_bytes, writable in sorted(arrays):
        last = merged[-1] if merged else None
        if last is not None and address < last.address + last.n_bytes:
            end = max(last.address + last.n_bytes, address + n_bytes)
            merged[-1] = Region(last.address, end - last.address, last.writable or writable)
        else:
            merged.append(Region(address, n_bytes, writable))
    return merged


@cache
def _library(path: Path) -> ctypes.PyDLL:
    library = ctypes.PyDLL(str(path))  # keeps Python's lock: the machine of a library runs one launch at a time
    library.emulator_launch.restype = library.emulator_signatures.restype = ctypes.c_char_p
    return library


@cache
def signatures(path: Path) -> dict[str, str]:
    """Return ``"MOST_THREADS;TYPE,TYPE,…,"`` of each kernel of a build."""
    here = path.suffix == ".so"
    text = _library(path).emulator_signatures().decode() if here else _child(path, [], 60).stdout
    return dict(line.split(";", 1) for line in text.splitlines() if line)


def run_here(path: Path, launch: Launch, regions: Sequence[Region], arguments: Sequence[Argument]) -> None:
    """Launch in this process; what was written into the guards around a region is reported."""
    guarded = [_Guarded(region) for region in regions]
    slots = [
        ctypes.create_string_buffer(a.scalar) if a.region < 0 else ctypes.c_void_p(guarded[a.region].address + a.offset)
        for a in arguments
    ]
    pointers = (ctypes.c_void_p * max(1, len(slots)))(*[ctypes.addressof(slot) for slot in slots])
    error = _library(path).emulator_launch(launch.kernel.encode(), launch.packed(), pointers)
    if error:
        raise LaunchError(f"{launch.kernel}: {error.decode()}")
    for number, memory in enumerate(guarded):
        wrong = memory.first_wrong_byte()
        if wrong is not None:
            users = [i for i, a in enumerate(arguments) if a.region == number]
            n_bytes = regions[number].n_bytes
            raise LaunchError(f"{launch.kernel}: argument {users} written out of bounds, at byte {wrong} of {n_bytes}")
        memory.write_back()


def run_child(
    path: Path, launch: Launch, regions: Sequence[Region], arguments: Sequence[Argument], timeout_s: float
) -> None:
    """Launch in a process of its own, built with a sanitizer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "launch"
        with file.open("wb") as out:
            out.write(launch.packed() + struct.pack("Q", len(regions)))
            for region in regions:
                out.write(struct.pack("2Q", region.address % _ALIGNMENT, region.n_bytes))
                out.write(region.memory().tobytes() if region.n_bytes else b"")
            out.write(struct.pack("Q", len(arguments)))
            for a in arguments:
                out.write(struct.pack("2Q", a.region + 1, a.offset if a.region >= 0 else len(a.scalar)) + a.scalar)
        try:
            ran = _child(path, [launch.kernel, str(file)], timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LaunchError(f"{launch.kernel} did not end within {timeout_s:g} s") from error
        if "Sanitizer" in ran.stderr or "runtime error:" in ran.stderr:
            raise SanitizerError(ran.stderr)
        if ran.returncode:
            raise LaunchError(f"{launch.kernel}: {ran.stderr or f'the process ended with {ran.returncode}'}")
        results = np.fromfile(file.with_name("launch.out"), np.uint8)
        for region, result in zip(regions, np.split(results, np.cumsum([r.n_bytes for r in regions])), strict=False):
            if region.writable and region.n_bytes:
                region.memory()[...] = result


def _child(path: Path, words: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    def run(*before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, str(path), *words],
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | _SANITIZER_OPTIONS,
            timeout=timeout_s,
            check=False,
        )

    ran = run()
    if "unexpected memory mapping" in ran.stderr:  # older ThreadSanitizers where the kernel randomises addresses widely
        ran = run("setarch", "-R")
    return ran


class _Guarded:
    """A copy of a region between two guards."""

    def __init__(self, region: Region) -> None:
        self.region = region
        n_bytes = region.n_bytes
        self.buffer = np.full((2 * GUARD_BYTES + n_bytes + 2 * _ALIGNMENT) // 2, CANARY).view(np.uint8)
        start = self.buffer.ctypes.data + GUARD_BYTES
        self.start = GUARD_BYTES + (region.address - start) % _ALIGNMENT
        self.address = self.buffer.ctypes.data + self.start
        if n_bytes:
            self.buffer[self.start : self.start + n_bytes] = region.memory()

    def first_wrong_byte(self) -> int | None:
        """Return where a guard was written, counted from the region's start."""
        intact = np.full(self.buffer.size // 2, CANARY).view(np.uint8)
        wrong = self.buffer != intact
        wrong[self.start : self.start + self.region.n_bytes] = False
        return int(np.flatnonzero(wrong)[0]) - self.start if wrong.any() else None

    def write_back(self) -> None:
        if self.region.writable and self.region.n_bytes:
            self.region.memory()[...] = self.buffer[self.start : self.start + self.region.n_bytes]
