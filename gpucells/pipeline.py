"""From a movie to cells: the steps in their order. No arithmetic here."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpucells.device.budget import on_device
from gpucells.device.stage_clock import StageClock
from gpucells.io.open_movie import open_movie
from gpucells.model.cells import Cells
from gpucells.model.movie import Movie
from gpucells.ops.local_correlation import local_correlation
from gpucells.postprocess.assemble import assemble, provenance
from gpucells.postprocess.join import join_tiles
from gpucells.postprocess.projected_cells import projected_cells
from gpucells.progress import ProgressSink, silent
from gpucells.settings import RunSettings
from gpucells.tiles.finish import finish
from gpucells.tiles.given_footprints import as_footprints, require_footprints, take_footprints
from gpucells.tiles.lost_frames import read_movie
from gpucells.tiles.plan import Plan, make_plan
from gpucells.tiles.schedule import solve_tiles, whole_image_nodes

log = logging.getLogger(__name__)


def extract_cells(
    movie: Movie | str | Path | np.ndarray[Any, Any] | list[str | Path],
    method: str = "extract",
    run: RunSettings | None = None,
    settings: dict[str, Any] | None = None,
    progress: ProgressSink = silent,
    init: Any = None,
    **run_overrides: Any,
) -> Cells:
    """Find the cells of a movie: footprints, traces, quality.

    Parameters
    ----------
    movie : Movie, path, array, or list of paths
        Anything :func:`gpucells.open_movie` takes.
    method : str
        Name of a method, one of ``gpucells.methods.registry.METHOD_NAMES``.
    run, settings : RunSettings and dict, optional
        Preset, cell diameter, device, memory, seed; the method's own settings by name.
    progress : ProgressSink
        Told of every step.
    init : Cells, path, sparse array, or array, optional
        Footprints to begin with instead of finding cells, such as another method's, as :func:`apply_footprints` takes
        them; or seeds, ``(n, 2)`` points (row, column) in px, each a disc as wide as a cell.
    **run_overrides
        Fields of :class:`gpucells.settings.RunSettings`, such as ``preset="one_photon"``, ``cell_diameter_px=12``.

    Raises
    ------
    InputError, SettingsError, DeviceError, DeviceMemoryError
    """
    chosen = (run or RunSettings.from_values({})).changed(**run_overrides)
    with _opened(movie, chosen) as source:
        return _run(source, method, chosen, settings or {}, progress, init)


def apply_footprints(
    movie: Movie | str | Path | np.ndarray[Any, Any] | list[str | Path],
    footprints: Any,
    run: RunSettings | None = None,
    settings: dict[str, Any] | None = None,
    progress: ProgressSink = silent,
    method: str = "extract",
    **run_overrides: Any,
) -> Cells:
    """Solve the traces of given footprints on a movie, the background with them; find no cells and drop none.

    Parameters
    ----------
    movie : Movie, path, array, or list of paths
        Anything :func:`gpucells.open_movie` takes, registered to the footprints.
    footprints : Cells, path, sparse array, or array
        Cells (accepted); a file of cells, masks, ROIs; masks ``(n_cells, height, width)`` or flat, dense or sparse.
    run, settings, progress, method, **run_overrides
        As in :func:`extract_cells`. Without a cell diameter, the footprints' own is taken.

    Returns
    -------
    Cells
        One a footprint, in their order, all accepted.
    """
    chosen = (run or RunSettings.from_values({})).changed(**run_overrides)
    with _opened(movie, chosen) as source:
        return _run(source, method, chosen, settings or {}, progress, footprints, hold=True)


def _opened(movie: Any, run: RunSettings) -> AbstractContextManager[Movie]:
    if isinstance(movie, Movie):
        return nullcontext(movie)
    return open_movie(movie, frame_rate_hz=run.frame_rate_hz, pixel_size_um=run.pixel_size_um)


def plan_run(movie: Movie, method: str, run: RunSettings, settings: dict[str, Any] | None = None) -> Plan:
    """Say what :func:`extract_cells` would do, without doing it; ``lines()`` of the result is for people.

    Parameters
    ----------
    movie, method, run, settings
        As there; the movie is open.
    """
    return make_plan(movie, method, run, settings or {})


def _run(
    movie: Movie, method: str, run: RunSettings, values: dict[str, Any], progress: ProgressSink,
    footprints: Any = None, hold: bool = False,
) -> Cells:  # fmt: skip
    clock = StageClock(progress, "cpu")  # which looks at the movie and reads it
    found, hold = require_footprints(method, footprints, hold)
    given, run = take_footprints(footprints, (movie.height, movie.width), run, hold)
    if (projector := found.projection(found.settings(run.preset, dict(values)))) is not None:
        return projected_cells(movie, method, run, values, clock, given, projector)
    reading = read_movie(movie, method, run, values, clock)
    plan, clock.devices = reading.plan, reading.plan.devices
    given = as_footprints(given, plan.radius_px)
    for warning in reading.warnings:
        log.warning(warning)
    with reading.working:
        summary = reading.summary.within(plan.mask)
        tiles, parts, correlation = solve_tiles(
            plan, reading.working, summary, clock, local_correlation, given, hold, run.device_memory_bytes
        )
    with clock.stage("join"):
        nodes = whole_image_nodes(plan)
        components = join_tiles(
            tiles, parts, summary.mean.shape, plan.radius_px, nodes.images(), given if hold else None, plan.n_background
        )
        del parts
    with clock.stage("traces"), on_device(plan.devices[0], run.device_memory_bytes):
        final = finish(
            reading.movie, plan, components, nodes, summary, hold,
            lambda done, total: clock.tell("traces", done, total, "frames"),
        )  # fmt: skip
    with clock.stage("assemble"):
        cells = assemble(reading.movie, final, plan.factor, summary, correlation, plan.method.name, plan.record(run))
        cells = reading.with_gaps(cells)
    warnings = reading.warnings + final.components.warnings
    return replace(cells, provenance=provenance(movie, plan.device, run.seed, clock.costs, warnings))
