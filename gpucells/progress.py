"""Progress is data: every long step sends events to one function; what is shown is up to the sink.

A sink is any function of one :class:`Event`. :func:`silent` drops them; :func:`open_sink` makes the others by name:
bars with rates (rich or tqdm), or one JSON object a line for programs that watch a run.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from gpucells.errors import MissingDependencyError

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class Event:
    """One step forward.

    Parameters
    ----------
    stage : str
        Name of the stage, such as ``"read movie"``.
    done, total : float
        How far the stage is; ``total`` 0 where it is not known.
    unit : str
        Unit of ``done`` and ``total``: ``"frames"``, ``"cells"``, ``"tiles"``.
    device : str
        Where it runs: ``"cpu"`` or ``"cuda:0"``; of several GPUs the one that says it.
    """

    stage: str
    done: float
    total: float
    unit: str
    device: str = "cpu"


ProgressSink = Callable[[Event], None]
SinkName = Literal["auto", "rich", "tqdm", "json", "none"]


def silent(event: Event) -> None:
    """Drop the event."""


@contextlib.contextmanager
def open_sink(name: SinkName = "auto", stream: TextIO | None = None) -> Iterator[ProgressSink]:
    """Open a sink for the length of a run.

    Parameters
    ----------
    name : {"auto", "rich", "tqdm", "json", "none"}
        ``auto`` draws bars where ``stream`` is a terminal and says nothing elsewhere.
    stream : file, optional
        Where to write; standard error by default, so that standard output carries results alone.

    Yields
    ------
    ProgressSink
        Takes events until the block ends.

    Raises
    ------
    MissingDependencyError
        tqdm was asked for and is not installed.
    """
    target = sys.stderr if stream is None else stream
    if name == "auto":
        name = "rich" if target.isatty() else "none"
    if name == "json":
        yield JsonLines(target)
    elif name == "none":
        yield silent
    else:
        with (_rich_bars if name == "rich" else _tqdm_bars)(target) as sink:
            yield sink


class JsonLines:
    """One JSON object a line: the fields of :class:`Event` and ``elapsed_s`` since the sink was opened.

    Parameters
    ----------
    stream : file
        Flushed after every line, so that a watcher sees each at once.
    clock : callable, optional
        Seconds, monotonic.
    min_interval_s : float
        Events of the same stage that follow sooner are dropped, except a stage's first and last: 0.1 s is as often as
        a person or a web page looks.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, min_interval_s: float = 0.1
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._min_interval_s = min_interval_s
        self._start = clock()
        self._last: dict[tuple[str, str], float] = {}

    def __call__(self, event: Event) -> None:
        """Write the event, unless it follows its stage's last too soon."""
        now = self._clock()
        key = (event.stage, event.device)
        is_last = event.total > 0 and event.done >= event.total
        if key in self._last and not is_last and now - self._last[key] < self._min_interval_s:
            return
        self._last[key] = now
        json.dump(asdict(event) | {"elapsed_s": round(now - self._start, 3)}, self._stream)
        self._stream.write("\n")
        self._stream.flush()


@contextlib.contextmanager
def _rich_bars(stream: TextIO) -> Iterator[ProgressSink]:
    """Draw one bar a stage and device: share done, count, rate, elapsed and remaining time."""
    from rich import progress as rich_progress
    from rich.console import Console
    from rich.text import Text

    class RateColumn(rich_progress.ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(format_rate(task.completed, task.elapsed or 0.0, task.fields["unit"]), style="cyan")

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        RateColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    tasks: dict[tuple[str, str], Any] = {}
    with rich_progress.Progress(*columns, console=Console(file=stream)) as bars:

        def show(event: Event) -> None:
            key = (event.stage, event.device)
            if key not in tasks:
                place = "" if event.device == "cpu" else f" [{event.device}]"
                tasks[key] = bars.add_task(_escaped(event.stage + place), unit=event.unit)
            bars.update(tasks[key], completed=event.done, total=event.total or None)

        yield show


@contextlib.contextmanager
def _tqdm_bars(stream: TextIO) -> Iterator[ProgressSink]:
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingDependencyError("tqdm is not installed", "pip install 'gpucells[tqdm]', or use rich") from None
    with contextlib.ExitStack() as bars:
        known: dict[tuple[str, str], Any] = {}

        def show(event: Event) -> None:
            key = (event.stage, event.device)
            if key not in known:
                bar = tqdm(desc=event.stage, unit=f" {event.unit}", file=stream, position=len(known))
                known[key] = bars.enter_context(bar)
            known[key].total = event.total or None
            known[key].update(event.done - known[key].n)

        yield show


def format_rate(done: float, elapsed_s: float, unit: str) -> str:
    """Write a rate as a person reads it.

    Parameters
    ----------
    done : float
        So far, in ``unit``.
    elapsed_s : float
        Seconds it took.
    unit : str
        Such as ``"frames"``.

    Returns
    -------
    str
        ``"1250 frames/s"``, ``"3.2 tiles/s"``; empty before it is known.
    """
    if elapsed_s <= 0 or done <= 0:
        return ""
    rate = done / elapsed_s
    return f"{rate:.0f} {unit}/s" if rate >= 100 else f"{rate:.2g} {unit}/s"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
