"""Every CUDA kernel that an operation declares: the one table of the compile gate and of the emulator's tests."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import gpucells.ops
from gpucells.device.kernels import Kernel


@cache
def declared_kernels() -> tuple[tuple[str, Kernel], ...]:
    """``(module, kernel)``, the module without its package: where the declaration stands."""
    found: dict[Kernel, str] = {}
    for module in pkgutil.iter_modules(gpucells.ops.__path__):
        for thing in vars(importlib.import_module(f"gpucells.ops.{module.name}")).values():
            if isinstance(thing, Kernel) and (thing not in found or f"{module.name}.cu" == thing.file):
                found[thing] = module.name  # another operation may import the kernel: the twin of the .cu declares it
    return tuple((module, kernel) for kernel, module in found.items())
