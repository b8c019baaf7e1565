"""What became of another tool's parameters: one table a tool, which its drop-in reads and its page is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpucells.compat.told_once import tell_once
from gpucells.errors import SettingsError
from gpucells.settings import nearest


def same(value: Any) -> Any:
    """Return a value as it is."""
    return value


def is_empty(value: Any) -> bool:
    """Say whether a value is what MATLAB writes as ``[]`` or ``''``, or None: not given."""
    if isinstance(value, np.ndarray):
        return value.size == 0
    return value is None or (isinstance(value, str | list | tuple | dict) and len(value) == 0)


@dataclass(frozen=True)
class Parameter:
    """One parameter of another tool.

    Parameters
    ----------
    name : str
        Theirs.
    default : object
        Theirs.
    setting, run : str
        Field of the method's settings, or of :class:`gpucells.settings.RunSettings`, that it sets.
    convert : callable
        Of its value, to ours; what becomes None is left to our default.
    here : str
        What the drop-in does with it, where it is neither.
    reason : str
        Why it changes nothing, where it is none of the three; otherwise how ours differs.
    """

    name: str
    default: Any = None
    setting: str = ""
    run: str = ""
    convert: Callable[[Any], Any] = same
    here: str = ""
    reason: str = ""

    @property
    def honoured(self) -> bool:
        """Whether it changes anything."""
        return bool(self.setting or self.run or self.here)

    def answer(self) -> str:
        """Say in Markdown what it becomes, or why nothing."""
        if not self.honoured:
            return f"not honoured: {self.reason}"
        becomes = [f"`{self.setting}`"] if self.setting else []
        becomes += [f"run: `{self.run}`"] if self.run else []
        becomes += [self.here] if self.here else []
        return ", ".join(becomes) + (f": {self.reason}" if self.reason else "")


class Table:
    """The parameters of a tool, or of one part of it.

    Parameters
    ----------
    tool : str
        What messages call it.
    *parameters : Parameter
        In the order of its documentation.
    """

    def __init__(self, tool: str, *parameters: Parameter) -> None:
        self.tool = tool
        self.parameters = {one.name: one for one in parameters}

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters.values())

    def find(self, name: str) -> Parameter:
        """Return a parameter by name.

        Raises
        ------
        SettingsError
            There is none of that name; the nearest is in the hint.
        """
        if name not in self.parameters:
            raise SettingsError(f"unknown parameter {name!r} of {self.tool}", nearest(name, self.parameters))
        return self.parameters[name]

    def defaults(self) -> dict[str, Any]:
        """Return the tool's own defaults by name."""
        return {one.name: one.default for one in self}

    def translate(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make settings of what a user gave; warn once of each that is not honoured and not at its default.

        Parameters
        ----------
        given : mapping
            Values by their names.

        Returns
        -------
        settings, run : dict
            Of the method, and of :class:`gpucells.settings.RunSettings`.

        Raises
        ------
        SettingsError
            A name is unknown.
        """
        settings: dict[str, Any] = {}
        run: dict[str, Any] = {}
        for name, value in given.items():
            one = self.find(name)
            if is_empty(value):
                continue
            if not one.honoured:
                if not np.array_equal(value, one.default):
                    tell_once(f"{self.tool}: {one.name} is not honoured: {one.reason}")
                continue
            ours = one.convert(value) if one.setting or one.run else None
            if ours is not None:
                (settings if one.setting else run)[one.setting or one.run] = ours
        return settings, run

    def markdown(self) -> str:
        """Return the table for the documentation: name, default, what it becomes."""
        lines = [f"| {self.tool} | its default | here |", "|---|---|---|"]
        lines += [f"| `{one.name}` | {_shown(one.default)} | {one.answer()} |" for one in self]
        return "\n".join(lines)


def _shown(value: Any) -> str:
    return "" if is_empty(value) else f"`{value}`"


def check_names(tool: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a function does not have.

    Parameters
    ----------
    tool : str
        Of the message.
    known, given : mapping
        Names as keys.

    Raises
    ------
    SettingsError
        One is unknown; the nearest is in the hint.
    """
    for name in given:
        if name not in known:
            raise SettingsError(f"unknown parameter {name!r} of {tool}", nearest(name, known))
