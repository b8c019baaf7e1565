"""Solving tile after tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.stage_clock import StageClock
from gpucells.model.components import Components, Rejected
from gpucells.ops.bilinear import Bilinear
from gpucells.tiles.given_footprints import of_tile
from gpucells.tiles.grid import Tile, core_weights
from gpucells.tiles.plan import Plan
from gpucells.tiles.working_movie import Summary, WorkingMovie

Float32 = NDArray[np.float32]


def whole_image_nodes(plan: Plan) -> Bilinear:
    """Return the background's nodes over the whole image, none where there is no background."""
    return plan.background()[1].on(slice(0, plan.movie.height), slice(0, plan.movie.width))


def solve_tiles(
    plan: Plan, working: WorkingMovie, summary: Summary, clock: StageClock, correlate: Callable[[Float32], Float32],
    given: sparse.csr_array | None = None, hold: bool = False,
) -> tuple[list[Components], Float32]:  # fmt: skip
    """Solve every tile.

    Parameters
    ----------
    plan : Plan
        Method, settings, cell radius.
    working : WorkingMovie
        The tiles' movies; each is taken once.
    summary : Summary
        Of the whole movie.
    clock : StageClock
        Times the stages and passes progress on.
    correlate : callable
        Makes the local correlation image of a movie ``(height, width, n_frames)``.
    given : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints over the whole image to start from instead of finding cells.
    hold : bool
        Leave them as they are.

    Returns
    -------
    parts : list of Components
        One a tile.
    correlation : numpy.ndarray
        ``(height, width)`` local correlation image.
    """
    coarse, fine = plan.background()
    weights = core_weights(working.tiles, whole_image_nodes(plan).images(), summary.mean.shape)
    parts: list[Components] = []
    correlation = np.zeros(summary.mean.shape, np.float32)
    n_tiles = len(working.tiles)
    for tile, movie, read_again in working.each_tile():  # not enumerated: that holds on to the tile before
        index = len(parts)
        with clock.stage("summary images"):
            correlation[tile.core_rows, tile.core_columns] = _centred(movie, correlate)[tile.core_within]

        def report(stage: str, done: float, total: float, unit: str, index: int = index) -> None:
            name = stage if n_tiles == 1 else f"{stage}, tile {index + 1} of {n_tiles}"
            clock.tell(name, done, total, unit)

        start = None if given is None else of_tile(tile, given, plan.movie.width)[0]
        with clock.stage("find and refine cells"):
            near, _ = coarse.around(tile.rows, tile.columns)
            final, nodes = fine.around(tile.rows, tile.columns)
            part = plan.method.solve(
                movie, summary.inside[tile.rows, tile.columns], final.on(tile.rows, tile.columns), plan.radius_px,
                plan.settings, report, start, hold, (near.on(tile.rows, tile.columns), near.at_nodes_of(final)),
                read_again,
            )  # fmt: skip
        mine = weights[index][nodes] > 0  # the others are another tile's: a long movie's are too many to keep
        part = replace(part, field=part.field[mine], nodes=nodes[mine])
        parts.append(part if hold or n_tiles == 1 else _of_neighbourhood(part, tile, 2 * plan.radius_px))
        del movie
    return parts, correlation


def _of_neighbourhood(part: Components, tile: Tile, margin_px: float) -> Components:
    """Forget candidates that lie deep in the halo: another tile knows them better, and many tiles' add up."""

    def near(footprints: sparse.csr_array) -> NDArray[np.bool_]:
        if footprints.shape[0] == 0:
            return np.zeros(0, bool)
        row, column = np.divmod(np.asarray(footprints.argmax(axis=1)).ravel(), tile.shape[1])
        inside = np.ones(len(row), bool)
        for at, box, core in ((row, tile.rows, tile.core_rows), (column, tile.columns, tile.core_columns)):
            inside &= (at + box.start >= core.start - margin_px) & (at + box.start < core.stop + margin_px)
        return inside

    kept, told = near(part.footprints), near(part.rejected.footprints)
    rejected = Rejected(
        sparse.csr_array(part.rejected.footprints[told]),
        part.rejected.traces[told],
        tuple(reason for reason, keep in zip(part.rejected.reasons, told, strict=True) if keep),
        {name: column[told] for name, column in part.rejected.quality.items()},
    )
    return replace(
        part,
        footprints=sparse.csr_array(part.footprints[kept]),
        traces=part.traces[kept],
        quality={name: column[kept] for name, column in part.quality.items()},
        rejected=rejected,
    )


def _centred(movie: Float32, correlate: Callable[[Float32], Float32]) -> Float32:
    """Correlate a movie without its mean, which single precision would drown it in; the movie stays what it was."""
    mean = movie.mean(axis=2, keepdims=True)
    movie -= mean
    image = correlate(movie)
    movie += mean
    return image
