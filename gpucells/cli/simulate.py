"""``gpucells simulate``: a movie whose cells are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpucells.cli import options
from gpucells.cli.inputs import check_target, format_bytes
from gpucells.progress import open_sink
from gpucells.settings import Preset


def simulate(
    output: Annotated[Path, typer.Argument(help="HDF5 file to write: /movie, and what is true of it in /truth")],
    imaging: Annotated[Preset, typer.Option(help="physics of the movie")] = "two_photon",
    n_frames: Annotated[int, typer.Option(min=1, help="frames")] = 1000,
    height: Annotated[int, typer.Option(min=1, help="rows of a frame (px)")] = 128,
    width: Annotated[int, typer.Option(min=1, help="columns of a frame (px)")] = 128,
    n_cells: Annotated[int, typer.Option(min=0, help="cells")] = 50,
    frame_rate_hz: Annotated[float, typer.Option(help="frames a second")] = 10.0,
    cell_diameter_px: Annotated[float, typer.Option(help="width of a cell on the picture")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="seed of everything random")] = 0,
    progress: options.Progress = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Simulate a movie with known cells and write it, frame by frame, with its truth."""
    check_target(output, overwrite)
    from gpucells.simulate.movie import simulate_movie
