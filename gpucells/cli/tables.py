"""What is shown at the end of a run: tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gpucells.cli.inputs import format_bytes

if TYPE_CHECKING:
    from gpucells.model.cells import Cells
    from gpucells.postprocess.scores import Scores

_NARROWEST = 100  # columns assumed where standard output is a file: no name of ours is cut


def open_console() -> Console:
    """Make a console on standard output; a file gets plain text of a fixed width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_NARROWEST, soft_wrap=True)


def print_pairs(rows: Iterable[tuple[str, str]], title: str = "", console: Console | None = None) -> None:
    """Print names and values below each other.

    Parameters
    ----------
    rows : iterable of (str, str)
        Name and value.
    title : str
        Above them.
    console : rich.console.Console, optional
        Standard output by default.
    """
    console = console or open_console()
    pairs = list(rows)
    if title:
        console.print(f"\n[bold]{escape(title)}[/bold]")
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        console.print(f"{escape(name):<{width}}  {escape(value)}")


def print_run(cells: Cells, written: Sequence[Path], scores: Scores | None = None) -> None:
    """Print what a run found, what it cost by stage, and what it wrote.

    Parameters
    ----------
    cells : Cells
        The result; its provenance has the stages.
    written : sequence of Path
        Files.
    scores : Scores, optional
        Against the truth, where the movie has one.
    """
    console = open_console()
    height, width = cells.image_shape
    rows = [
        ("movie", f"{cells.provenance.source}: {cells.n_frames} frames of {height} x {width} px"),
        ("method", f"{cells.method} on {cells.provenance.device}"),
        ("cells found", str(cells.n_cells)),
        ("cells accepted", str(int(cells.accepted.sum()))),
    ]
    print_pairs(rows, console=console)
    if scores is not None:
        print_pairs(scores.rows(), title="against the truth", console=console)
    if cells.provenance.stages:
        console.print(_stages(cells))
    for warning in cells.provenance.warnings:
        console.print(f"warning: {escape(warning)}")
    for path in written:
        console.print(f"wrote {escape(str(path))} ({format_bytes(path.stat().st_size)})")


def _stages(cells: Cells) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=True)
    stages = cells.provenance.stages
    table.add_column("stage", "all")
    table.add_column("seconds", f"{sum(stage.wall_s for stage in stages):.2f}", justify="right")
    table.add_column("CPU seconds", f"{sum(stage.cpu_s for stage in stages):.2f}", justify="right")
    table.add_column("peak memory", format_bytes(max(stage.peak_bytes for stage in stages)), justify="right")
    most = max(stage.device_peak_bytes for stage in stages)
    if most:
        table.add_column("GPU memory", format_bytes(most), justify="right")
    for stage in stages:
        of_gpu = [format_bytes(stage.device_peak_bytes) if stage.device_peak_bytes else ""] if most else []
        host = f"{stage.wall_s:.2f}", f"{stage.cpu_s:.2f}", format_bytes(stage.peak_bytes)
        table.add_row(escape(stage.stage), *host, *of_gpu)
    return table
