"""NVIDIA's compilers without a GPU, a driver or CuPy: NVRTC of both majors through ctypes, nvcc where it is.

What they said is kept by a hash of everything that went in, so that a run pays for what changed.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpucells.device.kernels import COMPILE_OPTIONS

ARCHITECTURES = (
    75,
    80,
    86,
    89,
    90,
    100,
    120,
)  # Turing to Blackwell: what CUDA 13 and a card one can buy have in common
# CuPy 14.2, cupy/cuda/compiler.py: -ftz in _compile_with_cache_cuda, the other in _compile_using_nvrtc_no_warning, and
# -arch=sm_ (so ptxas runs, and its messages are there) in _get_arch_for_options_for_nvrtc.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
NVRTC_PACKAGES = {13: "nvidia-cuda-nvrtc", 12: "nvidia-cuda-nvrtc-cu12"}
KEPT = Path(__file__).resolve().parents[2] / ".pytest_cache" / "kernels"


@dataclass(frozen=True)
class Compiled:
    """What a compiler answered."""

    succeeded: bool
    log: str


class Nvrtc:
    """NVRTC of one major CUDA version, from its wheel."""

    def __init__(self, major: int, library: Path, version: str) -> None:
        self.name = f"NVRTC {version}"
        self.major = major
        self._library = ctypes.CDLL(str(library))

    def compile(self, code: str, architecture: int) -> Compiled:
        options = (*COMPILE_OPTIONS, *CUPY_OPTIONS, f"-arch=sm_{architecture}", "--ptxas-options=-v")
        return _kept((self.name, *options, code), lambda: self._compile(code, options))

    def _compile(self, code: str, options: tuple[str, ...]) -> Compiled:
        nvrtc, program, size = self._library, ctypes.c_void_p(), ctypes.c_size_t()
        _expect_no_error(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None))
        words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = nvrtc.nvrtcCompileProgram(program, len(options), words)
        _expect_no_error(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        _expect_no_error(nvrtc.nvrtcGetProgramLog(program, log))
        _expect_no_error(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
        return Compiled(status == 0, log.value.decode())


class Nvcc:
    """The compiler of a CUDA toolkit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.name = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout

    def compile(self, code: str, architecture: int) -> Compiled:
        options = (*COMPILE_OPTIONS, CUPY_OPTIONS[0], f"-arch=sm_{architecture}", "-Xptxas=-v", "-cubin")
        return _kept((self.name, *options, code), lambda: self._compile(code, options))

    def _compile(self, code: str, options: tuple[str, ...]) -> Compiled:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "kernel.cu"
            source.write_text(code, encoding="utf-8")
            ran = subprocess.run(
                [self._path, *options, "-o", f"{folder}/kernel.cubin", str(source)],
                check=False, capture_output=True, text=True, cwd=folder,
            )  # fmt: skip
        return Compiled(ran.returncode == 0, ran.stdout + ran.stderr)


def _expect_no_error(status: int) -> None:
    assert status == 0, f"NVRTC answered {status}"


@cache
def nvrtc(major: int) -> Nvrtc | None:
    """NVRTC of a major version, None where its wheel is not installed."""
    try:
        package = importlib.metadata.distribution(NVRTC_PACKAGES[major])
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in package.files or ():
        if re.fullmatch(rf"libnvrtc\.so\.{major}", file.name):
            return Nvrtc(major, Path(str(package.locate_file(file))), package.version)
    return None


@cache
def nvcc() -> Nvcc | None:
    """The machine's nvcc if it is of CUDA 12 or 13, else None."""
    path = shutil.which("nvcc")
    found = Nvcc(path) if path is not None else None
    return found if found is not None and re.search(r"release 1[23]\.", found.name) else None


def _kept(key: tuple[str, ...], compile_: object) -> Compiled:
    assert callable(compile_)
    path = KEPT / f"{hashlib.sha256(chr(0).join(key).encode()).hexdigest()}.json"
    try:
        return Compiled(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        compiled: Compiled = compile_()
    KEPT.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")  # other workers write here, too
    part.write_text(json.dumps(vars(compiled)), encoding="utf-8")
    part.replace(path)
    return compiled
