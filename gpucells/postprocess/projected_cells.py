"""Cells whose traces are linear in the movie: from one pass to the result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from gpucells.device.budget import on_device
from gpucells.device.stage_clock import StageClock
from gpucells.methods.registry import Projection
from gpucells.model.cells import Cells
from gpucells.model.movie import Movie
from gpucells.postprocess.assemble import assemble, provenance
from gpucells.settings import RunSettings
from gpucells.tiles.given_footprints import Seeds, as_footprints
from gpucells.tiles.plan import make_plan
from gpucells.tiles.projected import project_movie

log = logging.getLogger(__name__)

NOT_SHOWN = ("correlation", "background_gain")  # images that take a second look at the movie


def projected_cells(
    movie: Movie, method: str, run: RunSettings, values: dict[str, Any], clock: StageClock,
    given: sparse.csr_array | Seeds | None, projector: Callable[..., Projection],
) -> Cells:  # fmt: skip
    """Read a movie once and make cells of it.

    Parameters
    ----------
    movie, method, run, values
        As :func:`gpucells.pipeline.extract_cells` takes them.
    clock : StageClock
        Times the stages.
    given : scipy.sparse.csr_array or Seeds
        Footprints.
    projector : callable
        Makes the method's projection of them.
    """
    with clock.stage("look at the movie"):
        plan = make_plan(movie, method, run, values)
    clock.devices = plan.devices
    footprints = as_footprints(given, plan.radius_px)
    assert footprints is not None
    with clock.stage("traces"), on_device(plan.devices[0], run.device_memory_bytes):
        projected = project_movie(plan, projector, footprints, clock)
    with clock.stage("assemble"):
        summary, final = projected.summary, projected.final
        nothing = np.zeros_like(summary.mean)
        cells = assemble(movie, final, 1, summary, nothing, plan.method.name, plan.record(run))
    images = {name: image for name, image in cells.summary_images.items() if name not in NOT_SHOWN}
    warnings = plan.warnings + final.components.warnings
    for warning in warnings:
        log.warning(warning)
    said = provenance(movie, plan.device, run.seed, clock.costs, warnings)
    return replace(cells, f0=projected.f0, summary_images=images, provenance=said)
