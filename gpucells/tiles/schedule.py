"""Solving tile after tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.budget import device_budget_bytes, on_device
from gpucells.device.stage_clock import StageClock
from gpucells.methods.registry import Background
from gpucells.model.components import Components, Rejected
from gpucells.ops.bilinear import Bilinear
from gpucells.tiles.given_footprints import of_tile
from gpucells.tiles.grid import DEVICE_BYTES_PER_PIXEL, DEVICE_BYTES_PER_SAMPLE, Room, Tile, core_weights
from gpucells.tiles.plan import Plan
from gpucells.tiles.recovery import SplittingSolver
from gpucells.tiles.workers import Tasks, work_on_each
from gpucells.tiles.working_movie import Summary, WorkingMovie

Float32 = NDArray[np.float32]


def whole_image_nodes(plan: Plan) -> Bilinear:
    """Return the background's nodes over the whole image, none where there is no background."""
    grids = plan.background()
    if grids is None:
        return Bilinear.none(plan.movie.height, plan.movie.width)
    return grids[1].on(slice(0, plan.movie.height), slice(0, plan.movie.width))


def solve_tiles(
    plan: Plan, working: WorkingMovie, summary: Summary, clock: StageClock, correlate: Callable[[Any, Any], Float32],
    given: sparse.csr_array | None = None, hold: bool = False, device_memory_bytes: int | None = None,
) -> tuple[list[Tile], list[Components], Float32]:  # fmt: skip
    """Solve every tile, several at once where the plan has several devices.

    Parameters
    ----------
    plan : Plan
        Method, settings, cell radius, devices.
    working : WorkingMovie
        The tiles' movies; each is released when it is solved.
    summary : Summary
        Of the whole movie.
    clock : StageClock
        Times the stages and passes progress on.
    correlate : callable
        Makes the local correlation image of a movie ``(height, width, n_frames)`` and its mean ``(height, width)``.
    given : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints over the whole image to start from instead of finding cells.
    hold : bool
        Leave them as they are.
    device_memory_bytes : int, optional
        What the run's arrays may take of each GPU.

    Returns
    -------
    tiles : list of Tile
        Their cores partition the image. They are the plan's, but for those that a GPU's memory did not hold.
    parts : list of Components
        One a tile.
    correlation : numpy.ndarray
        ``(height, width)`` local correlation image.
    """
    solver, n_tiles = _TileSolver(plan, working, summary, clock, correlate, given, hold), len(working.tiles)
    tasks = Tasks(enumerate(working.tiles))
    done: dict[int, list[tuple[Tile, Components]]] = {}

    def work(device: str) -> None:
        name = ""

        def report(stage: str, done: float, total: float, unit: str) -> None:
            tasks.check()
            clock.tell(stage + name, done, total, unit, device)

        def solve(tile: Tile) -> Components:
            return solver.solve(tile, device, report)

        with on_device(device, device_memory_bytes):
            splitting = SplittingSolver(solve, summary.mean.shape, plan.halo_px, device)
            for number, tile in tasks:
                name = "" if n_tiles == 1 else f", tile {number + 1} of {n_tiles}"
                solved = [(tile, solve(tile))] if device == "cpu" else splitting.solve(tile)
                working.release(tile)
                if not hold and n_tiles + len(solved) > 2:
                    solved = [(some, _of_neighbourhood(part, some, 2 * plan.radius_px)) for some, part in solved]
                done[number] = solved

    work_on_each(plan.devices[:n_tiles], tasks, work)
    parts = [part for number in sorted(done) for part in done[number]]
    return [tile for tile, _ in parts], [part for _, part in parts], solver.correlation


class _TileSolver:
    """What all tiles of a run share."""

    def __init__(
        self, plan: Plan, working: WorkingMovie, summary: Summary, clock: StageClock,
        correlate: Callable[[Any, Any], Float32], given: sparse.csr_array | None, hold: bool,
    ) -> None:  # fmt: skip
        self._plan, self._working, self._summary, self._clock = plan, working, summary, clock
        self._correlate, self._given, self._hold = correlate, given, hold
        self._grids = plan.background()
        self._hats = whole_image_nodes(plan).images()
        self.correlation = np.zeros(summary.mean.shape, np.float32)

    def solve(self, tile: Tile, device: str, report: Callable[[str, float, float, str], None]) -> Components:
        """Solve one tile on a device, the current one, and fill its core of the correlation image."""
        movie = self._working.take(tile, device)
        with self._clock.stage("summary images"):
            image = self._correlate(movie, self._summary.mean[tile.rows, tile.columns])
            self.correlation[tile.core_rows, tile.core_columns] = image[tile.core_within]
        start = None if self._given is None else of_tile(tile, self._given, self._plan.movie.width)[0]
        inside = self._summary.inside[tile.rows, tile.columns]
        read_again = None if self._holds_two(tile, device) else partial(self._working.read, tile)
        plan = self._plan
        with self._clock.stage("find and refine cells"):
            if self._grids is not None:
                return self._solve_on_field(self._grids, tile, movie, inside, report, start, read_again)
            return plan.method.solve(
                movie, inside, plan.radius_px, plan.settings, report, start, self._hold, read_again
            )

    def _solve_on_field(
        self, grids: tuple[Background, Background], tile: Tile, movie: Any, inside: NDArray[np.bool_],
        report: Callable[[str, float, float, str], None], start: sparse.csr_array | None,
        read_again: Callable[[Any], None] | None,
    ) -> Components:  # fmt: skip
        plan, (coarse, fine) = self._plan, grids
        near, _ = coarse.around(tile.rows, tile.columns)
        final, nodes = fine.around(tile.rows, tile.columns)
        part = plan.method.solve(
            movie, inside, final.on(tile.rows, tile.columns), plan.radius_px, plan.settings, report, start, self._hold,
            (near.on(tile.rows, tile.columns), near.at_nodes_of(final)), read_again,
        )  # fmt: skip
        # Nodes that are another tile's go: a long movie's are too many to keep.
        mine = core_weights([tile], self._hats, self._summary.mean.shape)[0][nodes] > 0
        return replace(part, field=part.field[mine], nodes=nodes[mine])

    def _holds_two(self, tile: Tile, device: str) -> bool:
        """Whether a GPU has room for a second movie of a tile that it has, so that none need be read and sent again."""
        if device == "cpu":
            return False
        planned = Room(0, DEVICE_BYTES_PER_SAMPLE, bytes_per_pixel=DEVICE_BYTES_PER_PIXEL)
        return planned.needed_bytes(tile.n_pixels, self._working.n_frames) <= device_budget_bytes(device)


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
    return replace(part.selected(kept), rejected=rejected)
