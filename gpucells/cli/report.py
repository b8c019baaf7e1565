"""``gpucells report``: draw the cells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpucells.cli import options
from gpucells.cli.inputs import check_report_kind, check_target

if TYPE_CHECKING:
    from gpucells.model.cells import Cells
    from gpucells.model.truth import Truth


def report(
    cells: options.CellsFile,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help=".html page or .png picture; may be repeated")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="simulated movie whose true cells to draw too")] = None,
    title: Annotated[str | None, typer.Option(help="above the page")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Draw maps of accepted and rejected cells, their traces, and how their quality is spread."""
    targets = output or [Path("report.html")]
    for target in targets:
        check_report_kind(target)
        check_target(target, overwrite)

    from gpucells.io.results import load_cells
    from gpucells.io.truth_file import load_truth

    draw(load_cells(cells), targets, None if truth is None else load_truth(truth), title)
    for target in targets:
        typer.echo(f"wrote {target}")


def draw(cells: Cells, targets: Sequence[Path], truth: Truth | None = None, title: str | None = None) -> None:
    """Draw the cells into every target.

    Parameters
    ----------
    cells : Cells
        What to draw.
    targets : sequence of Path
        ``.html`` for a page, ``.png`` for a picture.
    truth : Truth, optional
        Of a simulated movie.
    title : str, optional
        Above the page; the movie's name by default.
    """
    from gpucells.report import draw_report

    pages = [target for target in targets if target.suffix.lower() == ".html"]
    pictures = [target for target in targets if target not in pages]
    for page, picture in zip_longest(pages, pictures):
        draw_report(cells, png_path=picture, html_path=page, truth=truth, title=title)
