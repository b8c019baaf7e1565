"""What each stage of a run takes: seconds, CPU seconds, peak memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gpucells.device.memory import peak_memory_bytes
from gpucells.model.provenance import StageCost
from gpucells.progress import Event, ProgressSink


class StageClock:
    """Times stages and passes their progress on.

    Parameters
    ----------
    sink : ProgressSink
        Where events go.
    device : str
        Named in every event.
    """

    def __init__(self, sink: ProgressSink, device: str) -> None:
        self.costs: list[StageCost] = []
        self._sink, self._device = sink, device

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, also where it fails; a name that comes again adds to its first."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._add(StageCost(name, time.perf_counter() - wall, time.process_time() - cpu, peak_memory_bytes()))

    def _add(self, cost: StageCost) -> None:
        for index, before in enumerate(self.costs):
            if before.stage == cost.stage:
                self.costs[index] = StageCost(
                    cost.stage, before.wall_s + cost.wall_s, before.cpu_s + cost.cpu_s, cost.peak_bytes
                )
                return
        self.costs.append(cost)

    def tell(self, stage: str, done: float, total: float, unit: str) -> None:
        """Send one event."""
        self._sink(Event(stage, done, total, unit, self._device))
