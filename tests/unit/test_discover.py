"""Devices: found with stand-ins for NVML and CuPy; memory: read from stand-ins for /proc and /sys."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpucells.cli import main
from gpucells.device import discover, memory
from gpucells.device.discover import choose_device, choose_devices, find_problems, list_devices
from gpucells.errors import DeviceError

GIB = 1 << 30


class FakeNvml(SimpleNamespace):
    """NVML of a machine with some GPUs, in NVML's (bus) order."""

    class NVMLError(Exception):
        pass

    def __init__(self, names: tuple[str, ...], capability: tuple[int, int] = (9, 0), cuda: int = 13000) -> None:
        super().__init__(names=names, capability=capability, cuda=cuda, running=0)

    def nvmlInit(self) -> None:
        self.running += 1

    def nvmlShutdown(self) -> None:
        self.running -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, k: int) -> int:
        return k

    def nvmlDeviceGetHandleByPciBusId(self, address: bytes) -> int:
        return int(address.decode().removeprefix("bus"))

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}abc"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return self.names[handle].encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=80 * GIB, free=(70 + handle) * GIB)

    def nvmlDeviceGetCudaComputeCapability(self, _: int) -> tuple[int, int]:
        return self.capability

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self.cuda


class FakeCudaDevice:
    def __init__(self, number: int, bus: int) -> None:
        self.pci_bus_id = f"bus{bus}"
        self.mem_info = ((20 + number) * GIB, 24 * GIB)

    def __enter__(self) -> FakeCudaDevice:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def fake_cupy(
    order: tuple[int, ...] = (0,), available: bool = True, compiles_for: tuple[int, ...] | None = (75, 80, 90, 120)
) -> SimpleNamespace:
    """CuPy that sees GPUs in this order, with NVRTC for these architectures, or without one."""

    def supported() -> list[int]:
        if compiles_for is None:
            raise RuntimeError("CuPy failed to load libnvrtc.so.12")
        return list(compiles_for)

    runtime = SimpleNamespace(
        getDeviceCount=lambda: len(order),
        driverGetVersion=lambda: 12080,
        getDeviceProperties=lambda k: {"name": f"card {order[k]}".encode(), "major": 8, "minor": 9},
    )
    return SimpleNamespace(
        __version__="14.1.0",
        is_available=lambda: available,
        cuda=SimpleNamespace(
            Device=lambda k: FakeCudaDevice(k, order[k]), runtime=runtime,
            nvrtc=SimpleNamespace(getSupportedArchs=supported),
        ),
    )  # fmt: skip


Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Set what the machine has: NVML, CuPy as a module, CuPy as packages."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    discover._warn_once.cache_clear()

    def set_up(nvml: Any = None, cupy: Any = None, packages: tuple[str, ...] = ()) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", nvml)  # None makes the import fail
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        found = [SimpleNamespace(metadata={"Name": name}) for name in ("numpy", "cupy-xarray", *packages)]
        monkeypatch.setattr(discover.importlib.metadata, "distributions", lambda: iter(found))

    return set_up


@pytest.fixture
def gpus_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "TAKES_GPUS", True)


def test_cpu_is_always_there(machine: Machine) -> None:
    machine()
    (cpu,) = list_devices()
    assert cpu.name == "cpu"
    assert "core" in cpu.description
    assert 0 < cpu.memory_free_bytes <= cpu.memory_total_bytes
    assert cpu.is_usable


def test_gpu_with_everything_in_place(machine: Machine) -> None:
    nvml = FakeNvml(("NVIDIA H100",))
    machine(nvml, fake_cupy(), ("cupy-cuda13x",))
    gpu = list_devices()[1]
    assert gpu == discover.Device(
        "cuda:0", "NVIDIA H100", 80 * GIB, 70 * GIB, (9, 0), "580.95.05", "14.1.0", problems=()
    )
    assert find_problems() == []
    assert nvml.running == 0, "NVML was left running"


def test_a_device_as_text_and_as_json(machine: Machine) -> None:
    machine(FakeNvml(("NVIDIA H100",)), None)
    gpu = list_devices()[1]
    first, second = str(gpu).splitlines()
    assert first == "cuda:0  NVIDIA H100: 75.2 of 85.9 GB free, compute capability 9.0, driver 580.95.05"
    assert "cannot be used: CuPy is not installed" in second
    told = json.loads(json.dumps(gpu.as_dict()))
    assert told["name"] == "cuda:0"
    assert told["is_usable"] is False
    assert "pip install" in told["problems"][0]["hint"]


