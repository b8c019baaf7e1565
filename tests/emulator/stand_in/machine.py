"""The simulated GPUs: queues of work that run in any legal order, and memory that runs out.

The order says when queued work runs: 0 at once, 1 as late as a synchronisation allows and no more of it than that one
needs, above 1 at random with that seed. The same number is the order of blocks and lanes within a launch.
"""

from __future__ import annotations

import gc
import itertools
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

POISON = 0xFF  # memory that nobody wrote: NaN as a float, -1 as an integer
_ROUNDING_BYTES = 512  # of CuPy's pool, which is the alignment of its allocations too
_PACES = (0, 0.1, 0.5, 0.95)
Ticket = tuple["Queue", int]


class OutOfMemoryError(MemoryError):
    """``cupy.cuda.memory.OutOfMemoryError``."""

    def __init__(self, n_bytes: int, allocated: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(
            f"Out of memory allocating {n_bytes:,} bytes (allocated so far: {allocated:,} bytes{limited})."
        )


@dataclass
class Queue:
    """The work of one stream, in its order."""

    gpu: Gpu
    number: int  # what CuPy has the stream's pointer for; 0 is the null stream
    blocking: bool
    pending: deque[tuple[Callable[[], object], tuple[Ticket, ...]]] = field(default_factory=deque)
    issued: int = 0
    done: int = 0
    pace: float = 0  # how likely each piece of work runs when it could

    def __post_init__(self) -> None:
        self.pace = self.gpu.machine.random.choice(_PACES)

    def runnable(self) -> bool:
        """Whether the next piece of work may run now."""
        return bool(self.pending) and all(queue.done >= ticket for queue, ticket in self.pending[0][1])


class Block:
    """A piece of device memory, alive or in the pool."""

    def __init__(self, n_bytes: int, queue: Queue) -> None:
        self.n_bytes, self.queue, self.freed_at = n_bytes, queue, 0
        raw = np.full(n_bytes + _ROUNDING_BYTES, POISON, np.uint8)
        start = -raw.ctypes.data % _ROUNDING_BYTES
        self.bytes = raw[start : start + n_bytes]


class Memory:
    """What an array owns; the block goes back to the pool with its last owner."""

    def __init__(self, gpu: Gpu, block: Block | None) -> None:
        self.gpu, self.block = gpu, block

    def __del__(self) -> None:
        if self.block is not None:
            self.gpu.release(self.block)


class Gpu:
    """One device: its streams, and its memory behind a pool as CuPy's.

    As in CuPy a freed block goes back to the stream that it was allocated on, and is given out there again without
    waiting for anything; a use of it that is still queued on another stream then reads what the new owner wrote. Unlike
    CuPy's, blocks are neither split nor joined.
    """

    def __init__(self, machine: Machine, number: int, vram_bytes: int, compute_capability: str) -> None:
        self.machine, self.number, self.vram_bytes = machine, number, vram_bytes
        self.compute_capability = compute_capability
        self.limit_bytes = 0  # of the pool; 0 is none
        self.used_bytes = self.total_bytes = self.peak_bytes = 0
        self.free: dict[tuple[int, int], list[Block]] = {}
        self.alive: dict[int, Block] = {}
        self.null = Queue(self, 0, blocking=True)
        self.queues = [self.null]

    def allocate(self, n_bytes: int) -> Memory:
        """Return memory of the pool, poisoned; raises OutOfMemoryError."""
        if n_bytes == 0:
            return Memory(self, None)
        with self.machine.lock:
            queue = self.machine.current_queue(self)
            rounded = -(-n_bytes // _ROUNDING_BYTES) * _ROUNDING_BYTES
            kept = self.free.get((queue.number, rounded))
            if kept:
                block = kept.pop()
                self._poison(block, queue)
            else:
                self._make_room(rounded)
                block = Block(rounded, queue)
                self.total_bytes += rounded
            self.used_bytes += rounded
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
            self.alive[block.bytes.ctypes.data] = block
            return Memory(self, block)

    def _poison(self, block: Block, queue: Queue) -> None:
        """At once, or, where the stream still has work from before the block was freed, behind that."""
        if queue.done >= block.freed_at:
            block.bytes.fill(POISON)
        else:
            self.machine.submit(queue, lambda: block.bytes.fill(POISON))

    def _make_room(self, n_bytes: int) -> None:
        if self.limit_bytes and self.total_bytes + n_bytes > self.limit_bytes:  # CuPy's gives nothing back here
            raise OutOfMemoryError(n_bytes, self.total_bytes, self.limit_bytes)
        for collect in (self.free_all_blocks, gc.collect, self.free_all_blocks):
            if self.total_bytes + n_bytes > self.vram_bytes:
                collect()
        if self.total_bytes + n_bytes > self.vram_bytes:
            raise OutOfMemoryError(n_bytes, self.total_bytes, self.limit_bytes)

    def release(self, block: Block) -> None:
        with self.machine.lock:
            self.used_bytes -= block.n_bytes
            self.alive.pop(block.bytes.ctypes.data)
            block.freed_at = block.queue.issued
            self.free.setdefault((block.queue.number, block.n_bytes), []).append(block)

    def free_all_blocks(self) -> None:
        """Give what the pool keeps back to the device, which waits for its work as cudaFree does."""
        with self.machine.lock:
            if any(self.free.values()):
                self.synchronize()
            self.total_bytes -= sum(block.n_bytes for blocks in self.free.values() for block in blocks)
            self.free.clear()

    def synchronize(self) -> None:
        for queue in list(self.queues):
            self.machine.finish(queue)

    def new_queue(self, blocking: bool) -> Queue:
        queue = Queue(self, next(self.machine.numbers), blocking)
        self.queues.append(queue)
        return queue


class _Current(threading.local):
    def __init__(self) -> None:
        self.device = 0
        self.queues: dict[int, Queue] = {}
        self.allocator: Callable[[int], Any] | None = None  # of this thread: bytes to a MemoryPointer


class Machine:
    """All devices of the stand-in, and the order that their work runs in."""

    def __init__(
        self,
        *,
        n_devices: int = 1,
        vram_bytes: int = 1 << 30,
        order: int = 0,
        sanitize: str | None = None,
        compute_capability: str = "90",
    ) -> None:
        self.order, self.sanitize = order, sanitize
        self.lock = threading.RLock()
        self.random = random.Random(order)
        self.numbers = itertools.count(16, 16)
        self.counts: Counter[str] = Counter()  # launches, copies: for tests to look at
        self.gpus = [Gpu(self, k, vram_bytes, compute_capability) for k in range(n_devices)]
        self.current = _Current()

    def current_gpu(self) -> Gpu:
        return self.gpus[self.current.device]

    def current_queue(self, gpu: Gpu | None = None) -> Queue:
        gpu = gpu or self.current_gpu()
        return self.current.queues.get(gpu.number, gpu.null)

    def is_plain(self, queue: Queue) -> bool:
        """Whether work may as well run at once: there is nothing that it could overtake or be overtaken by."""
        return self.order == 0 or (len(queue.gpu.queues) == 1 and not queue.pending)

    def submit(self, queue: Queue, run: Callable[[], object], after: Iterable[Ticket] = ()) -> Ticket:
        """Queue work. The null stream waits for all blocking streams and they for it (legacy default stream)."""
        with self.lock:
            waits = list(after)
            if queue is queue.gpu.null:
                waits += [(other, other.issued) for other in queue.gpu.queues if other.blocking and other is not queue]
            elif queue.blocking:
                waits.append((queue.gpu.null, queue.gpu.null.issued))
            queue.pending.append((run, tuple(waits)))
            queue.issued += 1
            ticket = (queue, queue.issued)
            if self.order == 0:
                self.finish(*ticket)
            elif self.order > 1:
                self._advance()
            return ticket

    def finish(self, queue: Queue, ticket: int | None = None) -> None:
        """Wait for work, by default all that is queued: and for what it waits for."""
        with self.lock:
            if self.order > 1:
                self._advance()
            self._run_until(queue, queue.issued if ticket is None else ticket)

    def poll(self, queue: Queue, ticket: int) -> bool:
        """Whether work is done; who asks again and again sees it become so."""
        with self.lock:
            done = queue.done >= ticket
            if not done:
                self.finish(queue, queue.done + 1)
            return done

    def _advance(self) -> None:
        """Let each stream go on at its own pace, which changes now and then: some lag for long."""
        queues = [queue for gpu in self.gpus for queue in gpu.queues]
        if self.random.random() < 0.05:
            self.random.choice(queues).pace = self.random.choice(_PACES)
        for queue in self.random.sample(queues, len(queues)):
            while queue.runnable() and self.random.random() < queue.pace:
                self._run_next(queue)

    def _run_until(self, queue: Queue, ticket: int) -> None:
        while queue.done < ticket:
            for other, needed in queue.pending[0][1]:
                self._run_until(other, needed)
            self._run_next(queue)

    def _run_next(self, queue: Queue) -> None:
        run, _ = queue.pending.popleft()
        queue.done += 1
        run()


_installed: list[Machine] = []


def machine() -> Machine:
    """Return the simulated machine that is installed."""
    if not _installed:
        raise RuntimeError("the stand-in for CuPy is not installed: use the fixture emulated_cupy")
    return _installed[-1]
