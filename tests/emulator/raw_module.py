"""CuPy's ``RawModule`` for NumPy arrays, on kernels that g++ compiled; stricter than CuPy about what it is given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from emulator import launch
from emulator.build import REPOSITORY, build
from emulator.launch import Argument, Launch, LaunchError
from emulator.source import translate

INCLUDE = REPOSITORY / "kernels" / "include"
STATIC_SHARED_BYTES = 48 << 10  # what a kernel may have without asking (CUDA C++ Programming Guide, table of limits)
MOST_SHARED_BYTES = 227 << 10  # of compute capability 9.0
_MOST_GRID = (2**31 - 1, 65535, 65535)
_MOST_BLOCK = (1024, 1024, 64)


class RawModule:
    """A kernel file.

    Parameters
    ----------
    code : str
        The kernel file, unchanged.
    options : sequence of str
        Of the compiler; ``-D``, ``-U`` and ``-I`` count, the others are nvrtc's.
    name_expressions : sequence of str, optional
        Template instances to compile.
    order : int
        Of blocks, warps and lanes: 0 forward, 1 reverse, above a random order with that seed.
    sanitize : {None, "address", "thread"}
        Run each launch in a child under AddressSanitizer and UndefinedBehaviourSanitizer, or under ThreadSanitizer.
    flush_denormals : bool
        As CuPy's ``-ftz=true``.
    shared_limit_bytes : int
        Shared memory that a block of the device can have.
    timeout_s : float
        A sanitized launch that takes longer is ended.
    filename : str
        What messages call the file.
    """

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
        order: int = 0,
        sanitize: str | None = None,
        flush_denormals: bool = True,
        shared_limit_bytes: int = MOST_SHARED_BYTES,
        timeout_s: float = 60,
        filename: str = "kernel.cu",
    ) -> None:
        self.order, self.sanitize, self.flush_denormals = order, sanitize, flush_denormals
        self.shared_limit_bytes, self.timeout_s = shared_limit_bytes, timeout_s
        folders = [Path(option[2:]) for option in options if option.startswith("-I")] + [INCLUDE]
        defines = tuple(option for option in options if option.startswith(("-D", "-U", "-I")))
        self.path = build(translate(code, folders, name_expressions or (), filename), defines, sanitize)

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel by its ``extern "C"`` name or name expression."""
        kernels = launch.signatures(self.path)
        if name not in kernels:
            raise KeyError(f'no kernel {name!r}: it must be extern "C", or be named in name_expressions')
        return RawKernel(self, name, kernels[name])


