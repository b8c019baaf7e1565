"""MATLAB's structure in Python: a dictionary whose entries are attributes, too."""

from __future__ import annotations

from typing import Any


class Structure(dict[str, Any]):
    """A dictionary that can be read and written as ``s.name`` and ``s["name"]``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}; there are {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]
