"""A ``.cu`` against its declarations: which kernels it has, what they take, how many threads they are bound to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpucells.device.kernels import Kernel

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
KERNEL = re.compile(
    r'(?P<linkage>extern\s+"C"\s+)?__global__\s+(?P<between>[^(){};]*(?:__launch_bounds__\s*\((?P<bounds>[^)]*)\))?[^(){};]*?)'
    r"\b(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)\s*\{"
)


@dataclass(frozen=True)
class Signature:
    """A kernel as it stands in a ``.cu``."""

    name: str
    parameters: tuple[tuple[str, str], ...]  # C type, name
    threads: str  # the first argument of __launch_bounds__, as written; "" where there is none
    is_extern_c: bool


def signatures(text: str) -> list[Signature]:
    return [
        Signature(
            match["name"],
            tuple(_parameter(part) for part in match["parameters"].split(",") if part.strip()),
            (match["bounds"] or "").partition(",")[0].strip(),
            match["linkage"] is not None,
        )
        for match in KERNEL.finditer(COMMENT.sub(" ", text))
    ]


def _parameter(text: str) -> tuple[str, str]:
    """``"const float* __restrict__ x"`` as ``("const float*", "x")``."""
    match = re.fullmatch(r"(.*?)(\w+)", " ".join(text.replace("__restrict__", " ").replace("*", "* ").split()))
    assert match is not None, f"a parameter that this reader does not understand: {text!r}"
    return match[1].replace(" *", "*").strip(), match[2]


def disagreements(file: str, text: str, declared: Sequence[tuple[str, Kernel]]) -> Iterator[str]:
    """What a file and the declarations that name it say differently.

    Parameters
    ----------
    file, text : str
        Of a ``.cu``.
    declared : sequence of tuple
        As of ``declared_kernels``, of any file.
    """
    there = signatures(text)
    here = [(module, kernel) for module, kernel in declared if kernel.file == file]
    n_marks = COMMENT.sub(" ", text).count("__global__")
    if n_marks != len(there):
        yield f"{file}: {n_marks} times __global__, but {len(there)} kernels that this reader understands"
    for signature in there:
        if not signature.is_extern_c:
            yield f'{file}: {signature.name} is not extern "C", so its name is mangled'
        if [kernel.name for _, kernel in here].count(signature.name) != 1:
            yield f"{file}: {signature.name} is not declared once in gpucells/ops/"
    for module, kernel in here:
        if f"{module.removesuffix('_cuda')}.cu" != file:
            yield f"{file}: {kernel.name} is declared in gpucells/ops/{module}.py, not in its twin"
        signature = next((s for s in there if s.name == kernel.name), None)
        if signature is None:
            yield f"{file}: {kernel.name} is declared but not there"
        else:
            yield from _one_kernel(file, signature, kernel)


def _one_kernel(file: str, signature: Signature, kernel: Kernel) -> Iterator[str]:
    wanted = tuple((parameter.c_type(), parameter.name) for parameter in kernel.parameters)
    for index in range(max(len(wanted), len(signature.parameters))):
        says, takes = (
            " ".join(some[index]) if index < len(some) else "nothing" for some in (wanted, signature.parameters)
        )
        if says != takes:
            yield f"{file}: {kernel.name}, parameter {index}: declared is {says}, the kernel takes {takes}"
            break  # the rest is only moved
    if signature.threads != str(kernel.threads):
        yield (
            f"{file}: {kernel.name} has __launch_bounds__({signature.threads}), as a number; "
            f"declared are {kernel.threads} threads"
        )
