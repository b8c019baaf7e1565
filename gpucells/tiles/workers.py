"""One thread a device: pieces of work that are taken in turn, and an end to all where one fails.

Why threads: what takes long on a GPU is queued there while the host waits, and a process each would have its own copy
of the movie's summary and CUDA context. The host's own parts take turns at Python's lock but for compiled loops, whose
threads the workers share out; numba's layer ``workqueue`` ends the process where two threads call such loops at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Generic, TypeVar

import numba

from gpucells.errors import DeviceError

Item = TypeVar("Item")


class Stopped(Exception):
    """Ends a worker after another has failed."""


class Tasks(Generic[Item]):
    """What several threads take from, each piece once and in order, until one of them fails.

    Parameters
    ----------
    items : iterable
        The pieces.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items, self._lock = iter(items), Lock()
        self.error: BaseException | None = None  # the first

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._lock:
            self.check()
            return next(self._items)

    def check(self) -> None:
        """Raise :class:`Stopped` where a worker failed; to be called often during a piece that takes long."""
        if self.error is not None:
            raise Stopped

    def stop(self, error: BaseException) -> None:
        """Let the other workers end, because of this error."""
        with self._lock:
            if self.error is None:
                self.error = error


def work_on_each(devices: Sequence[str], tasks: Tasks[Item], work: Callable[[str], None]) -> None:
    """Let each device work until no task is left: one in this thread, several in a thread each.

    Parameters
    ----------
    devices : sequence of str
        At least one.
    tasks : Tasks
        What ``work`` takes from.
    work : callable
        Called once a device with its name, in the thread of that device.

    Raises
    ------
    BaseException
        The first error of a worker as it is, or ``KeyboardInterrupt``; all workers have ended.
    """
    if len(devices) == 1:
        work(devices[0])
        return
    n_threads, begin = max(1, numba.get_num_threads() // len(devices)), Event()

    def run(device: str) -> None:
        begin.wait()  # for all to be there: a thread whose start Ctrl-C interrupts is not waited for
        numba.set_num_threads(n_threads)  # of this thread
        try:
            work(device)
        except BaseException as error:  # noqa: BLE001 - raised below, when all have ended
            tasks.stop(error)

    with ThreadPoolExecutor(len(devices), thread_name_prefix="gpucells-device") as pool:
        try:
            running = [pool.submit(run, device) for device in devices]
            begin.set()
            while wait(running, timeout=1).not_done:  # on Windows a wait without an end does not hear Ctrl-C
                pass
        except BaseException as error:
            tasks.stop(error)
            raise
        finally:
            begin.set()
    if tasks.error is not None:
        raise tasks.error


def require_safe_threads() -> None:
    """Refuse several devices where compiled loops may not be called by several threads at once.

    Raises
    ------
    DeviceError
        numba has neither OpenMP nor TBB here.
    """
    numba.get_num_threads()  # starts the layer
    if numba.threading_layer() == "workqueue":  # type: ignore[attr-defined]
        raise DeviceError(
            "several GPUs were asked for, and numba's only threads here (workqueue) serve one at a time",
            "install OpenMP (libgomp1 on Debian and Ubuntu) or TBB (pip install tbb), or ask for one GPU",
        )
