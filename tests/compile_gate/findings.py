"""What keeps a compiled kernel from landing: errors, warnings, spills, more registers than declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compile_gate.compilers import Compiled

from gpucells.device.kernel_source import first_error
from gpucells.device.kernels import Kernel, Variant

REGISTERS = 65_536  # of a multiprocessor, so of a block: CUDA C++ Programming Guide, compute capabilities 5.0 to 12.x
REGISTER_UNIT = 8  # a warp gets 256 at a time
LOCAL = re.compile(
    r"Function properties for (?P<name>\S+)\s.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads",
    re.DOTALL,
)
ENTRY = re.compile(r"Compiling entry function '(?P<name>\w+)'.*?Used (?P<registers>\d+) registers", re.DOTALL)


@dataclass(frozen=True)
class Unit:
    """What is compiled at once: a ``.cu`` with one choice of its macros, and the kernels that it must hold."""

    name: str
    code: str
    kernels: tuple[Kernel, ...]


def units(kernels: Iterable[Kernel]) -> list[Unit]:
    """Every variant of every kernel; kernels of a file with the same macros share theirs."""
    together: dict[tuple[str, Variant], list[Kernel]] = {}
    for kernel in kernels:
        for variant in kernel.variants():
            together.setdefault((kernel.file, variant), []).append(kernel)
    return [
        Unit(f"{file} {' '.join(f'{name}={value}' for name, value in variant)}", some[0].code(variant), tuple(some))
        for (file, variant), some in together.items()
    ]


def findings(unit: Unit, compiled: Compiled) -> Iterator[str]:
    """What is wrong with a unit, by what a compiler said of it."""
    if not compiled.succeeded:
        yield f"does not compile: {first_error(compiled.log)}"
        return
    yield from (line.strip() for line in compiled.log.splitlines() if re.search(r"\bwarning\b", line))
    for match in LOCAL.finditer(compiled.log):
        if int(match["stores"]) or int(match["loads"]):
            yield f"{match['name']} spills registers: {match['stores']} bytes stored, {match['loads']} loaded"
        elif int(match["stack"]):
            yield f"{match['name']} keeps {match['stack']} bytes in local memory: an array whose index is not constant?"
    used = {match["name"]: int(match["registers"]) for match in ENTRY.finditer(compiled.log)}
    for kernel in unit.kernels:
        if kernel.name not in used:
            yield f"{kernel.name} is declared for this variant, but not in it"
        else:
            yield from _registers(kernel, used[kernel.name])


def _registers(kernel: Kernel, used: int) -> Iterator[str]:
    if used > kernel.registers:
        yield f"{kernel.name} uses {used} registers; declared are {kernel.registers}"
    taken = -(-used // REGISTER_UNIT) * REGISTER_UNIT * kernel.threads
    if taken > REGISTERS:
        yield f"{kernel.name} takes {taken} registers a block of {kernel.threads}; there are {REGISTERS}: no launch"
