"""``gpucells export``: a result as another tool's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpucells.cli import options
from gpucells.cli.inputs import parse_assignments
from gpucells.export.formats import FORMATS, find_format
from gpucells.progress import open_sink


def export(
    cells: Annotated[Path, typer.Argument(help="result of gpucells or of another tool, a file or a folder")],
    to: Annotated[str, typer.Option("--to", help=f"format: {', '.join(FORMATS)}")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="file or folder to make; beside the result, with its name, where not given"
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="an option of the format (gpucells settings FORMAT lists them)", metavar="KEY=VALUE"
        ),
    ] = None,
    which: Annotated[options.WhichName, typer.Option(help="which cells to write")] = "all",
    overwrite: options.Overwrite = False,
    progress: options.Progress = "auto",
) -> None:
    """Write a result as a file or folder that other tools read."""
    chosen = find_format(to)
    given = parse_assignments(assignments or ())
    chosen.options().from_values(given)
    target = output or _beside(cells, chosen.ending)
    if target.exists() and not overwrite:
        from gpucells.errors import ResultFileError

        raise ResultFileError(f"{target} exists", "choose another name, or add --overwrite")

    from gpucells.export.formats import export_cells
    from gpucells.io.results import load_cells

    loaded = load_cells(cells)
    with open_sink(progress) as sink:
        kept = loaded.accepted_only() if which == "accepted" else loaded
        export_cells(kept, target, to, given, overwrite, sink)
    typer.echo(f"wrote {target}: {kept.n_cells} cells ({int(kept.accepted.sum())} accepted), {kept.n_frames} frames")


def _beside(cells: Path, ending: str) -> Path:
    return cells.with_name(cells.stem + ending)
