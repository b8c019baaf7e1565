"""What keeps a GPU from being used, each with its mend: the driver, CuPy's packages, the compiler, the card."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Oldest driver's CUDA version and driver for each major CUDA (NVIDIA, CUDA Compatibility, table of minimum drivers).
_NEEDED_DRIVER = {12: (12000, "525.60.13"), 13: (13000, "580.65.06")}
#: Oldest architecture that CUDA 13 compiles for, and that the kernels are tested on (Turing).
_OLDEST_CAPABILITY = (7, 5)


@dataclass(frozen=True)
class Problem:
    """Something that keeps a GPU from being used.

    Parameters
    ----------
    message : str
        What is wrong.
    hint : str
        What to do about it.
    """

    message: str
    hint: str


def driver_problems(driver: str, cuda_version: int) -> Iterator[Problem]:
    """Yield a driver that is too old for the CuPy package that is installed.

    Parameters
    ----------
    driver : str
        Its version, such as ``"580.95.05"``.
    cuda_version : int
        The newest CUDA that it knows, as NVIDIA writes it: 13000 is 13.0.
    """
    packages = _cupy_packages()
    needed = (_package_major(packages[0]) if len(packages) == 1 else 0) or min(_NEEDED_DRIVER)
    least, release = _NEEDED_DRIVER.get(needed, _NEEDED_DRIVER[max(_NEEDED_DRIVER)])
    if cuda_version < least:
        has = f"{cuda_version // 1000}.{cuda_version % 1000 // 10}"
        other = ', or pip install "gpucells[cuda12]" instead' if needed > 12 and cuda_version >= 12000 else ""
        yield Problem(
            f"driver {driver} is too old: it has CUDA {has}, and CUDA {needed} is needed",
            f"install NVIDIA driver {release} or later{other}",
        )


def cupy_problems(cuda_version: int, is_driver_new_enough: bool = True) -> Iterator[Problem]:
    """Yield what is wrong with CuPy: missing, broken, two packages of it, no GPU within its reach, no compiler.

    Parameters
    ----------
    cuda_version : int
        The newest CUDA that the driver knows; 0 without a GPU, when only two packages are a problem.
    is_driver_new_enough : bool
        Where it is not, that CuPy reaches no GPU is no news.
    """
    packages, install = _cupy_packages(), f'pip install "gpucells[cuda{13 if cuda_version >= 13000 else 12}]"'
    if len(packages) > 1:
        kept = install if cuda_version else f"pip install {packages[-1]}"
        yield Problem(
            f"more than one CuPy package is installed: {', '.join(packages)}",
            f"pip uninstall -y {' '.join(packages)} && {kept}",
        )
        return
    if not cuda_version:
        return
    cupy = import_cupy()
    if cupy is None and not packages:
        yield Problem("CuPy is not installed", install)
    elif cupy is None:
        yield Problem(
            f"{packages[0]} is installed but cannot be imported", f"pip install --force-reinstall {packages[0]}"
        )
    elif not _answers(cupy):
        if is_driver_new_enough:
            yield Problem("CuPy cannot reach the GPU", 'see what python -c "import cupy; cupy.show_config()" prints')
    elif not compiled_architectures(cupy):
        yield Problem("CuPy finds no NVRTC, the compiler of kernels", install)


def card_problems(name: str, capability: tuple[int, int], architectures: Sequence[int]) -> Iterator[Problem]:
    """Yield a GPU that is too old for the kernels, or too new for the compiler.

    Parameters
    ----------
    name : str
        The maker's.
    capability : tuple of int
        Its compute capability.
    architectures : sequence of int
        What the compiler compiles for, 90 for 9.0; empty where there is no compiler.
    """
    major, minor = capability
    if capability < _OLDEST_CAPABILITY:
        yield Problem(
            f"{name} has compute capability {major}.{minor}; 7.5 (Turing) or later is needed",
            "use --device cpu, or a newer GPU",
        )
    elif architectures and not any(a // 10 == major and a % 10 <= minor for a in architectures):
        known = ", ".join(f"{a // 10}.{a % 10}" for a in architectures)
        yield Problem(
            f"{name} has compute capability {major}.{minor}; the installed CUDA compiler knows {known}",
            'pip install --upgrade "gpucells[cuda13]" (or cuda12 with a driver before 580)',
        )


def nvml_problems() -> Iterator[Problem]:
    """Why no GPU is seen although the kernel has an NVIDIA driver."""
    if not Path("/proc/driver/nvidia/version").exists():
        return
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield Problem("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
        return
    try:
        module = importlib.import_module("pynvml")
        module.nvmlInit()
        module.nvmlShutdown()
    except ImportError:
        yield Problem("there is an NVIDIA driver, but nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    except Exception as error:  # noqa: BLE001 - NVML's errors have one class a code
        yield Problem(
            f"the NVIDIA driver does not answer: {error}", "restart the machine, or the container with --gpus all"
        )


def _cupy_packages() -> list[str]:
    names = (dist.metadata["Name"] for dist in importlib.metadata.distributions())
    found = {name.lower() for name in names if name}
    return sorted(name for name in found if re.fullmatch(r"cupy(-(cuda|rocm)[\w-]*)?", name))


def _package_major(package: str) -> int:
    """CUDA's major version of a wheel such as ``cupy-cuda12x``, 0 where its name does not say."""
    match = re.fullmatch(r"cupy-cuda(\d\d)\w*", package)
    return int(match[1]) if match is not None else 0


def import_cupy() -> Any:
    """Return CuPy as a module, None where it is not installed or broken."""
    try:
        return importlib.import_module("cupy")
    except Exception:  # noqa: BLE001 - a broken CuPy raises whatever its libraries raise
        return None


def compiled_architectures(cupy: Any) -> tuple[int, ...]:
    """Return what CuPy's NVRTC compiles for, 90 for 9.0; empty where CuPy finds none."""
    try:
        return tuple(int(architecture) for architecture in cupy.cuda.nvrtc.getSupportedArchs())
    except Exception:  # noqa: BLE001 - a library that is missing or broken, with whatever error CuPy makes of it
        return ()


def _answers(cupy: Any) -> bool:
    try:
        return bool(cupy.is_available())
    except Exception:  # noqa: BLE001 - as above
        return False