def test_numbers_are_those_of_cuda_not_of_nvml(machine: Machine) -> None:
    machine(FakeNvml(("slow", "fast")), fake_cupy(order=(1, 0)), ("cupy-cuda13x",))
    assert [(d.name, d.description) for d in list_devices()[1:]] == [("cuda:0", "fast"), ("cuda:1", "slow")]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("1,0", ["b", "a"]), ("GPU-2", ["c"]), ("", []), ("-1", []), ("2,9,0", ["c"]), (None, ["a", "b", "c"])],
)
def test_visible_devices_without_cupy(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    machine(FakeNvml(("a", "b", "c")))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [device.description for device in list_devices()[1:]] == expected


@pytest.mark.parametrize(
    ("nvml", "cupy", "packages", "message", "hint"),
    [
        (FakeNvml(("x",)), None, (), "CuPy is not installed", "gpucells[cuda13]"),
        (FakeNvml(("x",), cuda=12040), None, (), "CuPy is not installed", "gpucells[cuda12]"),
        (FakeNvml(("x",)), None, ("cupy-cuda12x",), "cannot be imported", "--force-reinstall cupy-cuda12x"),
        (FakeNvml(("x",)), fake_cupy(available=False), ("cupy-cuda12x",), "cannot reach the GPU", "show_config"),
        (FakeNvml(("x",)), fake_cupy(), ("cupy-cuda12x", "cupy"), "cupy, cupy-cuda12x", "pip uninstall -y cupy cupy-"),
        (
            FakeNvml(("x",), cuda=12040),
            fake_cupy(),
            ("cupy-cuda13x",),
            "has CUDA 12.4, and",
            "gpucells[cuda12]",
        ),
        (
            FakeNvml(("x",), cuda=11080),
            fake_cupy(),
            ("cupy-cuda12x",),
            "has CUDA 11.8, and",
            "525.60.13 or later",
        ),
        (
            FakeNvml(("x",), cuda=12040),
            fake_cupy(),
            ("cupy-cuda12x", "cupy-cuda13x"),
            "more than one",
            '-y cupy-cuda12x cupy-cuda13x && pip install "gpucells[cuda12]"',
        ),
        (  # CuPy reaches nothing because of the driver: told once
            FakeNvml(("x",), cuda=11080),
            fake_cupy(available=False),
            ("cupy-cuda12x",),
            "driver 580.95.05 is too old",
            "525.60.13 or later",
        ),
        (FakeNvml(("x",)), fake_cupy(compiles_for=None), ("cupy-cuda13x",), "finds no NVRTC", "gpucells[cuda13]"),
        (FakeNvml(("x",), (12, 0)), fake_cupy(compiles_for=(75, 90)), ("cupy-cuda12x",), "knows 7.5, 9.0", "--upgrade"),
        (FakeNvml(("x",), (10, 0)), fake_cupy(), ("cupy-cuda12x",), "capability 10.0", "--upgrade"),
        (FakeNvml(("x",), (7, 0)), fake_cupy(), ("cupy-cuda12x",), "capability 7.0", "newer GPU"),
    ],
)
@pytest.mark.usefixtures("gpus_are_taken")
def test_problems_come_with_their_mend(
    machine: Machine, caplog: pytest.LogCaptureFixture, nvml: Any, cupy: Any, packages: Any, message: str, hint: str
) -> None:
    machine(nvml, cupy, packages)
    (problem,) = find_problems()
    assert message in problem.message
    assert hint in problem.hint
    assert not list_devices()[1].is_usable
    with pytest.raises(DeviceError, match="cannot be used") as caught:
        choose_device("cuda:0")
    assert caught.value.hint == problem.hint
    with caplog.at_level(logging.INFO):
        assert choose_device("auto") == choose_device("auto") == "cpu"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert problem.hint in record.message


def test_two_cupy_packages_are_told_without_a_gpu(machine: Machine) -> None:
    machine(None, fake_cupy(order=()), ("cupy-cuda12x", "cupy-cuda13x"))
    assert "more than one" in find_problems()[0].message


def test_a_newer_minor_capability_runs_what_is_compiled_for_an_older(machine: Machine) -> None:
    machine(FakeNvml(("RTX",), (12, 1)), fake_cupy(), ("cupy-cuda13x",))
    assert find_problems() == []


def test_without_nvml_cupy_is_asked(machine: Machine) -> None:
    """A container may be given the driver's CUDA part, and not its tools."""
    machine(None, fake_cupy(order=(4, 2)), ("cupy-cuda12x",))
    assert list_devices()[1:] == [
        discover.Device(f"cuda:{k}", f"card {card}", 24 * GIB, (20 + k) * GIB, (8, 9), None, "14.1.0")
        for k, card in enumerate((4, 2))
    ]
    machine(None, fake_cupy(compiles_for=None), ("cupy-cuda12x",))
    assert "finds no NVRTC" in find_problems()[0].message
    machine(None, fake_cupy(order=()), ("cupy-cuda12x",))
    assert len(list_devices()) == 1


def test_the_verb_tells_problems_that_no_gpu_has(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine(None, None, ("cupy-cuda12x", "cupy-cuda13x"))
    assert main(["devices"]) == 0
    assert (
        "problem: more than one CuPy package is installed: cupy-cuda12x, cupy-cuda13x (pip" in capsys.readouterr().out
    )
    assert main(["devices", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [device["name"] for device in json.loads(out)] == ["cpu"]
    assert "more than one CuPy package" in err


def test_nvml_that_fails_means_no_gpu(machine: Machine) -> None:
    nvml = FakeNvml(("x",))

    def fail() -> None:
        raise FakeNvml.NVMLError("Driver/library version mismatch")

    nvml.nvmlInit = fail
    machine(nvml)
    assert [device.name for device in list_devices()] == ["cpu"]


def test_a_gpu_has_to_be_asked_for_by_name(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine(FakeNvml(("NVIDIA H100",)), fake_cupy(), ("cupy-cuda13x",))
    assert choose_device("cuda:0") == "cuda:0"
    with caplog.at_level(logging.INFO):
        assert choose_device("auto") == "cpu"
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "NVIDIA H100" in record.message
    assert "--device cuda:0" in record.message
    assert choose_device("cpu") == "cpu"


@pytest.mark.usefixtures("gpus_are_taken")
def test_choice_where_gpus_are_taken(machine: Machine) -> None:
    machine(FakeNvml(("a",)), fake_cupy(), ("cupy-cuda13x",))
    assert choose_device("auto") == choose_device("cuda") == choose_device("cuda:0") == "cuda:0"
    with pytest.raises(DeviceError, match="cuda:3 does not answer") as caught:
        choose_device("cuda:3")
    assert "found: cpu, cuda:0" in caught.value.hint


@pytest.mark.usefixtures("gpus_are_taken")
def test_several_gpus(machine: Machine) -> None:
    machine(FakeNvml(("a", "b", "c")), fake_cupy(order=(0, 1, 2)), ("cupy-cuda13x",))
    assert choose_devices("cuda:2,0,2") == ("cuda:2", "cuda:0")
    assert choose_devices("cuda:all") == ("cuda:0", "cuda:1", "cuda:2")
    assert choose_devices("cuda:1") == ("cuda:1",)
    assert choose_devices("cuda") == choose_devices("auto") == ("cuda:0",), "several only where they are asked for"
    assert choose_devices("cpu") == ("cpu",)
    with pytest.raises(DeviceError, match="cuda:3 does not answer") as caught:
        choose_devices("cuda:0,3")
    assert "found: cpu, cuda:0, cuda:1, cuda:2" in caught.value.hint


@pytest.mark.usefixtures("gpus_are_taken")
def test_all_gpus_where_none_can_be_used(machine: Machine) -> None:
    machine(FakeNvml(("a", "b")))
    with pytest.raises(DeviceError, match="cannot be used: CuPy is not installed"):
        choose_devices("cuda:all")
    machine()
    with pytest.raises(DeviceError, match="cuda:0 does not answer"):
        choose_devices("cuda:all")


@pytest.mark.usefixtures("gpus_are_taken")
def test_automatic_choice_without_a_gpu_warns_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine()
    assert choose_device() == choose_device() == "cpu"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("request_", ["gpu", "cuda:", "cuda:x", "", "CPU"])
def test_names_that_are_no_device(request_: str) -> None:
    with pytest.raises(DeviceError, match="there is no device"):
        choose_device(request_)


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in {"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 800 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "free", "total"),
    [
        ({}, 800 * 1024, 1000 * 1024),
        ({"proc/self/cgroup": "0::/\n", V2 + "memory.max": "max", V2 + "memory.current": "5"}, 800 * 1024, 1000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                V2 + "job/step/memory.max": "max\n",
                V2 + "job/step/memory.current": "1\n",
                V2 + "job/memory.max": "5000\n",
                V2 + "job/memory.current": "3000\n",
                V2 + "job/memory.stat": "anon 1\ninactive_file 1000\n",
            },
            3000,
            5000,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/x\n3:cpu,cpuacct:/\n",
                V1 + "memory.limit_in_bytes": "4000",
                V1 + "memory.usage_in_bytes": "4500",
            },
            0,
            4000,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/\n",
                V1 + "memory.limit_in_bytes": str(2**63 - 4096),
                V1 + "memory.usage_in_bytes": "10",
            },
            800 * 1024,
            1000 * 1024,
        ),
    ],
)
def test_host_memory_respects_control_groups(tmp_path: Path, files: dict[str, str], free: int, total: int) -> None:
    write_tree(tmp_path, files)
    assert memory.free_host_memory_bytes(tmp_path) == free
    assert memory.total_host_memory_bytes(tmp_path) == total


def test_cores_respect_the_quota(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/self/cgroup": "0::/a\n", V2 + "a/cpu.max": "50000 100000\n"})
    assert memory.usable_cores(tmp_path) == 1
    write_tree(tmp_path, {V2 + "a/cpu.max": "max 100000\n"})
    assert memory.usable_cores(tmp_path) == memory.usable_cores(tmp_path / "nothing") >= 1


def test_systems_without_proc_answer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.free_host_memory_bytes(tmp_path) > 0
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert 0 < memory.free_host_memory_bytes(tmp_path) <= memory.total_host_memory_bytes(tmp_path)
    assert memory.peak_memory_bytes(tmp_path) > 1 << 20


def test_peak_memory_follows_what_was_taken() -> None:
    before = discover.peak_memory_bytes()
    block = np.ones(max(before, 64 << 20) // 8, dtype=np.float64)
    after = discover.peak_memory_bytes()
    assert after >= block.nbytes
    del block
    assert discover.peak_memory_bytes() > after - (2 << 20), "a peak does not go down (the kernel rounds its counters)"
