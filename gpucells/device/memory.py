"""How much host memory and how many cores this process may use, containers and clusters included."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")


def free_host_memory_bytes(root: Path = _ROOT) -> int:
    """Return the bytes that this process can still take without swapping or being killed.

    Parameters
    ----------
    root : pathlib.Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    int
        The least of the machine's available memory and what the limits of the process's control groups (containers,
        SLURM jobs) leave, where the file cache counts as free because the kernel gives it back.
    """
    available = _meminfo(root).get("MemAvailable")
    if available is None:
        available = _portable("available", "SC_AVPHYS_PAGES")
    return max(0, min([available, *(limit - used for limit, used in _group_memory(root))]))


def total_host_memory_bytes(root: Path = _ROOT) -> int:
    """Return the bytes of the machine, or of the control group where that is smaller."""
    total = _meminfo(root).get("MemTotal")
    if total is None:
        total = _portable("total", "SC_PHYS_PAGES")
    return min([total, *(limit for limit, _ in _group_memory(root))])


def peak_memory_bytes(root: Path = _ROOT) -> int:
    """Return the largest resident memory of this process so far, 0 where the system does not say.

    On Linux from ``VmHWM``, because ``ru_maxrss`` starts at the size of the parent process.
    """
    status = _lines(root / "proc/self/status")
    if "VmHWM" in status:
        return int(status["VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def usable_cores(root: Path = _ROOT) -> int:
    """Return the cores that this process may keep busy: its affinity, capped by the control groups' quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    for folder in _group_folders(root, "cpu"):
        quota = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and quota[0] not in ("max", "-1"):
            cores = min(cores, max(1, math.ceil(int(quota[0]) / int(quota[1]))))
    return cores


def _group_memory(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit, and use without reclaimable file cache, of every control group above this process."""
    for folder in _group_folders(root, "memory"):
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),  # version 2
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
        ):
            limit, used = _words(folder / limit_name), _words(folder / used_name)
            # Version 1 writes "no limit" as a number near 2^63.
            if limit and used and limit[0] != "max" and int(limit[0]) < 1 << 60:
                cache = int(_lines(folder / "memory.stat", " ").get(cache_name, "0"))
                yield int(limit[0]), max(0, int(used[0]) - cache)


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the process's control group and all above it; a limit anywhere on the way holds."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, names, path = line.split(":", 2)
        if number == "0":
            top = root / "sys/fs/cgroup"
        elif controller in names.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        group = Path(path.lstrip("/"))
        # Inside a container the path can be the host's and not exist: then the top itself is the container's group.
        yield from (top / part for part in (group, *group.parents))


def _meminfo(root: Path) -> dict[str, int]:
    return {name: int(value.split()[0]) * 1024 for name, value in _lines(root / "proc/meminfo").items()}


def _portable(psutil_name: str, sysconf_name: str) -> int:
    """Ask psutil where it is installed, then POSIX; macOS has no free pages there, so half of all is taken."""
    with suppress(ImportError):
        return int(getattr(importlib.import_module("psutil").virtual_memory(), psutil_name))
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        return int(os.sysconf(sysconf_name)) * page
    except ValueError:
        return int(os.sysconf("SC_PHYS_PAGES")) * page // 2


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _lines(path: Path, separator: str = ":") -> dict[str, str]:
    pairs = (line.partition(separator) for line in _text(path).splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}
