"""``gpucells settings``: what ``--set`` takes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gpucells.cli import options


def settings(
    method: Annotated[str, typer.Argument(help="published method")] = "extract",
    preset: options.PresetName = None,
    as_json: options.AsJson = False,
) -> None:
    """List a method's settings: name, value of the preset, range, meaning; for --set NAME=VALUE and for TOML files."""
    from gpucells.methods.registry import find_method

    chosen = find_method(method).settings(preset or "two_photon", {})
    values = chosen.model_dump()
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    for name, allowed, meaning in chosen.rows():
        value = "from the movie, or none" if values[name] is None else values[name]
        within = f" ({allowed.replace('`', '')})" if allowed else ""
        typer.echo(f"{name} = {value}{within}\n    {meaning}")
