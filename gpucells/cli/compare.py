"""``gpucells compare``: score a result against the truth, or against another result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gpucells.cli import options


def compare(
    result: options.CellsFile,
    reference: Annotated[Path, typer.Argument(help="simulated movie with its truth, or another file of cells")],
    which: options.Which = "accepted",
    as_json: options.AsJson = False,
) -> None:
    """Match cells one to one by footprint and trace, and print precision, recall, correlation and cross-talk."""
    from gpucells.cli.tables import print_pairs
    from gpucells.postprocess.match import compare as score

    scores = score(result, reference, which)
    if as_json:
        typer.echo(json.dumps(scores.as_dict(lists=True), indent=2))
    else:
        print_pairs(scores.rows())
