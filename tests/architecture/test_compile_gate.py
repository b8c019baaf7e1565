"""The compile gate sees what it is there for: one planted fault each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compile_gate import compilers
from compile_gate.compilers import NVRTC_PACKAGES, Compiled, Nvcc, Nvrtc, nvcc, nvrtc
from compile_gate.findings import Unit, findings, units
from compile_gate.signatures import disagreements

from gpucells.device import kernels
from gpucells.device.kernel_source import kernel_text
from gpucells.device.kernels import Array, Define, Kernel, Scalar

SCALE = Kernel(
    "scale.cu",
    "scale",
    (Array("x", "float32", ("n",), written=True), Array("by", "T_BY", (1,)), Scalar("n")),
    threads=256,
    registers=32,
    defines=(Define("T_BY", ("uint8", "float32")),),
)
HEAD = 'extern "C" __global__ void __launch_bounds__(256) scale(float* __restrict__ x, const T_BY* by, long long n)'
BODY = "{ const long long i = blockIdx.x * 256LL + threadIdx.x; if (i < n) x[i] *= (float)by[0]; }"
GOOD = f"// __global__ void of_a_comment(int);\n{HEAD} {BODY}\n"
# Each thread needs all 128 numbers at once, and of 1024 threads none has more than 64 registers.
SPILLING = """extern "C" __global__ void __launch_bounds__(1024) scale(float* x, const T_BY* by, long long n) {
  float v[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) v[i] = x[i * n + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 128; ++i) x[i * n + threadIdx.x] = v[127 - i] * by[i] + v[(i * 37) % 128];
}"""
LOCAL = """extern "C" __global__ void __launch_bounds__(256) scale(float* x, const T_BY* by, long long n) {
  float v[64];
  for (int i = 0; i < 64; ++i) v[(i * n) % 64] = x[i];
  x[threadIdx.x] = v[by[0] > 3 ? n % 64 : n % 31];
}"""


@pytest.fixture(params=[*NVRTC_PACKAGES, "nvcc"])
def compiler(request: pytest.FixtureRequest) -> Nvrtc | Nvcc:
    found = nvcc() if request.param == "nvcc" else nvrtc(request.param)
    if found is None:
        pytest.skip(f"NVRTC of CUDA {request.param} is not installed, or no nvcc")
    return found


def found_in(compiler: Nvrtc | Nvcc, code: str, kernel: Kernel = SCALE) -> list[str]:
    unit = Unit("planted", f"#define T_BY float\n{code}", (kernel,))
    return list(findings(unit, compiler.compile(unit.code, 80)))


def test_a_good_kernel_passes(compiler: Nvrtc | Nvcc) -> None:
    assert found_in(compiler, GOOD) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (GOOD.replace("if (i", "int unused; if (i"), "warning"),
        (GOOD.replace("x[i] *=", "y[i] *="), 'identifier "y" is undefined'),
        (GOOD.replace("T_BY", "T_OTHER"), "does not compile"),
        (GOOD.replace("{ const", "{ undefined_elsewhere(); const"), "does not compile"),
        (f"__device__ float elsewhere(float);\n{GOOD.replace('(float)by[0]', 'elsewhere(by[0])')}", "does not compile"),
        (GOOD.replace("{ const", "{ __shared__ volatile float much[50000]; much[n] = *x; const"), "does not compile"),
        (GOOD.replace("scale(", "scales("), "scale is declared for this variant, but not in it"),
        (LOCAL, "bytes in local memory"),
    ],
)
def test_faults_that_the_compiler_tells(compiler: Nvrtc | Nvcc, code: str, message: str) -> None:
    found = found_in(compiler, code)
    assert any(message in line for line in found), found


def test_a_spill_and_registers_beyond_the_declared(compiler: Nvrtc | Nvcc) -> None:
    found = found_in(compiler, SPILLING, replace(SCALE, threads=1024, registers=24))
    assert any("scale spills registers" in line for line in found), found
    assert any("declared are 24" in line for line in found), found


def test_registers_that_no_block_can_have() -> None:
    log = "Compiling entry function 'scale' for 'sm_80'\nUsed 65 registers"
    kernel = replace(SCALE, threads=1024, registers=255)
    (found,) = findings(Unit("planted", "", (kernel,)), Compiled(True, log))
    assert "takes 73728 registers a block of 1024" in found


def test_an_error_is_told_where_it_is_in_the_header(compiler: Nvrtc | Nvcc, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "wrong.cuh").write_text("// one\n__device__ int wrong() { return missing; }\n")
    (tmp_path / "scale.cu").write_text(f'#include "wrong.cuh"\n{GOOD}')
    (found,) = found_in(compiler, kernel_text("scale.cu", tmp_path))
    assert found == 'does not compile: kernels/include/wrong.cuh:2: identifier "missing" is undefined'
    (tmp_path / "include" / "wrong.cuh").write_text("// right\n\n")
    (tmp_path / "scale.cu").write_text(f'#include "wrong.cuh"\n{GOOD}int x = y;\n')
    kernel_text.cache_clear()
    (found,) = found_in(compiler, kernel_text("scale.cu", tmp_path))
    assert found.startswith("does not compile: kernels/scale.cu:4: ")


@pytest.mark.parametrize(
    ("text", "kernel", "message"),
    [
        (f"{GOOD}{GOOD.replace('scale', 'other')}", SCALE, "other is not declared once"),
        ("", SCALE, "scale is declared but not there"),
        (GOOD.replace('extern "C" ', ""), SCALE, 'scale is not extern "C"'),
        (GOOD.replace("const T_BY*", "T_BY*"), SCALE, "declared is const T_BY* by, the kernel takes T_BY* by"),
        (GOOD.replace("long long n", "int n"), SCALE, "declared is long long n, the kernel takes int n"),
        (GOOD.replace(", long long n", ""), SCALE, "declared is long long n, the kernel takes nothing"),
        (GOOD.replace("long long n", "long long n, int k"), SCALE, "declared is nothing, the kernel takes int k"),
        (
            GOOD.replace("float* __restrict__ x, const T_BY* by", "const T_BY* by, float* x"),
            SCALE,
            "parameter 0: declared is float* x, the kernel takes const T_BY* by",
        ),
        (GOOD, replace(SCALE, threads=128), "has __launch_bounds__(256), as a number; declared are 128"),
        (GOOD.replace("__launch_bounds__(256) ", ""), SCALE, "has __launch_bounds__(), as a number"),
        (f"template <int N> __global__ void t(T<(N)> x);\n{GOOD}", SCALE, "2 times __global__, but 1 kernels"),
    ],
)
def test_disagreements_are_seen(text: str, kernel: Kernel, message: str) -> None:
    (found,) = disagreements("scale.cu", text, [("scale", kernel)])
    assert message in found


def test_a_kernel_that_agrees() -> None:
    assert not list(disagreements("scale.cu", GOOD, [("scale", SCALE)]))
    spread = GOOD.replace("(256)", "(256, 4)").replace("float* __restrict__ x", "\n  float *x").replace(") {", ")\n{")
    assert not list(disagreements("scale.cu", spread, [("scale", SCALE)]))
    (found,) = disagreements("scale.cu", GOOD, [("residual", SCALE)])
    assert "declared in gpucells/ops/residual.py, not in its twin" in found
    assert len(list(disagreements("scale.cu", GOOD, [("scale", SCALE), ("scale", replace(SCALE, registers=8))]))) == 1


def test_every_variant_is_a_unit_and_shared_ones_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "kernel_text", lambda file: f"text of {file}")
    other = replace(SCALE, name="other")
    alone = replace(SCALE, name="alone", defines=())
    found = {unit.name: [kernel.name for kernel in unit.kernels] for unit in units([SCALE, other, alone])}
    assert found == {
        "scale.cu T_BY=uint8": ["scale", "other"], "scale.cu T_BY=float32": ["scale", "other"], "scale.cu ": ["alone"],
    }  # fmt: skip


def test_answers_are_kept_until_the_code_changes(
    compiler: Nvrtc | Nvcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "KEPT", tmp_path)
    first = compiler.compile(f"#define T_BY float\n{GOOD}", 80)
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr(type(compiler), "_compile", lambda *_: Compiled(False, "compiled again"))
    assert compiler.compile(f"#define T_BY float\n{GOOD}", 80) == first
    assert compiler.compile(f"#define T_BY float\n{GOOD} ", 80).log == "compiled again"
    kept.write_text("half a file")
    assert compiler.compile(f"#define T_BY float\n{GOOD}", 80).log == "compiled again"
