"""The last two passes over a movie: traces at its full rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gpucells.methods.registry import TraceSolver
from gpucells.model.movie import Movie
from gpucells.tiles.frames import blocks, frames_per_block

Float32 = NDArray[np.float32]


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
        Told frames done and total, over both passes.

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
    together = stretch(np.concatenate([traces, field]), factor, n_frames)
    length = frames_per_block(movie, multiple=128)
    for some, frames in blocks(movie, length):
        np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        first, second = solver.solve_together(frames, together[:, some])
        together[:n_cells, some], together[n_cells:, some] = first, second
        report(some.stop, 2 * n_frames)
    smooth = solver.denoise(together[n_cells:])
    lower = solver.lower_bounds(together[:n_cells])
    result = np.empty((n_cells, n_frames), np.float32)
    for some, frames in blocks(movie, length):
        np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        result[:, some] = solver.solve_cells(frames, smooth[:, some], lower, together[:n_cells, some])
        report(n_frames + some.stop, 2 * n_frames)
    return result, smooth
