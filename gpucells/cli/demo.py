"""``gpucells demo``: simulate, extract, score and draw, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpucells.cli import options
from gpucells.errors import ResultFileError
from gpucells.progress import open_sink

SHAPE = (1000, 128, 128)  # frames, height, width: 33 MB, some forty cells, seconds on two cores


def demo(
    folder: Annotated[Path, typer.Option(help="where to write the movie, the cells and the report")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="seed of the simulated movie")] = 0,
    progress: options.Progress = "auto",
) -> None:
    """Simulate a two-photon movie with known cells, extract them with EXTRACT, print how well that went, draw them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultFileError(f"cannot make the folder {folder}: {error.strerror}", "choose another --folder") from None

    from gpucells.cli.tables import print_run
    from gpucells.io.cells_file import save_cells
    from gpucells.io.open_movie import open_movie
    from gpucells.pipeline import extract_cells
    from gpucells.postprocess.match import compare
    from gpucells.report import draw_report
    from gpucells.simulate.movie import simulate_movie

    movie, result, page, picture = (folder / name for name in ("movie.h5", "cells.h5", "report.html", "report.png"))
    with open_sink(progress) as sink:
        truth = simulate_movie("two_photon", path=movie, shape=SHAPE, seed=seed, progress=sink).truth
        with open_movie(movie) as opened:
            cells = extract_cells(opened, method="extract", progress=sink)
    save_cells(cells, result, overwrite=True)
    draw_report(cells, png_path=picture, html_path=page, truth=truth, title="gpucells demo")
    print_run(cells, [movie, result, page, picture], compare(cells, truth))
