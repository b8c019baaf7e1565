"""Traces that are linear in the movie: one pass over it, no tiles and no second copy of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_on, to_host
from gpucells.device.stage_clock import StageClock
from gpucells.methods.registry import Projection
from gpucells.model.components import Components, FinalCells, Rejected
from gpucells.ops.fold_frames import PixelSummary, fold_frames
from gpucells.ops.frame_products import project
from gpucells.tiles.frames import blocks, frames_per_block, sent_to
from gpucells.tiles.plan import Plan
from gpucells.tiles.working_movie import Summary

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Projected:
    """What one pass gave.

    Parameters
    ----------
    final : FinalCells
        Traces are NaN at frames that are lost.
    f0 : numpy.ndarray
        ``(n_cells,)`` of the traces.
    summary : Summary
        Of the movie.
    """

    final: FinalCells
    f0: Float32
    summary: Summary


def project_movie(
    plan: Plan, projector: Callable[..., Projection], footprints: sparse.csr_array, clock: StageClock
) -> Projected:
    """Read the traces of footprints from a movie, on the plan's first device, which is the current one.

    A pixel that is not finite in every frame does not count; the movie is read again where that is learned on the way.

    Parameters
    ----------
    plan : Plan
        Of the run.
    projector : callable
        Makes a projection of footprints, which pixels count, image shape and radius (px).
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.
    clock : StageClock
        Told of frames done.
    """
    shape = (plan.movie.height, plan.movie.width)
    counts = plan.mask.ravel().copy()
    made = projector(footprints, counts, shape, plan.radius_px)
    products, summary, broken = _read(plan, made.rows, clock)
    if broken[made.rows.indices].any():
        made = projector(footprints, counts & ~broken, shape, plan.radius_px)
        products, summary, _ = _read(plan, made.rows, clock)
    kept = np.setdiff1d(np.arange(plan.movie.n_frames), summary.lost)
    traces, f0, quality, warnings = made.result(products[:, kept])
    whole = np.full((len(traces), plan.movie.n_frames), np.nan, np.float32)
    whole[:, kept] = traces
    if len(summary.lost):
        said = f"{len(summary.lost)} of {plan.movie.n_frames} frames are wholly NaN or infinite: traces are NaN there"
        warnings = (said, *warnings)
    components = Components(
        footprints, whole, summary.mean.ravel(), plan.noise.ravel(), np.ones(footprints.shape[1], np.float32),
        np.zeros((0, plan.movie.n_frames), np.float32), quality, Rejected.nobody(footprints, whole, quality), warnings,
    )  # fmt: skip
    return Projected(FinalCells(components, whole), f0, replace(summary, inside=summary.inside & plan.mask))


def _read(plan: Plan, rows: sparse.csr_array, clock: StageClock) -> tuple[Float32, Summary, NDArray[np.bool_]]:
    """Multiply every frame with rows, and sum up the pixels; frames without a finite pixel are lost."""
    movie, device = plan.movie, plan.devices[0]
    shape, xp = (movie.height, movie.width), namespace_on(device)
    seen = PixelSummary.empty(movie.height * movie.width, xp)
    products, lost = np.empty((rows.shape[0], movie.n_frames), np.float32), [np.zeros(0, np.int64)]
    length = frames_per_block(movie, most_bytes=plan.block_bytes)
    for some, frames in sent_to(device, blocks(movie, length)):
        products[:, some] = project(frames, rows)
        good = frames
        if frames.dtype.kind == "f":
            finite = to_host(xp.isfinite(frames).any(axis=(1, 2)))
            lost.append(some.start + np.flatnonzero(~finite))
            good = frames if finite.all() else frames[xp.asarray(np.flatnonzero(finite))]
        if len(good):
            fold_frames(good, len(good), xp.empty((movie.height * movie.width, 1), np.float32), 0, seen)
        clock.tell("traces", some.stop, movie.n_frames, "frames")
    gone = np.concatenate(lost)
    total, maximum, minimum, broken = (to_host(x) for x in (seen.total, seen.maximum, seen.minimum, seen.broken))
    mean = (total / max(1, movie.n_frames - len(gone))).astype(np.float32)
    inside = (maximum > minimum) & ~broken
    summary = Summary(mean.reshape(shape), maximum.reshape(shape), minimum.reshape(shape), inside.reshape(shape), gone)
    return products, summary, broken
