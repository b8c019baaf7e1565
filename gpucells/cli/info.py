"""``gpucells info`` and ``gpucells devices``: what a file holds, what this machine has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpucells.cli import options
from gpucells.cli.inputs import format_bytes

if TYPE_CHECKING:
    from gpucells.model.cells import Cells
    from gpucells.model.movie import Movie


def info(
    path: Annotated[list[Path], typer.Argument(help="a movie (one or more files, a folder), or a file of cells")],
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what a movie or a file of cells holds, without reading its frames."""
    from gpucells.io.nwb import has_movie

    holds_cells = len(path) == 1 and _is_result(path[0])
    facts: dict[str, Any] = {}
    if holds_cells:
        from gpucells.io.results import load_cells

        facts = _cells_facts(load_cells(path[0]))
    if not holds_cells or has_movie(path[0]):
        from gpucells.errors import InputError
        from gpucells.io.open_movie import open_movie

        try:
            with open_movie(path[0] if len(path) == 1 else path, dataset=dataset, axes=axes) as movie:
                facts = _movie_facts(movie) | ({"kind": "movie and cells"} | _only_cells(facts) if facts else {})
        except InputError:
            if not holds_cells:  # NWB may name a movie that is no longer there
                raise
    _show(facts, as_json)


def devices(as_json: options.AsJson = False) -> None:
    """List the devices that a run can use."""
    from gpucells.device.discover import find_problems, list_devices

    found = list_devices()
    if as_json:
        typer.echo(json.dumps([device.as_dict() for device in found], indent=2))
    else:
        for device in found:
            typer.echo(str(device))
    if len(found) == 1:  # no GPU to say it of
        for problem in find_problems():
            typer.echo(f"problem: {problem.message} ({problem.hint})", err=as_json)


def _is_result(path: Path) -> bool:
    from gpucells.io.results import foreign_reader

    return _is_cells_file(path) or foreign_reader(path) is not None


def _is_cells_file(path: Path) -> bool:
    import h5py

    from gpucells.io.cells_file import FORMAT

    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return file.attrs.get("format") in (FORMAT, FORMAT.encode())


def _movie_facts(movie: Movie) -> dict[str, Any]:
    return {
        "kind": "movie",
        "source": movie.source,
        "n_frames": movie.n_frames,
        "height": movie.height,
        "width": movie.width,
        "dtype": str(movie.reader.dtype),
        "scale": movie.scale,
        "offset": movie.offset,
        "frame_rate_hz": movie.frame_rate_hz,
        "pixel_size_um": movie.pixel_size_um,
        "n_bytes": movie.n_bytes,
        "n_files": len(movie.files),
    }


def _cells_facts(cells: Cells) -> dict[str, Any]:
    return {
        "kind": "cells",
        "source": cells.provenance.source,
        "n_cells": cells.n_cells,
        "n_accepted": int(cells.accepted.sum()),
        "n_frames": cells.n_frames,
        "height": cells.image_shape[0],
        "width": cells.image_shape[1],
        "frame_rate_hz": cells.frame_rate_hz,
        "pixel_size_um": cells.pixel_size_um,
        "method": cells.method,
        "device": cells.provenance.device,
        "created": cells.provenance.created,
        "gpucells": cells.provenance.versions.get("gpucells"),
        "quality": sorted(cells.quality),
    }


def _only_cells(facts: dict[str, Any]) -> dict[str, Any]:
    """Keep what a movie does not say of itself."""
    return {name: facts[name] for name in ("n_cells", "n_accepted", "method", "quality")}


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    from gpucells.cli.tables import print_pairs

    print_pairs((name, _as_text(name, value)) for name, value in facts.items())


def _as_text(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(value)
    return format_bytes(value) if name.endswith("bytes") else str(value)
