"""Solving tile after tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.stage_clock import StageClock
from gpucells.methods.extract.background import HatGrid
from gpucells.model.components import Components
from gpucells.tiles.plan import Plan
from gpucells.tiles.working_movie import Summary, WorkingMovie, each_tile

Float32 = NDArray[np.float32]


def _grid(plan: Plan) -> HatGrid:
    spacing = plan.settings.background_spacing * plan.radius_px  # type: ignore[attr-defined]
    return HatGrid.over((plan.movie.height, plan.movie.width), spacing)


def whole_image_hats(plan: Plan) -> sparse.csr_array:
    """Return the background's nodes over the whole image, no rows where there is no background."""
    grid = _grid(plan)
    hats = grid.images(slice(0, plan.movie.height), slice(0, plan.movie.width))
    return hats if plan.settings.background == "local" else hats[:0]  # type: ignore[attr-defined]


def solve_tiles(
    plan: Plan, working: WorkingMovie, summary: Summary, clock: StageClock, correlate: Callable[[Float32], Float32]
) -> tuple[list[Components], Float32]:
    """Solve every tile.

    Returns
    -------
    parts : list of Components
        One a tile.
    correlation : numpy.ndarray
        ``(height, width)`` local correlation image.
    """
    grid = _grid(plan)
    parts = []
    correlation = np.zeros(summary.mean.shape, np.float32)
    n_tiles = len(working.tiles)
    for index, (tile, movie) in enumerate(each_tile(working)):
        with clock.stage("summary images"):
            movie -= movie.mean(axis=2, keepdims=True)
            image = correlate(movie)
            rows = slice(tile.core_rows.start - tile.rows.start, tile.core_rows.stop - tile.rows.start)
            columns = slice(tile.core_columns.start - tile.columns.start, tile.core_columns.stop - tile.columns.start)
            correlation[tile.core_rows, tile.core_columns] = image[rows, columns]
            movie += summary.mean[tile.rows, tile.columns, None]

        def report(stage: str, done: float, total: float, unit: str, index: int = index) -> None:
            name = stage if n_tiles == 1 else f"{stage}, tile {index + 1} of {n_tiles}"
            clock.tell(name, done, total, unit)

        with clock.stage("find and refine cells"):
            parts.append(
                plan.method.solve(
                    movie, summary.inside[tile.rows, tile.columns], grid.images(tile.rows, tile.columns),
                    plan.radius_px, plan.settings, report,
                )
            )  # fmt: skip
    return parts, correlation
