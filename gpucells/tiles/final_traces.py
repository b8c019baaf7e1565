"""The last pass over a movie, or two: traces at its full rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from gpucells.methods.registry import TraceSolver
from gpucells.model.movie import Movie
from gpucells.tiles.frames import blocks, blocks_within, frames_per_block, sent_to

Float32 = NDArray[np.float32]

DEVICE_BLOCKS = 4  # of the solver's blocks of frames at once on a GPU: half a gigabyte at 512 x 512
SAMPLE_LENGTH, SAMPLES = 128, 12  # frames that the bound of a trace is taken from: its quantile is known to 3 %


def stretch(traces: Float32, factor: int, n_frames: int) -> Float32:
    """Interpolate averaged traces to the full rate.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n, n_averaged)``.
    factor : int
        Frames that were averaged into one.
    n_frames : int
        Frames of the movie; those after the last whole average repeat it.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)`` float32.
    """
    if factor == 1 and traces.shape[1] == n_frames:
        return traces
    centres = (np.arange(traces.shape[1]) + 0.5) * factor - 0.5
    at = np.interp(np.arange(n_frames), centres, np.arange(traces.shape[1]))
    left = np.minimum(at.astype(int), traces.shape[1] - 1)
    right = np.minimum(left + 1, traces.shape[1] - 1)
    weight = (at - left).astype(np.float32)
    return np.asarray(traces[:, left] * (1 - weight) + traces[:, right] * weight, np.float32)


def final_traces(
    movie: Movie,
    solver: TraceSolver,
    traces: Float32,
    field: Float32,
    factor: int,
    option: str,
    report: Callable[[float, float], None],
    block_bytes: int | None = None,
    device: str = "cpu",
) -> tuple[Float32, Float32]:
    """Solve traces and background of the whole movie.

    Parameters
    ----------
    movie : Movie
        The source.
    solver : TraceSolver
        The cells.
    traces, field : numpy.ndarray
        Averaged in time, where to begin: ``(n_cells, n)``, ``(n_hats, n)``.
    factor : int
        Frames that were averaged into one.
    option : str
        The method's ``trace_output_option``; ``"none"`` leaves the averaged traces as they are, stretched.
    report : callable
        Told frames done and total, over all passes.
    block_bytes : int, optional
        Size of a block of frames (float32) that may not be exceeded; whole blocks of the solver where it is not given.
    device : str
        Where to solve; a GPU must be the current one.

    Returns
    -------
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32 in the movie's units.
    field : numpy.ndarray
        ``(n_hats, n_frames)`` float32, denoised.
    """
    n_frames, n_cells = movie.n_frames, len(traces)
    if option == "none":
        return stretch(traces, factor, n_frames), stretch(field, factor, n_frames)
    start = stretch(traces, factor, n_frames)
    smooth, slow = solver.denoise(field, factor)
    smooth = stretch(smooth, factor, n_frames)
    at_once = get_num_threads() if device == "cpu" else DEVICE_BLOCKS
    length = frames_per_block(movie, multiple=128 * at_once, most_bytes=block_bytes)  # 128: the solver's own block
    n_passes = 1
    if not slow:  # the background moves within an averaged frame: solve it at the full rate
        n_passes = 2
        together = np.concatenate([start, stretch(field, factor, n_frames)])
        for some, frames in sent_to(device, blocks(movie, length)):
            together[:, some] = np.concatenate(solver.solve_together(frames, together[:, some]))
            report(some.stop, n_passes * n_frames)
        start = together[:n_cells]
        smooth, _ = solver.denoise(together[n_cells:], 1)
        lower = solver.lower_bounds(start)
    else:
        lower = solver.lower_bounds(_sample_unconstrained(movie, solver, smooth, start, device))
    result = np.empty((n_cells, n_frames), np.float32)
    reads = (((some, read), frames) for some, read, frames in blocks_within(movie, length, solver.reach))
    for (some, read), frames in sent_to(device, reads):
        solved = solver.solve_cells(frames, smooth[:, read], lower, start[:, read])
        result[:, some] = solved[:, some.start - read.start : some.stop - read.start]
        report((n_passes - 1) * n_frames + some.stop, n_passes * n_frames)
    return result, smooth


def _sample_unconstrained(movie: Movie, solver: TraceSolver, field: Float32, start: Float32, device: str) -> Float32:
    """Solve some frames without constraint, evenly spread over the movie: enough to know a quantile of every trace."""
    free = np.full(len(start), -np.inf, np.float32)
    first = np.linspace(0, max(movie.n_frames - SAMPLE_LENGTH, 0), SAMPLES).astype(int)
    some = [slice(int(begin), min(int(begin) + SAMPLE_LENGTH, movie.n_frames)) for begin in np.unique(first)]
    parts = [
        solver.solve_cells(frames, field[:, part], free, start[:, part])
        for part, frames in sent_to(device, ((part, movie.read(part)) for part in some))
    ]
    return np.concatenate(parts, axis=1)
