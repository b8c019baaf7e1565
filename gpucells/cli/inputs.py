"""From what was typed to settings: sizes, ``key=value``, TOML files, and where results go."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpucells.errors import MissingFileError, ResultFileError, SettingsError
from gpucells.settings import RunSettings

REPORT_KINDS = (".html", ".png")

# GB is what a disk's label and a memory's label say (10^9); GiB is what the operating system counts (2^30).
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"\s*(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>([KMGT]I?)?)B?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Read a size such as ``8GB``, ``512 MiB`` or ``1000000``.

    Parameters
    ----------
    text : str
        A number with an optional unit; k, M, G, T are powers of 1000, Ki, Mi, Gi, Ti of 1024.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    SettingsError
        It is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SettingsError(f"{text!r} is not a size", "write it like 8GB or 512MiB")
    return int(float(match["number"]) * (_UNITS | _BINARY_UNITS)[match["unit"].upper()])


def format_bytes(n_bytes: float) -> str:
    """Write a size as a person reads it, in powers of 1000: ``"1.2 GB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs; a value is written as in TOML, a bare word is a string, ``none`` is None.

    Raises
    ------
    SettingsError
        There is no ``=``, or no key before it.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"--set {assignment!r} is not key=value", "for example --set kappa_std=0.7")
        values[name.strip()] = _parse_value(text.strip())
    return values


def _parse_value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


@dataclass(frozen=True)
class Given:
    """Settings as the user gave them, not yet validated.

    Parameters
    ----------
    run, method : dict
        Values for :class:`gpucells.settings.RunSettings` and for the method's own settings.
    """

    run: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)


def read_settings_file(path: Path, method: str) -> Given:
    """Read a TOML file with a table ``[run]`` and one named after the method.

    Parameters
    ----------
    path : Path
        The file.
    method : str
        Whose table to read.

    Raises
    ------
    MissingFileError
        It cannot be read.
    SettingsError
        It is not TOML, or has something outside these tables.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"cannot read settings from {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None
    for name, value in content.items():
        if name not in {"run", method} or not isinstance(value, dict):
            raise SettingsError(f"{path} has {name!r}, which is no table of settings", f"use [run] and [{method}]")
    return Given(dict(content.get("run", {})), dict(content.get(method, {})))


def gather_settings(
    method: str, settings_file: Path | None, assignments: Iterable[str], run_options: dict[str, Any]
) -> tuple[RunSettings, dict[str, Any]]:
    """Put the settings together: the file's first, then ``--set``, then options of their own.

    Parameters
    ----------
    method : str
        Name in the registry.
    settings_file : Path or None
        TOML.
    assignments : iterable of str
        ``key=value`` of the method's settings.
    run_options : dict
        Values of :class:`gpucells.settings.RunSettings`; None where the option was not given.

    Returns
    -------
    run : RunSettings
        Validated.
    values : dict
        The method's, which the method validates.
    """
    given = read_settings_file(settings_file, method) if settings_file is not None else Given()
    typed = {name: value for name, value in run_options.items() if value is not None}
    return RunSettings.from_values(given.run | typed), given.method | parse_assignments(assignments)


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse, before a long run, a result path that could not be written after it.

    Raises
    ------
    ResultFileError
        It exists and ``overwrite`` is false, is a folder, or its folder is missing.
    """
    if path.is_dir():
        raise ResultFileError(f"{path} is a folder", "name a file in it")
    if not path.parent.is_dir():
        raise ResultFileError(f"there is no folder {path.parent}", "make it first, or choose another one")
    if path.exists() and not overwrite:
        raise ResultFileError(f"{path} exists", "choose another name, or add --overwrite")


def check_given(footprints: Path | None, init: Path | None) -> None:
    """Refuse footprints to keep together with footprints to begin with.

    Raises
    ------
    SettingsError
        Both are given.
    """
    if footprints is not None and init is not None:
        raise SettingsError(
            "--footprints and --init exclude each other",
            "--footprints keeps the footprints as they are, --init begins with them",
        )


def check_report_kind(report: Path) -> None:
    """Refuse a picture of a kind that is not drawn, before the run.

    Raises
    ------
    SettingsError
        The name does not end with ``.html`` or ``.png``.
    """
    if report.suffix.lower() not in REPORT_KINDS:
        raise SettingsError(f"cannot draw a report into {report}", f"end its name with {' or '.join(REPORT_KINDS)}")
