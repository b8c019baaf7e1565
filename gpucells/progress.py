"""Progress is data: every long step sends events to one function; what is shown is up to the sink.

A sink is any function of one :class:`Event`. :func:`silent` drops them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
        Where it runs: ``"cpu"`` or ``"cuda:0"``.
    """

    stage: str
    done: float
    total: float
    unit: str
    device: str = "cpu"


ProgressSink = Callable[[Event], None]


def silent(event: Event) -> None:
    """Drop the event."""