class RawKernel:
    """A kernel, called as CuPy's: ``kernel(grid, block, args, shared_mem=0)`` on NumPy arrays, changed in place."""

    def __init__(self, module: RawModule, name: str, signature: str) -> None:
        self.module, self.name = module, name
        bound, _, types = signature.partition(";")
        self.max_threads_per_block = int(bound) or 1024
        self.parameters = [Parameter.of(text) for text in types.split(",") if text]
        self.max_dynamic_shared_size_bytes = STATIC_SHARED_BYTES

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        self.prepare(grid, block, args, shared_mem=shared_mem)()

    def prepare(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> _Run:
        """Check a launch now, and return the call that runs it later."""
        shape = self._checked_shape(grid, block, shared_mem)
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, not {len(args)}")
        for number, (value, parameter) in enumerate(zip(args, self.parameters, strict=True)):
            parameter.check(value, f"{self.name}, argument {number}")
        return _Run(self, shape, tuple(args))

    def _checked_shape(self, grid: Sequence[int], block: Sequence[int], shared_mem: int) -> Launch:
        full_grid, full_block = ((*map(int, size), 1, 1)[:3] for size in (grid, block))
        threads = int(np.prod(full_block))
        if min(*full_grid, *full_block) < 1 or any(
            size > most for size, most in zip((*full_grid, *full_block), (*_MOST_GRID, *_MOST_BLOCK), strict=True)
        ):
            raise LaunchError(f"{self.name}: no GPU takes a grid of {full_grid} blocks of {full_block} threads")
        if threads > self.max_threads_per_block:
            raise LaunchError(f"{self.name}: {threads} threads in a block, at most {self.max_threads_per_block}")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise LaunchError(
                f"{self.name}: {shared_mem} bytes of dynamic shared memory, max_dynamic_shared_size_bytes is "
                f"{self.max_dynamic_shared_size_bytes}"
            )
        asked = self.max_dynamic_shared_size_bytes > STATIC_SHARED_BYTES
        limit = self.module.shared_limit_bytes if asked else STATIC_SHARED_BYTES
        if self.max_dynamic_shared_size_bytes > self.module.shared_limit_bytes:
            raise LaunchError(f"{self.name}: a block of this device has {self.module.shared_limit_bytes} bytes shared")
        module = self.module
        return Launch(self.name, full_grid, full_block, shared_mem, limit, module.order, module.flush_denormals)


@dataclass(frozen=True)
class _Run:
    """A checked launch."""

    kernel: RawKernel
    shape: Launch
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        parameters = self.kernel.parameters
        arrays = [
            (a.ctypes.data, a.nbytes, not p.const)
            for a, p in zip(self.arguments, parameters, strict=True)
            if p.pointer and a is not None
        ]
        regions = launch.merge(arrays)
        packed = [_packed(a, p, regions) for a, p in zip(self.arguments, parameters, strict=True)]
        module = self.kernel.module
        if module.sanitize is None:
            launch.run_here(module.path, self.shape, regions, packed)
        else:
            launch.run_child(module.path, self.shape, regions, packed, module.timeout_s)


def _packed(value: Any, parameter: Parameter, regions: list[launch.Region]) -> Argument:
    if not parameter.pointer or value is None:
        return Argument(scalar=bytes(8) if value is None else np.asarray(value).tobytes())
    address, end = value.ctypes.data, value.ctypes.data + value.nbytes
    for number, region in enumerate(regions):
        if region.address <= address and end <= region.address + region.n_bytes:
            return Argument(region=number, offset=address - region.address)
    raise AssertionError("every array lies in a region")


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter, as ``describe`` in emulator.h writes it: ``c*f4:4``, ``*V8:8``, ``i4``."""

    const: bool
    pointer: bool
    kind: str
    n_bytes: int
    alignment: int

    @classmethod
    def of(cls, text: str) -> Parameter:
        const, pointer, kind, n_bytes, alignment = re.match(r"(c?)(\*?)(.)(\d+)(?::(\d+))?", text).groups()  # type: ignore[union-attr]
        return cls(bool(const), bool(pointer), kind, int(n_bytes), int(alignment or 1))

    @property
    def type_name(self) -> str:
        """The parameter's type in NumPy's words."""
        return f"{self.kind}{self.n_bytes}"

    def check(self, value: Any, what: str) -> None:
        """Refuse what the kernel would misread; CuPy would pass it on."""
        if self.pointer:
            self._check_array(value, what)
            return
        if isinstance(value, np.ndarray):
            raise TypeError(f"{what}: an array for a scalar of type {self.type_name}")
        have = np.asarray(value).dtype  # as in CuPy a Python int has 8 bytes, and so has a Python float
        fits = have.itemsize == self.n_bytes if self.kind == "V" else _name(have) == self.type_name
        if not fits:
            raise TypeError(f"{what}: the kernel takes {self.type_name}, not {have}; wrap it as in np.int32(n)")

    def _check_array(self, value: Any, what: str) -> None:
        if value is None:
            return
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{what}: {type(value).__name__} for a pointer")
        if self.kind == "V":  # a struct such as float4: any array that is a whole number of them
            fits = self.n_bytes == 0 or value.nbytes % self.n_bytes == 0
        else:
            fits = _name(value.dtype) == self.type_name
        if not fits:
            raise TypeError(f"{what}: the kernel takes a pointer to {self.type_name}, the array is of {value.dtype}")
        if not value.flags.c_contiguous:
            raise TypeError(f"{what}: the array is not C-contiguous, and a kernel sees its address alone")
        if value.ctypes.data % self.alignment:
            raise TypeError(f"{what}: the array is not aligned to {self.alignment} bytes")
        if not self.const and not value.flags.writeable:
            raise TypeError(f"{what}: the array is read-only and the pointer is not const")


def _name(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{dtype.itemsize}"
