"""Every kernel, every variant of its macros, every architecture: compiled without a GPU, and as its operation declares.

``tests/compile_gate/`` has the machinery; ``test_compile_gate.py`` shows that it sees what it should.
"""

from __future__ import annotations

import pytest
from architecture.source_tree import ROOT
from compile_gate.compilers import ARCHITECTURES, NVRTC_PACKAGES, nvcc, nvrtc
from compile_gate.findings import Unit, findings, units
from compile_gate.signatures import disagreements
from declared_kernels import declared_kernels

UNITS = units(kernel for _, kernel in declared_kernels())
FILES = sorted(path.name for path in (ROOT / "kernels").glob("*.cu"))
# nvcc has the same front end and the same ptxas; what it adds, the pass for the host, does not depend on this.
NVCC_ARCHITECTURE = 90


@pytest.mark.parametrize("file", FILES)
def test_kernels_are_as_declared(file: str) -> None:
    text = (ROOT / "kernels" / file).read_text(encoding="utf-8")
    assert not list(disagreements(file, text, declared_kernels()))


def test_declarations_name_files_that_exist() -> None:
    assert UNITS
    assert {kernel.file for _, kernel in declared_kernels()} == set(FILES)


@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
@pytest.mark.parametrize("major", NVRTC_PACKAGES)
def test_kernels_compile_as_cupy_compiles_them(unit: Unit, major: int) -> None:
    compiler = nvrtc(major)
    if compiler is None:
        pytest.skip(f"NVRTC of CUDA {major} is not installed: pip install {NVRTC_PACKAGES[major]}")
    found = {f"sm_{a}": list(findings(unit, compiler.compile(unit.code, a))) for a in ARCHITECTURES}
    assert not {architecture: some for architecture, some in found.items() if some}


@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_kernels_compile_with_nvcc(unit: Unit) -> None:
    compiler = nvcc()
    if compiler is None:
        pytest.skip("there is no nvcc of CUDA 12 or 13 on the PATH")
    assert not list(findings(unit, compiler.compile(unit.code, NVCC_ARCHITECTURE)))
