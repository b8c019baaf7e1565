"""The methods by name: what the pipeline calls without knowing which one it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpucells.errors import SettingsError
from gpucells.settings import Preset, Settings, nearest


@dataclass(frozen=True)
class Method:
    """A published method.

    Parameters
    ----------
    name, title : str
        Key, and what people call it.
    settings : callable
        Settings of a preset with values on top.
    solve : callable
        Footprints and traces of one tile.
    trace_solver : callable
        Traces at full rate for given footprints.
    """

    name: str
    title: str
    settings: Callable[[Preset, dict[str, Any]], Settings]
    solve: Callable[..., Any]
    trace_solver: Callable[..., Any]


def _extract() -> Method:
    from gpucells.methods.extract.settings import ExtractSettings
    from gpucells.methods.extract.solve import solve
    from gpucells.methods.extract.traces import TraceSolver

    return Method("extract", "EXTRACT (Inan et al. 2021)", ExtractSettings.for_preset, solve, TraceSolver)


_METHODS: dict[str, Callable[[], Method]] = {"extract": _extract}
METHOD_NAMES = tuple(_METHODS)


def find_method(name: str) -> Method:
    """Look a method up.

    Raises
    ------
    SettingsError
        There is none of that name.
    """
    if name not in _METHODS:
        raise SettingsError(
            f"unknown method {name!r}", nearest(name, METHOD_NAMES) or f"one of {', '.join(METHOD_NAMES)}"
        )
    return _METHODS[name]()
