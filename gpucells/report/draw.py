"""Draw the cells of a result as a picture, a page, or both."""

from __future__ import annotations

import os

from gpucells.errors import InputError
from gpucells.io.atomic_file import written_atomically
from gpucells.model.cells import Cells
from gpucells.report.facts import TruthLike, gather_facts


def draw_report(
    cells: Cells,
    png_path: str | os.PathLike[str] | None = None,
    html_path: str | os.PathLike[str] | None = None,
    truth: TruthLike | None = None,
    title: str | None = None,
) -> None:
    """Draw the map of the cells, their traces, footprints and quality, and what the run did.

    Parameters
    ----------
    cells : Cells
        The result, accepted and rejected cells.
    png_path : path-like, optional
        Where the picture goes; a file of that name is replaced.
    html_path : path-like, optional
        Where the page goes. It holds everything it shows and asks nothing of a network.
    truth : Truth, or sparse array (n_true, n_pixels), optional
        True cells of a simulated movie: missed and false cells are then marked.
    title : str, optional
        Above both; the movie's name by default.

    Raises
    ------
    InputError
        Neither path is given, or the truth is of another image.
    ResultFileError
        A file cannot be written; none is left half done.
    """
    if png_path is None and html_path is None:
        raise InputError("a report needs a place to go", "give png_path, html_path or both")
    facts = gather_facts(cells, truth, title)
    if png_path is not None:
        from gpucells.report.picture import draw_picture

        with written_atomically(png_path, overwrite=True) as file:
            draw_picture(facts).savefig(file, format="png")
    if html_path is not None:
        from gpucells.report.page import make_page

        page = make_page(facts).encode("utf-8")
        with written_atomically(html_path, overwrite=True) as file:
            file.write(page)
