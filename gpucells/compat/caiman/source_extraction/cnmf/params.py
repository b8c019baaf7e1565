"""CaImAn's parameters: ``CNMFParams``, with its groups and defaults."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gpucells.compat.caiman.parameter_others import ARGUMENTS, WITHOUT_EFFECT
from gpucells.compat.caiman.parameter_table import GROUPS, OUR_WAY, places
from gpucells.compat.told_once import tell_once
from gpucells.errors import InputError, SettingsError
from gpucells.settings import nearest

_MADE_BY_US = ("caiman_version", "last_commit")


class CNMFParams:
    """Parameters in groups, each a dict: ``params.init['K']``.

    A parameter that CaImAn has and this does not honour warns once, with the reason, where it is given a value of its
    own; one that CaImAn does not have is an error (CaImAn only logs it). What is left at its default is left to
    gpucells, which takes it from the movie or has a default of its own: ``docs/compat/caiman.md``.

    Parameters
    ----------
    fnames, dims, dxy
        As the group ``data`` has them.
    params_from_file : path-like, optional
        A JSON file of groups.
    params_dict : dict, optional
        Groups, each a dict; or names alone, which count in every group that has them.
    **arguments
        CaImAn's other arguments: names of the groups, and ``k``, ``gnb``, ``merge_thresh``, ``only_init_patch``.

    Raises
    ------
    SettingsError
        A name that CaImAn does not have.
    """

    data: dict[str, Any]
    init: dict[str, Any]
    merging: dict[str, Any]
    motion: dict[str, Any]
    online: dict[str, Any]
    patch: dict[str, Any]
    preprocess: dict[str, Any]
    ring_CNN: dict[str, Any]
    quality: dict[str, Any]
    spatial: dict[str, Any]
    temporal: dict[str, Any]

    def __init__(
        self, fnames: Any = None, dims: Any = None, dxy: Any = (1, 1), *, params_from_file: Any = None,
        params_dict: dict[str, Any] | None = None, **arguments: Any,
    ) -> None:  # fmt: skip
        self._given: set[tuple[str, str]] = set()
        for group, parameters in GROUPS.items():
            setattr(self, group, {name: _copied(p.default) for name, p in parameters.items()})
        if params_from_file is not None:
            self.change_params_from_jsonfile(params_from_file)
        named = {"fnames": fnames, "dims": dims} | ({} if tuple(dxy) == (1, 1) else {"dxy": dxy})
        for name, value in {k: v for k, v in named.items() if v is not None}.items():
            self._put("data", name, value)
        for name, value in arguments.items():
            self._argument(name, value)
        self.change_params(params_dict or {})

    def _argument(self, name: str, value: Any) -> None:
        if name in WITHOUT_EFFECT:
            tell_once(f"CaImAn's {name} is not honoured: {WITHOUT_EFFECT[name]}")
            return
        theirs, groups = ARGUMENTS.get(name, (name, tuple(places(name))))
        if not groups:
            raise _unknown(name, [*ARGUMENTS, *(known for group in GROUPS.values() for known in group)])
        self._put_everywhere(theirs, value, list(groups))

    def change_params(
        self, params_dict: dict[str, Any], allow_legacy: bool = True, warn_unused: bool = True, verbose: bool = False
    ) -> CNMFParams:
        """Change some values.

        Parameters
        ----------
        params_dict : dict
            Groups, each a dict; or names alone, which count in every group that has them.
        allow_legacy, warn_unused, verbose : bool
            Of no effect.

        Raises
        ------
        SettingsError
            A name that CaImAn does not have, with the nearest one.
        """
        for name, value in params_dict.items():
            if name in GROUPS and isinstance(value, dict):
                self.set(name, value)
            elif groups := places(name):
                self._put_everywhere(name, value, groups)
            else:
                raise _unknown(name, [*GROUPS, *(known for group in GROUPS.values() for known in group)])
        self.check_consistency()
        return self

    def set(self, group: str, val_dict: dict[str, Any], set_if_not_exists: bool = False, verbose: bool = False) -> None:
        """Change values of one group.

        Parameters
        ----------
        group : str
            Its name.
        val_dict : dict
            Values by name. ``nb`` outside ``init`` is left out, as in CaImAn.
        set_if_not_exists, verbose : bool
            Of no effect: a name that is not there is an error.
        """
        if group not in GROUPS:
            raise _unknown(group, list(GROUPS), "group")
        whole = set(val_dict) >= set(
            GROUPS[group]
        )  # a group as `to_json` or a file has it: its defaults were not chosen
        for name, value in val_dict.items():
            if name not in GROUPS[group]:
                raise _unknown(f"{group}/{name}", [f"{group}/{known}" for known in GROUPS[group]])
            if not (name == "nb" and group != "init"):
                self._put(group, name, value)
                if whole and same(value, GROUPS[group][name].default):
                    self._given.discard((group, name))

    def restore(self, group: str, values: dict[str, Any]) -> None:
        """Take a group as a file has it: names that are not known are left out, and nothing warns.

        Parameters
        ----------
        group : str
            Its name.
        values : dict
            By name; text may be bytes.
        """
        for name, value in values.items():
            if name in GROUPS.get(group, {}) and name != "indices":
                text = isinstance(value, np.ndarray) and value.dtype.kind == "S"
                self._put(group, name, [item.decode() for item in value] if text else value, warn=False)
                if same(getattr(self, group)[name], GROUPS[group][name].default):
                    self._given.discard((group, name))

    def _put_everywhere(self, name: str, value: Any, groups: list[str]) -> None:
        honoured = any(GROUPS[group][name].honoured for group in groups)
        for group in groups:
            self._put(group, name, value, warn=not honoured)

    def _put(self, group: str, name: str, value: Any, warn: bool = True) -> None:
        parameter = GROUPS[group][name]
        getattr(self, group)[name] = value
        self._given.add((group, name))
        usual = same(value, parameter.default) or same(value, OUR_WAY.get((group, name), parameter.default))
        if warn and not parameter.honoured and name not in _MADE_BY_US and not usual:
            tell_once(f"CaImAn's {group}/{name} is not honoured: {parameter.meaning}")

    def given(self, group: str, name: str) -> Any:
        """Return a value that the user chose; None where it is CaImAn's default and nobody named it."""
        value = getattr(self, group)[name]
        chosen = (group, name) in self._given or not same(value, GROUPS[group][name].default)
        return value if chosen else None

    def check_consistency(self) -> None:
        """Make values agree, as CaImAn does: odd ``gSiz``, one ``nb``, ``dims`` of ``fnames``."""
        if isinstance(self.data["fnames"], str | os.PathLike):
            self.data["fnames"] = [self.data["fnames"]]
        if self.data["decay_time"] == 0:
            raise SettingsError("decay_time = 0", "give the length of a transient in seconds, or leave it out")
        sizes = self.init["gSiz"]
        if self.init["gSig"] is None:
            self.init["gSig"] = [-1, -1]
        if np.isscalar(self.init["gSig"]):
            self.init["gSig"] = [self.init["gSig"]] * 2
        if sizes is None:
            sizes = [2 * s + 1 for s in self.init["gSig"]]
            self._given.discard(("init", "gSiz"))
        sizes = [sizes] * 2 if np.isscalar(sizes) else sizes
        self.init["gSiz"] = tuple(int(s) + 1 - int(s) % 2 for s in sizes)
        self.spatial["nb"] = self.temporal["nb"] = self.init["nb"]
        if self.data["dims"] is None and self.data["fnames"] and all(Path(f).exists() for f in self.data["fnames"]):
            self.data["dims"] = self._dims_of_files()

    def _dims_of_files(self) -> tuple[int, int] | None:
        from gpucells.compat.caiman.movies import open_files

        try:
            with open_files(self.data["fnames"], self.data["var_name_hdf5"]) as movie:
                return movie.height, movie.width
        except InputError:  # the fit says what is wrong, where it needs the movie
            return None

    def get(self, group: str, key: str) -> Any:
        """Return one value."""
        if key not in self.get_group(group):
            raise _unknown(f"{group}/{key}", [f"{group}/{known}" for known in GROUPS[group]])
        return self.get_group(group)[key]

    def get_group(self, group: str) -> dict[str, Any]:
        """Return a group."""
        if group not in GROUPS:
            raise _unknown(group, list(GROUPS), "group")
        found: dict[str, Any] = getattr(self, group)
        return found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return all groups."""
        return {group: getattr(self, group) for group in GROUPS}

    def to_json(self) -> str:
        """Return all groups as JSON."""
        return json.dumps(self.to_dict(), default=_plain)

    def to_jsonfile(self, targfn: str) -> None:
        """Write :meth:`to_json` to a file."""
        Path(targfn).write_text(self.to_json(), encoding="utf-8")

    def change_params_from_json(self, jsonstring: str, verbose: bool = False) -> None:
        """Change values by a JSON text of groups."""
        try:
            values = json.loads(jsonstring)
        except json.JSONDecodeError as error:
            raise SettingsError(f"these parameters are no JSON: {error}", "give an object of groups") from error
        self.change_params({group: _from_json(group, value) for group, value in values.items()})

    def change_params_from_jsonfile(self, json_fn: str | os.PathLike[str], verbose: bool = False) -> None:
        """Change values by a JSON file of groups."""
        try:
            text = Path(json_fn).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{json_fn} cannot be read: {error}", "give a JSON file of parameters") from error
        self.change_params_from_json(text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CNMFParams):
            return False
        return all(
            same(value, getattr(other, group)[name]) for group in GROUPS for name, value in getattr(self, group).items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "CNMFParams:\n" + "\n".join(f"{group}: {values}" for group, values in self.to_dict().items())


def same(first: Any, second: Any) -> bool:
    """Say whether two values are equal; a list and a tuple may be."""
    if isinstance(first, np.ndarray | list | tuple) and isinstance(second, np.ndarray | list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(type(first) is type(second) or not isinstance(first, str)) and bool(np.all(first == second))


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, list | np.ndarray) else value


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _from_json(group: str, value: Any) -> Any:
    """Turn lists that stand for slices back."""
    if group == "motion" and isinstance(value, dict) and isinstance(value.get("indices"), list):
        return value | {"indices": tuple(slice(*one) if isinstance(one, list) else one for one in value["indices"])}
    return value


def _unknown(name: str, known: list[str], what: str = "parameter") -> SettingsError:
    return SettingsError(f"CaImAn has no {what} {name!r}", nearest(name, known) or "docs/compat/caiman.md lists them")
