"""EXTRACT's configuration: a structure that knows its names and what a script has assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gpucells.compat.extract.names import CONFIG, THRESHOLDS
from gpucells.compat.parameters import Table, is_empty
from gpucells.compat.structure import Structure
from gpucells.errors import SettingsError

__all__ = ["CONFIG", "THRESHOLDS", "Config", "Thresholds", "get_defaults"]


class _Known(Structure):
    """A structure of known names; an unknown one is refused when it is assigned."""

    table: ClassVar[Table]

    def __setitem__(self, name: str, value: Any) -> None:
        self.table.find(name)
        super().__setitem__(name, value)
        self.assigned().add(name)

    def update(self, *others: Any, **values: Any) -> None:
        """Assign several."""
        for name, value in dict(*others, **values).items():
            self[name] = value

    def assigned(self) -> set[str]:
        """Return the names that were assigned; the others have EXTRACT's default."""
        found: set[str] = self.__dict__.setdefault("_assigned", set())
        return found

    def given(self) -> dict[str, Any]:
        """Return what was assigned."""
        return {name: self[name] for name in self if name in self.assigned()}

    def copy(self) -> Any:
        """Return the same, which remembers the same as assigned."""
        return _restored(type(self), dict(self), set(self.assigned()))

    def __copy__(self) -> Any:
        return self.copy()

    def __reduce__(self) -> Any:  # plain dictionaries would come back with everything assigned
        return _restored, (type(self), dict(self), set(self.assigned()))


class Thresholds(_Known):
    """EXTRACT's ``config.thresholds``."""

    table = THRESHOLDS


class Config(_Known):
    """EXTRACT's ``config``."""

    table = CONFIG

    def __setitem__(self, name: str, value: Any) -> None:
        if name != "thresholds":
            super().__setitem__(name, value)
            return
        if not isinstance(value, Mapping):
            raise SettingsError(f"config.thresholds = {value!r}", "assign its fields: config.thresholds.T_min_snr = 7")
        limits = _defaults(Thresholds)
        limits.update(value.given() if isinstance(value, Thresholds) else value)
        dict.__setitem__(self, name, limits)

    def copy(self) -> Config:
        """Return the same, which remembers the same as assigned; the thresholds are copied, too."""
        made: Config = super().copy()
        dict.__setitem__(made, "thresholds", self["thresholds"].copy())
        return made


def _restored(kind: type[_Known], values: dict[str, Any], assigned: set[str]) -> _Known:
    made = kind()
    for name, value in values.items():
        dict.__setitem__(made, name, value)
    made.__dict__["_assigned"] = assigned
    return made


def _defaults(kind: type[_Known]) -> _Known:
    return _restored(kind, kind.table.defaults(), set())


def get_defaults(avg_cell_radius: Any = None) -> Config:
    """Return EXTRACT's configuration with its defaults.

    Parameters
    ----------
    avg_cell_radius : float, optional
        Cell radius (px); what MATLAB writes as ``[]`` leaves it to be estimated from the movie.

    Returns
    -------
    Config
        ``config.name`` and ``config["name"]`` are the same; an unknown name cannot be assigned. What is assigned
        counts; what is left at EXTRACT's default is left to ours.
    """
    config = _defaults(Config)
    dict.__setitem__(config, "thresholds", _defaults(Thresholds))
    if not is_empty(avg_cell_radius):
        config["avg_cell_radius"] = avg_cell_radius
    assert isinstance(config, Config)
    return config


def as_config(config: Any) -> Config:
    """Fill a script's configuration up with EXTRACT's defaults.

    Parameters
    ----------
    config : Config or mapping
        All of a plain mapping counts as assigned.

    Raises
    ------
    SettingsError
        A name is unknown.
    """
    if isinstance(config, Config):
        return config.copy()
    if not isinstance(config, Mapping):
        raise SettingsError(f"config is a {type(config).__name__}", "give what get_defaults returns, or a dict")
    filled = get_defaults()
    filled.update(config)
    return filled
