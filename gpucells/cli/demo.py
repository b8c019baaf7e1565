"""``gpucells demo``: simulate, extract, score and draw, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(folder: Annotated[Path, typer.Option(help="where to write the cells and the report")] = Path("demo")) -> None:
    """Simulate a two-photon movie with known cells, extract them, print how well that went, and draw them."""
