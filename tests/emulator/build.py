"""Compiles kernels with g++ and keeps the results by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from emulator.source import CompileError

SOURCES = Path(__file__).resolve().parent / "cuda"
REPOSITORY = SOURCES.parents[2]
CACHE_VARIABLE = "GPUCELLS_EMULATOR_CACHE"
#: The sanitizers to run under: g++'s flag, what machine.cpp is told, the library that must be there.
SANITIZERS = {
    "address": ("address,undefined,float-cast-overflow", "-DEMULATOR_ASAN", "libasan.so"),
    "thread": ("thread", "-DEMULATOR_TSAN", "libtsan.so"),
}
_KERNEL_FLAGS = (
    *("-x", "c++", "-std=gnu++17", "-O1", "-fexpensive-optimizations", "-w", "-fno-math-errno", "-fno-strict-aliasing"),
    "-ffp-contract=fast",  # as nvrtc's -fmad=true; at -O1 it needs -fexpensive-optimizations
    *("-fvisibility=hidden", "-fno-gnu-unique"),  # two builds of one kernel are two kernels
)
_MACHINE_FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique")


def why_unavailable(sanitize: str | None = None) -> str:
    """Return why kernels cannot be emulated here, empty where they can."""
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        return f"the kernel emulator needs Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    if shutil.which("g++") is None:
        return "the kernel emulator needs g++, which is not on the PATH (Debian and Ubuntu: apt install g++)"
    if sanitize is not None:
        library = SANITIZERS[sanitize][2]
        if not Path(_ask_compiler(f"-print-file-name={library}")).is_absolute():
            return f"g++ has no {library} here"
    return ""


def cache_folder() -> Path:
    """Return where builds are kept, ``.pytest_cache/emulator`` unless the environment says otherwise."""
    folder = Path(os.environ.get(CACHE_VARIABLE) or REPOSITORY / ".pytest_cache" / "emulator")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(source: str, defines: tuple[str, ...], sanitize: str | None) -> Path:
    """Compile a translated kernel file.

    Parameters
    ----------
    source : str
        Of :func:`emulator.source.translate`.
    defines : tuple of str
        ``-D``, ``-U`` and ``-I`` options.
    sanitize : str or None
        A key of :data:`SANITIZERS`.

    Returns
    -------
    Path
        A shared library; with a sanitizer a program, because sanitizers want to be loaded first.
    """
    flags = (*_KERNEL_FLAGS, *_processor_flags(), f"-I{SOURCES}", *defines)
    if sanitize is None:
        objects = (_object("machine.cpp", ""),)
        return _compile((*flags, "-fPIC", "-shared"), source, ".so", objects)
    option, define, _ = SANITIZERS[sanitize]
    flags = (*flags, f"-fsanitize={option}", "-g1", "-fno-omit-frame-pointer")
    if sanitize == "address":
        flags = (*flags, "-fno-sanitize-recover=all")
    return _compile(flags, source, ".exe", (_object("machine.cpp", define), _object("child.cpp", define)))


def _object(name: str, define: str) -> Path:
    flags = (*_MACHINE_FLAGS, f"-I{SOURCES}", *([define] if define else []), "-c")
    return _compile(flags, (SOURCES / name).read_text(encoding="utf-8"), ".o")


def _compile(flags: tuple[str, ...], source: str, suffix: str, objects: tuple[Path, ...] = ()) -> Path:
    parts = (source, *flags, *(path.name for path in objects), _headers(), _ask_compiler("-v"))
    made = cache_folder() / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32] + suffix)
    if made.exists():
        return made
    # Written beside and renamed: other processes see the whole file or none.
    handle, part = tempfile.mkstemp(dir=made.parent, suffix=suffix)
    os.close(handle)
    command = ["g++", *flags, "-", "-x", "none", *map(str, objects), "-o", part]
    ran = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    if ran.returncode:
        Path(part).unlink()
        raise CompileError(ran.stderr)
    Path(part).chmod(0o755)
    Path(part).rename(made)
    return made


def _headers() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.h")))


@cache
def _processor_flags() -> tuple[str, ...]:
    """Fused multiply-add is what a GPU computes ``a * b + c`` with; without it in the processor g++ calls a library."""
    line = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return tuple(f"-m{flag}" for flag in ("fma", "f16c") if flag in line.split())


@cache
def _ask_compiler(option: str) -> str:
    ran = subprocess.run(["g++", option], capture_output=True, text=True, check=True)
    return (ran.stdout + ran.stderr).strip()
