"""Which devices there are, which of them can be used, and what to do about the others."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gpucells.device.memory import (
    free_host_memory_bytes,
    peak_memory_bytes,
    total_host_memory_bytes,
    usable_cores,
)
from gpucells.errors import DeviceError

__all__ = [
    "Device",
    "Problem",
    "choose_device",
    "find_problems",
    "free_host_memory_bytes",
    "list_devices",
    "peak_memory_bytes",
]

_log = logging.getLogger(__name__)

#: Whether this version has CUDA bodies of the operations.
HAS_CUDA_BODIES: bool = False
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


@dataclass(frozen=True)
class Device:
    """A device that could compute.

    Parameters
    ----------
    name : str
        What to ask for: ``"cpu"``, ``"cuda:0"``.
    description : str
        The maker's name of it, and for a CPU its cores.
    memory_total_bytes, memory_free_bytes : int
        Of the device, or of the host as this process may use it.
    compute_capability : tuple of int or None
        NVIDIA's architecture, such as ``(9, 0)``.
    driver : str or None
        Version of the driver.
    cupy : str or None
        Version of CuPy, where it can be imported.
    problems : tuple of Problem
        Why it cannot be used; empty where it can.
    """

    name: str
    description: str
    memory_total_bytes: int
    memory_free_bytes: int
    compute_capability: tuple[int, int] | None = None
    driver: str | None = None
    cupy: str | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, and ``is_usable``, as JSON can hold them."""
        return asdict(self) | {"is_usable": self.is_usable}

    def __str__(self) -> str:
        facts = [f"{self.memory_free_bytes / 1e9:.1f} of {self.memory_total_bytes / 1e9:.1f} GB free"]
        if self.compute_capability is not None:
            facts.append("compute capability {}.{}".format(*self.compute_capability))
        facts += [f"{label} {value}" for label, value in (("driver", self.driver), ("CuPy", self.cupy)) if value]
        lines = [f"{self.name:<7} {self.description}: {', '.join(facts)}"]
        lines += [f"        cannot be used: {problem.message} ({problem.hint})" for problem in self.problems]
        return "\n".join(lines)


def list_devices() -> list[Device]:
    """Return the CPU, then every NVIDIA GPU that this process may see, usable or not.

    GPUs are found with NVIDIA's ``nvidia-ml-py`` where that is installed; their numbers are CUDA's (which
    ``CUDA_VISIBLE_DEVICES`` changes), as far as CuPy is there to say.

    Returns
    -------
    list of Device
        Each GPU with what keeps it from being used.
    """
    gpus = _list_gpus()
    problems = tuple(_cupy_problems(bool(gpus))) if gpus else ()
    return [_cpu(), *(replace(gpu, problems=problems + gpu.problems) for gpu in gpus)]


def find_problems() -> list[Problem]:
    """Return what is wrong with the GPU set-up of this machine, each with its mend; empty where nothing is.

    A machine without an NVIDIA GPU has no problem, unless two CuPy packages are in each other's way.
    """
    gpus = [device for device in list_devices() if device.name != "cpu"]
    found = [problem for gpu in gpus for problem in gpu.problems]
    if not gpus:
        found = [*_nvml_problems(), *(p for p in _cupy_problems(False) if "more than one" in p.message)]
    return list(dict.fromkeys(found))


def choose_device(request: str = "auto") -> str:
    """Return the device to compute on.

    Parameters
    ----------
    request : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` (the first GPU) or ``"cuda:N"``.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda:N"``. ``"auto"`` takes the first GPU if it can be used, and otherwise the CPU; a GPU that
        is there but cannot be used is told in one warning a process.

    Raises
    ------
    DeviceError
        A GPU was asked for and cannot be used: never silently the CPU instead.
    """
    if request == "cpu":
        return "cpu"
    if request == "auto":
        return _choose_automatically()
    match = re.fullmatch(r"cuda(?::(\d+))?", request)
    if match is None:
        raise DeviceError(f"there is no device {request!r}", "ask for auto, cpu, or cuda:0")
    if not HAS_CUDA_BODIES:
        raise DeviceError(f"{request} was asked for, but this version computes on the CPU", "use --device cpu or auto")
    name = f"cuda:{match[1] or 0}"
    devices = {device.name: device for device in list_devices()}
    if name not in devices:
        problems = find_problems()
        hint = problems[0].hint if problems else f"found: {', '.join(devices)}"
        reason = f": {problems[0].message}" if problems else ""
        raise DeviceError(f"{name} does not answer{reason}", hint)
    if devices[name].problems:
        first = devices[name].problems[0]
        raise DeviceError(f"{name} ({devices[name].description}) cannot be used: {first.message}", first.hint)
    return name


def _choose_automatically() -> str:
    gpus = [device for device in list_devices() if device.name != "cpu"]
    if not HAS_CUDA_BODIES:
        if gpus:
            _log.info("%s (%s) is there; this version computes on the CPU", gpus[0].name, gpus[0].description)
        return "cpu"
    for gpu in gpus:
        if gpu.is_usable:
            return gpu.name
    problem = next((gpu.problems[0] for gpu in gpus), None)
    _warn_once(
        f"the GPU is not used: {problem.message} ({problem.hint})" if problem else "no GPU found: computing on the CPU"
    )
    return "cpu"


@cache
def _warn_once(message: str) -> None:
    _log.warning("%s", message)


