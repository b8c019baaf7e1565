"""``gpucells settings``: what ``--set`` takes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gpucells.cli import options


def settings(
    method: Annotated[
        str, typer.Argument(metavar="METHOD|FORMAT", help="published method, or format of export")
    ] = "extract",
    preset: options.PresetName = None,
    as_json: options.AsJson = False,
) -> None:
    """List the settings of a method or format: name, value of the preset, range, meaning; for --set NAME=VALUE."""
    from gpucells.export.formats import FORMATS
    from gpucells.methods.registry import METHOD_NAMES, find_method

    if method in FORMATS and method not in METHOD_NAMES:
        chosen: Any = FORMATS[method].options()()
    else:
        chosen = find_method(method).settings(preset or "two_photon", {})
    values = chosen.model_dump()
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    for name, allowed, meaning in chosen.rows():
        value = "from the movie, or none" if values[name] is None else values[name]
        within = f" ({allowed.replace('`', '')})" if allowed else ""
        typer.echo(f"{name} = {value}{within}\n    {meaning}")
