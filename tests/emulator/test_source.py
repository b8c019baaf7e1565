"""How a kernel file is rewritten and built, and where it cannot be."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from emulator import build
from emulator.raw_module import RawModule
from emulator.source import CompileError, translate

KERNEL = 'extern "C" __global__ void k(float* x) {{\n{}\n}}'


def test_shared_declarations_of_all_forms(emulator: None) -> None:
    body = """
      __shared__ float a[4], b[2][3];
      __shared__ __align__(16) unsigned short c[8];
      __shared__ struct_of<int, 2> d[2];  // __shared__ in a comment
      extern __shared__ __align__(16) double e[];
      x[0] = a[0] = b[1][2] = c[7] = d[1].v[1] = e[0] = 3;"""
    code = "template <class T, int N> struct struct_of { T v[N]; };\n" + KERNEL.format(body)
    assert RawModule(code=code).get_function("k").parameters[0].type_name == "f4"


def test_lines_stay_and_includes_are_pasted_once(tmp_path: Path, emulator: None) -> None:
    (tmp_path / "inner.cuh").write_text("#define N 4\n")
    (tmp_path / "outer.cuh").write_text('#include "inner.cuh"\n#include "inner.cuh"\nint in_outer = oops;\n')
    code = '#include "outer.cuh"\n' + KERNEL.format("  x[N] = 1;\n  wrong;")
    with pytest.raises(CompileError) as raised:
        RawModule(code=code, options=(f"-I{tmp_path}",), filename="outer.cu")
    assert "outer.cuh:3" in str(raised.value)
    assert "outer.cu:4" in str(raised.value)
    text = translate(code, [tmp_path], (), "outer.cu")
    assert text.count("#define N 4") == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("__shared__ float a[2] = {};", "of a form that the emulator does not know"),
        ("__shared__ struct { int i; } a;", "of a form that the emulator does not know"),
        ("x[0] = __activemask();", "__activemask"),
    ],
)
def test_what_is_not_known_is_refused(body: str, message: str, emulator: None) -> None:
    with pytest.raises(CompileError, match=message):
        RawModule(code=KERNEL.format(body))


def test_kernels_and_their_bounds_are_found(emulator: None) -> None:
    code = """
      #define THREADS 128
      extern "C" __global__ void __launch_bounds__(THREADS, 2) a(int* x) {}
      extern "C" __launch_bounds__(64) __global__ void b(int* x) {}
      extern "C" __global__ __launch_bounds__(32) void c(const unsigned char* x, bool y, double z, void* w) {}
      template <class T> __global__ void d(T* x) {}
      extern "C" { __global__ void e(unsigned long long x) {} }"""
    module = RawModule(code=code, name_expressions=["d<short>"])
    bounds = {name: module.get_function(name).max_threads_per_block for name in ("a", "b", "c", "d<short>", "e")}
    assert bounds == {"a": 128, "b": 64, "c": 32, "d<short>": 1024, "e": 1024}
    assert [p.type_name for p in module.get_function("c").parameters] == ["u1", "b1", "f8", "V0"]
    assert [p.type_name for p in module.get_function("d<short>").parameters] == ["i2"]


def test_a_build_is_kept_and_a_change_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: None) -> None:
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path))
    first = RawModule(code=KERNEL.format("")).path
    assert first.parent == tmp_path
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", lambda *_, **__: pytest.fail("g++ was called"))
        assert RawModule(code=KERNEL.format("")).path == first
    assert RawModule(code=KERNEL.format(""), options=("-DN=1",)).path != first
    assert RawModule(code=KERNEL.format("x[0] = 1;")).path != first
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".so", ".o")]


def test_why_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    if platform.machine() == "x86_64":
        assert "g++" in build.why_unavailable()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "aarch64" in build.why_unavailable()
