r"""EXTRACT on one tile: find, then refine traces, footprints and background in turn.

Movie :math:`Y` (pixels x frames, each pixel in units of its own noise), footprints :math:`A`, traces :math:`C`, a
smooth background field :math:`G f` (hats times per-pixel gain), and a constant offset per pixel :math:`o`:

.. math:: Y = A^\top C + G^\top f + o + \text{noise}, \qquad
          \text{noise} \sim (1 - \varepsilon) N(0, 1) + \varepsilon H, \; H > 0,

whose minimax estimator is the one-sided Huber loss (Inan et al. 2017). Traces and field are solved together for every
frame, footprints for every pixel, gain and offset for every pixel; candidates that turn out to be no cells, or one
cell twice, go after each round.

Paper: Inan, Dinc et al. 2021, bioRxiv 2021.03.24.436279. ``docs/methods/extract.md`` says where this differs and why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.find import find_in_residual
from gpucells.candidates.judge import VANISHED, Verdict, judge, merge_duplicates, strictness_of
from gpucells.candidates.quality import event_correlation, measure_neighbours, measure_traces
from gpucells.methods.extract.background import shrink_gain
from gpucells.methods.extract.compatible import admm_traces
from gpucells.methods.extract.footprints import update_footprints
from gpucells.methods.extract.penalty import l1_weights
from gpucells.methods.extract.second_hearing import acquit, closer_nodes, is_weak
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.state import State, masked_hats, prepare
from gpucells.model.components import Components, Rejected
from gpucells.ops.bilinear import Bilinear
from gpucells.ops.residual import fit_gain, subtract_components
from gpucells.ops.robust_footprints import Known
from gpucells.ops.robust_traces import robust_traces
from gpucells.preprocess.noise_units import scaled

Float32 = NDArray[np.float32]

# A round does one Newton step: the next moves footprints and background anyway, and going to the end of each half step
# lets the background and overlapping cells trade light (cross-talk .160 instead of .146 on a crowded movie).
TOLERANCE, STEPS = 0.3, 1
HELD_ROUNDS = 2  # of traces, gain and offset where footprints are held: more changed no trace by 1 % on four movies

Stage = Callable[[str, float, float, str], None]


def solve(
    movie: Float32,
    inside: NDArray[np.bool_],
    nodes: Bilinear,
    radius_px: float,
    settings: ExtractSettings,
    report: Stage,
    start: sparse.csr_array | None = None,
    hold: bool = False,
    coarse: tuple[Bilinear, sparse.csr_array] | None = None,
    read_again: Callable[[Float32], None] | None = None,
) -> Components:
    """Find and refine the cells of one tile.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32 in any unit, frames contiguous; overwritten.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that carry signal; those that are not finite in every frame do not count.
    nodes : Bilinear
        Nodes of the background field on this tile, as the result has it.
    radius_px : float
        Cell radius (px).
    settings : ExtractSettings
        Of the run.
    report : callable
        Told stage, done, total and unit.
    start : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` footprints to start from instead of finding.
    hold : bool
        Leave them as they are: solve traces and background only, and judge no one.
    coarse : tuple of Bilinear and scipy.sparse.csr_array, optional
        Nodes of a coarser field, on which cells are found and refined, and what each is at the final nodes,
        ``(n_coarse, n_nodes)``. The one field all along where not given.
    read_again : callable, optional
        Writes the movie once more into an array of its shape: given that, cells are looked for in the movie's own
        memory instead of in a filtered copy.

    Returns
    -------
    Components
    """
    state = prepare(movie, inside, coarse[0] if coarse else nodes, radius_px, settings)
    if hold and start is not None:  # cells that are known keep their light out of the background from the beginning
        state.append(start)
    if settings.background == "local":
        _solve_traces(state, lower=0.0)
        _solve_gain(state)
        _solve_traces(state, lower=0.0)
    if start is None:
        state.append(_find(state, report, read_again))
    elif not hold:  # solved with cells that are rough yet, the background would take light of theirs: r .83 for .95
        state.append(start)
    for _ in range(HELD_ROUNDS if hold else 0):
        _solve_traces(state, lower=0.0)  # without the bound a wide footprint takes the background's swings
        _solve_gain(state)
    for round_ in range(0 if hold else settings.max_iter):
        if state.footprints.shape[0] == 0:
            break
        if round_:
            _solve_gain(state)
        _refine_once(state, strictness_of(round_, settings.max_iter))
        if start is not None and round_ == 0 < settings.max_iter - 1 and settings.search_after_init:
            # Refined, they leave less of themselves; what is found has a round to be judged in.
            state.append(_find(state, report, read_again))
        report("refine", round_ + 1, settings.max_iter, "rounds")
    if coarse is not None and state.nodes.n_nodes:
        _refine_field(state, nodes, coarse[1], lower=0.0 if hold else -np.inf)
    elif not hold:
        _solve_gain(state)
    return _components(state)


def _solve_traces(state: State, lower: float = -np.inf) -> None:
    """Solve cells and field of every frame together, from where they are."""
    cells = state.whitened()
    n_cells = state.footprints.shape[0]
    bounds = np.full(n_cells + len(state.field), -np.inf, np.float32)
    bounds[:n_cells] = lower
    begin = np.concatenate([state.traces, state.field])
    settings = state.settings
    penalty = np.zeros(len(bounds), np.float32)
    if np.isfinite(lower):
        penalty[:n_cells] = l1_weights(cells, state.traces, settings.l1_penalty_factor, settings.kappa_std_ratio)
    if settings.solver == "admm":
        both = sparse.csr_array(sparse.vstack([cells, state.background()]))
        solved = admm_traces(
            state.movie, both, settings.kappa_std_ratio, offset=state.offset, lower=bounds, penalty=penalty,
            start=begin,
        )  # fmt: skip
    else:
        solved, _ = robust_traces(
            state.movie, cells, state.kappa, offset=state.offset, lower=bounds, penalty=penalty,
            start=begin if np.any(begin) else None, tolerance=TOLERANCE, n_steps=STEPS, check=False,
            graph=state.overlaps(),
        )  # fmt: skip
    state.traces, state.field = solved[:n_cells], solved[n_cells:]


def _solve_gain(state: State) -> None:
    gain, offset, certainty = fit_gain(
        state.movie, state.whitened(), state.traces, scaled(state.hats, np.float32(1) / state.noise), state.field,
        state.gain, state.offset, state.settings.kappa_std_ratio,
    )  # fmt: skip
    if state.hats.shape[0]:
        state.gain = shrink_gain(gain, certainty)
    state.offset = offset


def _find(state: State, report: Stage, read_again: Callable[[Float32], None] | None) -> sparse.csr_array:
    room = None if read_again is None else state.movie
    images = sparse.csr_array(sparse.vstack([state.whitened(), state.background()]))
    traces = np.concatenate([state.traces, state.field])
    residual = subtract_components(state.movie, images, traces, state.offset, out=room)
    found = find_in_residual(
        residual, state.noise, state.inside, state.radius_px, state.settings,
        lambda found: report("find cells", len(state.traces) + found, 0, "cells"),
    )  # fmt: skip
    if read_again is not None:
        state.read_again(read_again)
    return found


def _refine_once(state: State, strictness: float) -> None:
    """One round: footprints for the traces, traces for the footprints, who stays."""
    _solve_traces(state, lower=0.0)
    known = Known(sparse.csc_array(state.background()), state.field)
    before = state.footprints
    state.footprints, scale = update_footprints(
        state.movie, state.traces, state.footprints, state.noise, state.kappa, known, state.offset,
        state.inside, state.radius_px, state.settings,
    )  # fmt: skip
    if not scale.all():  # measured as they were before
        verdict = _judge(dataclasses.replace(state, footprints=before), 0.0)
        _drop(state, before, [VANISHED if size == 0 else "" for size in scale], verdict.quality)
        scale = scale[scale > 0]
    state.traces = state.traces * scale[:, None]
    _solve_traces(state)
    verdict = _hear(state, strictness)
    _drop(state, state.footprints, verdict.reasons, verdict.quality)
    state.footprints, state.traces, _ = merge_duplicates(
        state.footprints, state.traces, state.image_shape, state.radius_px, state.settings.duplicate_correlation
    )


def _judge(state: State, strictness: float) -> Verdict:
    return judge(
        state.footprints, state.noise, state.traces, state.image_shape, state.radius_px, state.settings, strictness
    )


def _hear(state: State, strictness: float) -> Verdict:
    """Judge, and those who are too weak once more over closer nodes."""
    verdict = _judge(state, strictness)
    if state.nodes.n_nodes == 0 or not is_weak(verdict):
        return verdict
    nodes, at_nodes = closer_nodes(state.nodes)
    again = dataclasses.replace(
        state,
        nodes=nodes,
        hats=masked_hats(nodes, state.inside),
        field=np.asarray(at_nodes.T @ state.field, np.float32),
    )
    _solve_traces(again)
    return acquit(verdict, _judge(again, strictness))


def _drop(state: State, footprints: sparse.csr_array, reasons: list[str], quality: dict[str, Float32]) -> None:
    """Reject the candidates that have a reason, with these footprints and their traces; the others stay."""
    gone = np.array([bool(reason) for reason in reasons], bool)
    if not gone.any():
        return
    measured = _measure(state, footprints, quality, np.flatnonzero(gone))
    why = tuple(reason for reason in reasons if reason)
    state.dropped.append(Rejected(sparse.csr_array(footprints[gone]), state.traces[gone], why, measured))
    state.footprints = sparse.csr_array(state.footprints[~gone])
    state.traces = state.traces[~gone]


def _measure(
    state: State, footprints: sparse.csr_array, judged: dict[str, Float32], cells: NDArray[np.integer]
) -> dict[str, Float32]:
    """Every column of the table, for some of the cells."""
    columns = judged | measure_traces(state.traces) | measure_neighbours(footprints, state.traces)
    known = Known(sparse.csc_array(state.background()), state.field)
    seen = event_correlation(
        state.movie, footprints, state.traces, state.noise, known, state.offset, state.inside, state.radius_px, cells
    )
    return {name: column[cells] for name, column in columns.items()} | {"event_correlation": seen}


def _refine_field(state: State, nodes: Bilinear, at_nodes: sparse.csr_array, lower: float) -> None:
    """Go over to the final nodes, from what the field is there, and settle; footprints stay."""
    state.field = np.asarray(at_nodes.T @ state.field, np.float32)
    state.nodes, state.hats = nodes, masked_hats(nodes, state.inside)
    _solve_traces(state, lower=0.0)
    _solve_gain(state)
    _solve_traces(state, lower=lower)


def _components(state: State) -> Components:
    """Gather the result; the last judgement measures it."""
    quality = _measure(state, state.footprints, _judge(state, 0.0).quality, np.arange(state.footprints.shape[0]))
    nobody = Rejected.nobody(state.footprints, state.traces, quality)
    rejected = Rejected.joined([nobody, *state.dropped])
    return Components(
        state.footprints, state.traces, state.baseline + state.offset * state.noise,
        state.noise, state.gain, state.field, quality, rejected,
    )  # fmt: skip
