"""Which devices there are, which of them can be used, and what to do about the others."""

from __future__ import annotations

import importlib
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
from gpucells.device.problems import (
    Problem,
    card_problems,
    compiled_architectures,
    cupy_problems,
    driver_problems,
    import_cupy,
    nvml_problems,
)
from gpucells.errors import DeviceError

__all__ = [
    "Device",
    "Problem",
    "choose_device",
    "choose_devices",
    "find_problems",
    "free_host_memory_bytes",
    "list_devices",
    "peak_memory_bytes",
]

_log = logging.getLogger(__name__)

#: Whether ``"auto"`` takes a GPU. Not before the kernels have been run on one (tests/agreement/gpu_evidence.json):
#: until then they are right on the emulator, and a GPU has to be asked for by name.
TAKES_GPUS: bool = False


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
    return [_cpu(), *_list_gpus()]


def find_problems() -> list[Problem]:
    """Return what is wrong with the GPU set-up of this machine, each with its mend; empty where nothing is.

    A machine without an NVIDIA GPU has no problem, unless two CuPy packages are in each other's way.
    """
    gpus = [device for device in list_devices() if device.name != "cpu"]
    found = [problem for gpu in gpus for problem in gpu.problems]
    if not gpus:
        found = [*nvml_problems(), *cupy_problems(0)]
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


def choose_devices(request: str = "auto") -> tuple[str, ...]:
    """Return the devices to compute on, at least one.

    Parameters
    ----------
    request : str
        What :func:`choose_device` takes, several GPUs as ``"cuda:0,1"``, or ``"cuda:all"``: every GPU that can be used.

    Returns
    -------
    tuple of str
        ``("cpu",)``, or GPUs as ``"cuda:N"`` in the order asked for, each once.

    Raises
    ------
    DeviceError
        As :func:`choose_device`, for any of them; with ``"cuda:all"`` where no GPU can be used.
    """
    if request == "cuda:all":
        gpus = [device.name for device in list_devices() if device.name != "cpu" and device.is_usable]
        return tuple(gpus) if gpus else (choose_device("cuda:0"),)  # which says why
    if re.fullmatch(r"cuda:\d+(,\d+)+", request) is None:
        return (choose_device(request),)
    numbers = request.removeprefix("cuda:").split(",")
    return tuple(dict.fromkeys(choose_device(f"cuda:{int(number)}") for number in numbers))


def _choose_automatically() -> str:
    gpus = [device for device in list_devices() if device.name != "cpu"]
    if not TAKES_GPUS:
        if gpus:
            _log.info(
                "%s (%s) is there; its kernels have been run on an emulator only: ask for it with --device %s",
                gpus[0].name, gpus[0].description, gpus[0].name,
            )  # fmt: skip
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
    cupy = import_cupy()
    with _nvml() as nvml:
        if nvml is None:
            return _gpus_of_cupy(cupy)
        try:
            handles = _handles(nvml, cupy)
            driver = _as_text(nvml.nvmlSystemGetDriverVersion())
            cuda_version = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
            gpus = [_gpu(nvml, handle) for handle in handles]
        except nvml.NVMLError as error:
            _log.info("NVML answered: %s", error)
            return []
    if not gpus:
        return []
    problems = list(driver_problems(driver, cuda_version))
    problems += cupy_problems(cuda_version, is_driver_new_enough=not problems)
    return _completed([replace(gpu, driver=driver) for gpu in gpus], cupy, problems)


def _gpus_of_cupy(cupy: Any) -> list[Device]:
    """Ask CuPy where NVML does not answer: a container may have the driver's CUDA part alone."""
    try:
        runtime = cupy.cuda.runtime
        gpus = [_gpu_of_cupy(cupy, number) for number in range(runtime.getDeviceCount())]
        return _completed(gpus, cupy, list(cupy_problems(int(runtime.driverGetVersion())))) if gpus else []
    except Exception as error:  # noqa: BLE001 - no CuPy, no driver, no GPU: each with a class of its own
        _log.debug("CuPy answered: %s", error)
        return []


def _completed(gpus: list[Device], cupy: Any, problems: list[Problem]) -> list[Device]:
    """Give each GPU its number and what keeps it from being used: the machine's problems, then its own."""
    version = None if cupy is None else str(cupy.__version__)
    architectures = compiled_architectures(cupy)
    completed = []
    for number, gpu in enumerate(gpus):
        assert gpu.compute_capability is not None
        own = card_problems(gpu.description, gpu.compute_capability, architectures)
        completed.append(replace(gpu, name=f"cuda:{number}", cupy=version, problems=(*problems, *own)))
    return completed


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


def _gpu(nvml: Any, handle: Any) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Device(
        name="cuda",
        description=_as_text(nvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.free),
        compute_capability=(int(major), int(minor)),
    )


def _gpu_of_cupy(cupy: Any, number: int) -> Device:
    facts = cupy.cuda.runtime.getDeviceProperties(number)
    with cupy.cuda.Device(number) as device:
        free, total = device.mem_info
    return Device("cuda", _as_text(facts["name"]), int(total), int(free), (int(facts["major"]), int(facts["minor"])))


def _as_text(value: str | bytes) -> str:
    """NVML's Python binding gave bytes until version 11.5."""
    return value.decode() if isinstance(value, bytes) else value
