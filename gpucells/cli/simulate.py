"""``gpucells simulate``: a movie whose cells are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpucells.cli import options
from gpucells.cli.inputs import check_target, format_bytes, parse_assignments
from gpucells.progress import open_sink
from gpucells.settings import Preset


def simulate(
    output: Annotated[Path, typer.Argument(help="HDF5 file to write: /movie, and in /truth what is true of it")],
    kind: Annotated[Preset, typer.Option(help="recording type: sets the defaults of all settings")] = "two_photon",
    n_frames: Annotated[int, typer.Option(min=1, help="frames")] = 1000,
    height: Annotated[int, typer.Option(min=1, help="rows of a frame (px)")] = 128,
    width: Annotated[int, typer.Option(min=1, help="columns of a frame (px)")] = 128,
    n_cells: Annotated[int | None, typer.Option(help="cells; by the image's area where not given")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="such as snr=3 or frame_rate_hz=20; may be repeated"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of everything random")] = 0,
    progress: options.Progress = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Simulate a movie with known cells and write it, a block of frames at a time, with its truth."""
    check_target(output, overwrite)
    values = {"shape": (n_frames, height, width), "n_cells": n_cells, "seed": seed} | parse_assignments(
        assignments or ()
    )

    from gpucells.simulate.movie import simulate_movie

    with open_sink(progress) as sink:
        simulated = simulate_movie(kind, path=output, progress=sink, **values)
    size = format_bytes(output.stat().st_size)
    typer.echo(f"wrote {output} ({size}): {n_frames} frames of {height} x {width} px, {simulated.truth.n_cells} cells")
