"""``cupy.RawModule`` and ``cupy.RawKernel`` on the emulator: checked at once, run in their stream's turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from emulator import raw_module
from emulator.stand_in.array import ndarray
from emulator.stand_in.machine import machine
from emulator.stand_in.streams import SHARED_BYTES, Stream

_Source = tuple[str, tuple[str, ...], tuple[str, ...], str]


class RawModule:
    """``cupy.RawModule``."""

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        name_expressions: Sequence[str] | None = None,
        **others: Any,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if not isinstance(options, tuple):
            raise TypeError(f"options must be a tuple, not {type(options).__name__}")
        if name_expressions and not any("-std=" in option or "--std=" in option for option in options):
            raise ValueError("need to specify C++ standard for compiling template code")
        text = Path(path).read_text(encoding="utf-8") if code is None else code
        name = "kernel.cu" if path is None else Path(path).name
        self.source: _Source = (text, options, tuple(name_expressions or ()), name)

    def compile(self, log_stream: Any = None) -> None:
        _emulated(self.source, 0, machine().sanitize, raw_module.MOST_SHARED_BYTES)

    def get_function(self, name: str) -> RawKernel:
        kernel = RawKernel(*self.source[:1], name, options=self.source[1])
        kernel.source = self.source
        _ = kernel.emulated  # a name that is not there is an error now
        return kernel


class RawKernel:
    """``cupy.RawKernel``."""

    def __init__(
        self, code: str, name: str, options: Sequence[str] = (), backend: str = "nvrtc", **others: Any
    ) -> None:
        self.source: _Source = (code, tuple(options), (), "kernel.cu")
        self.name = self.__name__ = name
        self.max_dynamic_shared_size_bytes = raw_module.STATIC_SHARED_BYTES
        self.preferred_shared_memory_carveout = -1

    @property
    def emulated(self) -> raw_module.RawKernel:
        """The kernel under the order, sanitizer and device of now: a loader may keep its kernels from test to test."""
        now = machine()
        shared = SHARED_BYTES[now.current_gpu().compute_capability]
        kernel = _emulated(self.source, now.order, now.sanitize, shared).get_function(self.name)
        kernel.max_dynamic_shared_size_bytes = self.max_dynamic_shared_size_bytes
        return kernel

    @property
    def max_threads_per_block(self) -> int:
        return self.emulated.max_threads_per_block

    @property
    def attributes(self) -> dict[str, int]:
        return {
            "max_threads_per_block": self.max_threads_per_block,
            "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
            "num_regs": 32,
            "local_size_bytes": 0,
            "shared_size_bytes": 0,
        }

    def compile(self, log_stream: Any = None) -> None:
        _ = self.emulated

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Stream | None = None,
        **others: Any,
    ) -> None:
        for size in (grid, block):
            if not isinstance(size, tuple):
                raise TypeError(f"grid and block must be tuples, not {type(size).__name__}")
        now = machine()
        queue = now.current_queue() if stream is None else stream.queue
        hosts = []
        for number, value in enumerate(args):
            if isinstance(value, np.ndarray):
                raise TypeError(f"{self.name}, argument {number}: Unsupported type {type(value)}")
            if isinstance(value, ndarray) and value._memory.gpu is not queue.gpu:
                raise ValueError(
                    f"{self.name}, argument {number}: array device = {value.device.id}, current = {queue.gpu.number}"
                )
            hosts.append(value._host if isinstance(value, ndarray) else value)
        run = self.emulated.prepare(grid, block, hosts, shared_mem=shared_mem)
        now.counts["launches"] += 1
        now.submit(queue, run)


@cache
def _emulated(source: _Source, order: int, sanitize: str | None, shared_bytes: int) -> raw_module.RawModule:
    code, options, names, filename = source
    return raw_module.RawModule(
        code=code,
        options=options,
        name_expressions=names,
        filename=filename,
        order=order,
        sanitize=sanitize,
        shared_limit_bytes=shared_bytes,
    )
