"""What follows when all tiles are solved and joined: the last passes over the movie, at its own rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpucells.methods.registry import FieldModel, LowRankModel
from gpucells.model.components import Components, FinalCells
from gpucells.model.movie import Movie
from gpucells.ops.bilinear import Bilinear
from gpucells.tiles.final_traces import final_traces, stretch
from gpucells.tiles.frames import blocks, frames_per_block, sent_to
from gpucells.tiles.plan import Plan
from gpucells.tiles.working_movie import Summary


def finish(
    movie: Movie, plan: Plan, components: Components, nodes: Bilinear, summary: Summary, hold: bool,
    report: Callable[[float, float], None],
) -> FinalCells:  # fmt: skip
    """Solve what is solved over the whole image, on the plan's first device, which is the current one.

    Parameters
    ----------
    movie : Movie
        The source.
    plan : Plan
        Of the run.
    components : Components
        Of the whole image.
    nodes : Bilinear
        Of the background field over the whole image; none where there is none.
    summary : Summary
        Of the movie.
    hold : bool
        Whether footprints stay as they are.
    report : callable
        Told frames done and total, over all passes.
    """
    noise = plan.full_rate_noise(components.noise, summary.inside)
    if isinstance(plan.method.model, FieldModel):
        solver = plan.method.model.trace_solver(
            components.footprints, nodes, components.baseline, noise, components.gain, plan.settings, components.traces
        )
        option = getattr(plan.settings, "trace_output_option", "")
        traces, _ = final_traces(
            movie, solver, components.traces, components.field, plan.factor, option, report, plan.block_bytes,
            plan.devices[0],
        )  # fmt: skip
        return FinalCells(components, traces)
    return _final_updates(plan.method.model, movie, plan, components, summary, hold, report)


def _final_updates(
    model: LowRankModel, movie: Movie, plan: Plan, components: Components, summary: Summary, hold: bool,
    report: Callable[[float, float], None],
) -> FinalCells:  # fmt: skip
    if not hold:
        components = model.order_cells(components, plan.settings)
    assert components.background_traces is not None
    start = replace(
        components,
        traces=stretch(components.traces, plan.factor, movie.n_frames),
        background_traces=stretch(components.background_traces, plan.factor, movie.n_frames),
    )
    noise = plan.full_rate_noise(components.noise, summary.inside)
    image_shape = (movie.height, movie.width)
    updates = model.final_updates(start, noise, image_shape, plan.radius_px, plan.settings, hold)
    length = frames_per_block(movie, most_bytes=plan.block_bytes)
    for number in range(updates.n_passes):
        updates.begin(number)
        for some, frames in sent_to(plan.devices[0], blocks(movie, length)):
            updates.see(some, frames)
            report(number * movie.n_frames + some.stop, updates.n_passes * movie.n_frames)
        updates.end()
    final = updates.result()
    return replace(final, components=replace(final.components, traces=components.traces))