def _cpu() -> Device:
    cores = usable_cores()
    return Device(
        name="cpu",
        description=f"{_cpu_model()}, {cores} core{'s' if cores != 1 else ''}",
        memory_total_bytes=total_host_memory_bytes(),
        memory_free_bytes=free_host_memory_bytes(),
    )


@cache
def _cpu_model() -> str:
    with suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if match is not None:
            return match[1].strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return platform.processor() or platform.machine() or "CPU"


@contextmanager
def _nvml() -> Iterator[Any]:
    """Give the started NVML module, or None with nothing to ask."""
    try:
        module = importlib.import_module("pynvml")
        module.nvmlInit()
    except Exception:  # noqa: BLE001 - NVML's errors have one class a code, and none of them may stop a run on the CPU
        yield None
        return
    try:
        yield module
    finally:
        module.nvmlShutdown()


def _list_gpus() -> list[Device]:
    cupy = _import_cupy()
    with _nvml() as nvml:
        if nvml is None:
            return []
        try:
            handles = _handles(nvml, cupy)
            driver = _as_text(nvml.nvmlSystemGetDriverVersion())
            cuda_version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
            version = None if cupy is None else str(cupy.__version__)
            gpus = [_gpu(nvml, handle, driver, cuda_version) for handle in handles]
            return [replace(gpu, name=f"cuda:{number}", cupy=version) for number, gpu in enumerate(gpus)]
        except nvml.NVMLError as error:
            _log.info("NVML answered: %s", error)
            return []


def _handles(nvml: Any, cupy: Any) -> list[Any]:
    """GPUs in CUDA's order and number: exactly by CuPy's bus addresses, else by CUDA_VISIBLE_DEVICES as NVML counts."""
    if cupy is not None:
        with suppress(Exception):
            addresses = [cupy.cuda.Device(k).pci_bus_id for k in range(cupy.cuda.runtime.getDeviceCount())]
            return [nvml.nvmlDeviceGetHandleByPciBusId(address.encode()) for address in addresses]
    handles = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return handles
    chosen = []
    for word in (part.strip() for part in visible.split(",")):
        if word.isdigit() and int(word) < len(handles):
            chosen.append(handles[int(word)])
        elif named := [h for h in handles if word and _as_text(nvml.nvmlDeviceGetUUID(h)).startswith(word)]:
            chosen.append(named[0])
        else:
            break  # as CUDA does: an invalid entry hides itself and all that follow
    return chosen


def _gpu(nvml: Any, handle: Any, driver: str, cuda_version: int) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    description = _as_text(nvml.nvmlDeviceGetName(handle))
    return Device(
        name="cuda",
        description=description,
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.free),
        compute_capability=(int(major), int(minor)),
        driver=driver,
        problems=tuple(_gpu_problems(description, (int(major), int(minor)), driver, cuda_version)),
    )


def _gpu_problems(name: str, capability: tuple[int, int], driver: str, cuda_version: int) -> Iterator[Problem]:
    needed = max((_package_major(package) for package in _cupy_packages()), default=0) or min(_NEEDED_DRIVER)
    least, release = _NEEDED_DRIVER.get(needed, _NEEDED_DRIVER[max(_NEEDED_DRIVER)])
    if cuda_version < least:
        has = f"{cuda_version // 1000}.{cuda_version % 1000 // 10}"
        other = ', or pip install "gpucells[cuda12]" instead' if needed > 12 and cuda_version >= 12000 else ""
        yield Problem(
            f"driver {driver} is too old: it has CUDA {has}, and CUDA {needed} is needed",
            f"install NVIDIA driver {release} or later{other}",
        )
    if capability < _OLDEST_CAPABILITY:
        yield Problem(
            f"{name} has compute capability {capability[0]}.{capability[1]}; 7.5 (Turing) or later is needed",
            "use --device cpu, or a newer GPU",
        )


def _cupy_problems(has_gpu: bool) -> Iterator[Problem]:
    packages = _cupy_packages()
    if len(packages) > 1:
        yield Problem(
            f"more than one CuPy package is installed: {', '.join(packages)}",
            f"pip uninstall -y {' '.join(packages)} && pip install {packages[-1]}",
        )
    elif has_gpu and not packages and _import_cupy() is None:
        yield Problem("CuPy is not installed", 'pip install "gpucells[cuda12]" (or cuda13 with a driver from 580 on)')
    elif has_gpu:
        cupy = _import_cupy()
        if cupy is None:
            yield Problem(
                f"{packages[0]} is installed but cannot be imported", f"pip install --force-reinstall {packages[0]}"
            )
        elif not _answers(cupy):
            yield Problem("CuPy cannot reach the GPU", 'see what python -c "import cupy; cupy.show_config()" prints')


def _nvml_problems() -> Iterator[Problem]:
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
    except Exception as error:  # noqa: BLE001 - as above
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


def _import_cupy() -> Any:
    try:
        return importlib.import_module("cupy")
    except Exception:  # noqa: BLE001 - a broken CuPy raises whatever its libraries raise
        return None


def _answers(cupy: Any) -> bool:
    try:
        return bool(cupy.is_available())
    except Exception:  # noqa: BLE001 - as above
        return False


def _as_text(value: str | bytes) -> str:
    """NVML's Python binding gave bytes until version 11.5."""
    return value.decode() if isinstance(value, bytes) else value
