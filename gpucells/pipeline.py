"""From a movie to cells: the steps in their order. No arithmetic here."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpucells.device.stage_clock import StageClock
from gpucells.io.open_movie import open_movie
from gpucells.model.cells import Cells
from gpucells.model.movie import Movie
from gpucells.ops.local_correlation import local_correlation
from gpucells.postprocess.assemble import assemble, provenance
from gpucells.postprocess.join import join_tiles
from gpucells.progress import ProgressSink, silent
from gpucells.settings import RunSettings
from gpucells.tiles.final_traces import final_traces
from gpucells.tiles.plan import Plan, make_plan
from gpucells.tiles.schedule import solve_tiles, whole_image_hats
from gpucells.tiles.working_movie import ingest

log = logging.getLogger(__name__)


def extract_cells(
    movie: Movie | str | Path | np.ndarray[Any, Any] | list[str | Path],
    method: str = "extract",
    run: RunSettings | None = None,
    settings: dict[str, Any] | None = None,
    progress: ProgressSink = silent,
    **run_overrides: Any,
) -> Cells:
    """Find the cells of a movie: footprints, traces, quality.

    Parameters
    ----------
    movie : Movie, path, array, or list of paths
        Anything :func:`gpucells.open_movie` takes.
    method : str
        Name of a method: ``"extract"``.
    run : RunSettings, optional
        Preset, cell diameter, device, memory, seed.
    settings : dict, optional
        The method's own settings by name.
    progress : ProgressSink
        Told of every step.
    **run_overrides
        Fields of :class:`gpucells.settings.RunSettings`, such as ``preset="one_photon"``, ``cell_diameter_px=12``.

    Returns
    -------
    Cells

    Raises
    ------
    InputError, SettingsError, DeviceError, DeviceMemoryError
        With what was wrong, the value seen, and what to do.
    """
    chosen = (run or RunSettings.from_values({})).changed(**run_overrides)
    if not isinstance(movie, Movie):
        with open_movie(movie, frame_rate_hz=chosen.frame_rate_hz, pixel_size_um=chosen.pixel_size_um) as opened:
            return _run(opened, method, chosen, settings or {}, progress)
    return _run(movie, method, chosen, settings or {}, progress)


def plan_run(movie: Movie, method: str, run: RunSettings, settings: dict[str, Any] | None = None) -> Plan:
    """Say what :func:`extract_cells` would do, without doing it; ``lines()`` of the result is for people.

    Parameters
    ----------
    movie : Movie
        Opened with :func:`gpucells.open_movie`.
    method : str
        Name of a method.
    run : RunSettings
        Preset, cell diameter, device, memory.
    settings : dict, optional
        The method's own settings by name.
    """
    return make_plan(movie, method, run, settings or {})


def _run(movie: Movie, method: str, run: RunSettings, values: dict[str, Any], progress: ProgressSink) -> Cells:
    clock = StageClock(progress, "cpu")
    with clock.stage("look at the movie"):
        plan = make_plan(movie, method, run, values)
    for warning in plan.warnings:
        log.warning(warning)
    with clock.stage("read movie"):
        working, summary = ingest(
            movie, plan.tiles, plan.factor, lambda done, total: clock.tell("read movie", done, total, "frames")
        )
    with working:
        parts, correlation = solve_tiles(plan, working, summary, clock, local_correlation)
    with clock.stage("join"):
        components = join_tiles(plan.tiles, parts, (movie.height, movie.width), plan.radius_px)
        del parts
    with clock.stage("traces"):
        solver = plan.method.trace_solver(
            components.footprints, whole_image_hats(plan), components.baseline, plan.full_rate_noise(components.noise),
            components.gain, plan.settings,
        )  # fmt: skip
        traces, _ = final_traces(
            movie, solver, components.traces, components.field, plan.factor, plan.settings.trace_output_option,
            lambda done, total: clock.tell("traces", done, total, "frames"),
        )  # fmt: skip
    with clock.stage("assemble"):
        cells = assemble(
            movie, components, traces, plan.factor, summary, correlation, plan.method.name, plan.record(run)
        )
    warnings = plan.warnings + components.warnings
    return replace(cells, provenance=provenance(movie, plan.device, run.seed, clock.costs, warnings))
