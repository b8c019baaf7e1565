"""What each stage of a run takes: seconds, CPU seconds, peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

from gpucells.device.budget import held_bytes
from gpucells.device.memory import peak_memory_bytes
from gpucells.model.provenance import StageCost
from gpucells.progress import Event, ProgressSink


class StageClock:
    """Times stages and passes their progress on; several threads may use it at once.

    Parameters
    ----------
    sink : ProgressSink
        Where events go, one at a time.
    *devices : str
        Where the run is. The first is named in events; GPUs among them are asked for the memory that they hold.
    """

    def __init__(self, sink: ProgressSink, *devices: str) -> None:
        self.devices = devices
        self._sink = sink
        self._costs: dict[str, StageCost] = {}
        self._running: list[str] = []  # stages, a name as often as threads are in it
        self._before = (0.0, 0.0)
        self._clock_lock, self._sink_lock = Lock(), Lock()

    @property
    def costs(self) -> list[StageCost]:
        """What each stage took so far, in the order in which they began."""
        with self._clock_lock:
            self._pass_time()
            return list(self._costs.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, also where it fails; a name that comes again adds to its first.

        Time in which several threads are in stages is shared among these, so that all stages add up to the run's time.
        """
        with self._clock_lock:
            self._pass_time()
            self._running.append(name)
            self._costs.setdefault(name, StageCost(name, 0.0, 0.0, 0))
        try:
            yield
        finally:
            held = max(map(held_bytes, self.devices), default=0)
            with self._clock_lock:
                self._pass_time()
                self._running.remove(name)
                cost = self._costs[name]
                most = max(cost.device_peak_bytes, held)
                self._costs[name] = replace(cost, peak_bytes=peak_memory_bytes(), device_peak_bytes=most)

    def _pass_time(self) -> None:
        """Share what passed since the last call among the stages that run."""
        now = time.perf_counter(), time.process_time()
        for name in self._running:
            wall_s, cpu_s = ((end - begin) / len(self._running) for begin, end in zip(self._before, now, strict=True))
            cost = self._costs[name]
            self._costs[name] = replace(cost, wall_s=cost.wall_s + wall_s, cpu_s=cost.cpu_s + cpu_s)
        self._before = now

    def tell(self, stage: str, done: float, total: float, unit: str, device: str | None = None) -> None:
        """Send one event, of the first device where none is named."""
        with self._sink_lock:
            self._sink(Event(stage, done, total, unit, device or self.devices[0]))
