"""Frames without a single finite pixel, as a camera that skips or a failed correction leaves them.

One such frame must not cost every pixel. Reading the movie tells which they are; it is then read again without them, as
a shorter movie, and the result's traces are NaN where it has a gap. A stand-in, such as the frame before, would have no
noise of its own, and what is told from the noise would go wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.budget import on_device
from gpucells.device.stage_clock import StageClock
from gpucells.errors import InputError
from gpucells.model.cells import Cells
from gpucells.model.movie import FrameReader, Movie
from gpucells.settings import RunSettings
from gpucells.tiles.frames import hold_small
from gpucells.tiles.plan import Plan, make_plan
from gpucells.tiles.working_movie import Summary, WorkingMovie, ingest

MOST = 0.5  # share of the frames: where more are lost, what is left is no movie


class PickedFrames:
    """Some frames of another reader, in order.

    Parameters
    ----------
    reader : FrameReader
        Where they are read from.
    kept : numpy.ndarray
        ``(n_kept,)`` their numbers, rising.
    """

    def __init__(self, reader: FrameReader, kept: NDArray[np.int64]) -> None:
        self.reader, self.kept = reader, kept
        self.shape = (len(kept), *reader.shape[1:])
        self.dtype = reader.dtype

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a box, run by run: what lies in a gap is not read."""
        wanted = self.kept[frames]
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1) if len(wanted) else []
        boxes = [self.reader.read(slice(int(run[0]), int(run[-1]) + 1), rows, columns) for run in runs]
        return np.concatenate(boxes) if boxes else self.reader.read(slice(0, 0), rows, columns)

    def close(self) -> None:
        """Release the file."""
        self.reader.close()


def kept_frames(movie: Movie, lost: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the frames that are not lost.

    Raises
    ------
    InputError
        More than half of them are lost.
    """
    if len(lost) > MOST * movie.n_frames:
        raise InputError(
            f"{movie.source}: {len(lost)} of {movie.n_frames} frames are wholly NaN or infinite",
            "is the right dataset read? Less than half a movie is too little to find cells in",
        )
    return np.setdiff1d(np.arange(movie.n_frames), lost)


def pick_frames(movie: Movie, kept: NDArray[np.int64]) -> Movie:
    """Return a movie of the frames ``kept`` (numbers, rising) alone."""
    return replace(movie, reader=PickedFrames(movie.reader, kept))


@dataclass(frozen=True)
class Reading:
    """What the first pass over a movie gave.

    Parameters
    ----------
    source : Movie
        All frames.
    movie : Movie
        The frames that are not lost.
    lost : numpy.ndarray
        Numbers of those that are.
    plan, working, summary
        Of ``movie``; close ``working``.
    """

    source: Movie
    movie: Movie
    lost: NDArray[np.int64]
    plan: Plan
    working: WorkingMovie
    summary: Summary

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the plan warned of, and how many frames were lost, where any were."""
        if not len(self.lost):
            return self.plan.warnings
        are = "frame is" if len(self.lost) == 1 else "frames are"
        said = (
            f"{len(self.lost)} of {self.source.n_frames} {are} wholly NaN or infinite: left out; traces are NaN there"
        )
        return (*self.plan.warnings, said)

    def with_gaps(self, cells: Cells) -> Cells:
        """Return cells of ``movie`` as cells of ``source``: their traces are NaN at the lost frames."""
        if not len(self.lost):
            return cells
        kept, changes = kept_frames(self.source, self.lost), dict[str, Any]()
        for name in ("traces", "denoised", "spikes", "background_traces"):
            value = getattr(cells, name)
            if value is not None:
                changes[name] = np.full((len(value), self.source.n_frames), np.nan, np.float32)
                changes[name][:, kept] = value
        return replace(cells, **changes)


def read_movie(movie: Movie, method: str, run: RunSettings, values: dict[str, Any], clock: StageClock) -> Reading:
    """Plan the run and read the movie; where frames are lost, do both again without them.

    Parameters
    ----------
    movie : Movie
        The source.
    method, run, values
        As :func:`gpucells.tiles.plan.make_plan` takes them.
    clock : StageClock
        Times both.

    Raises
    ------
    InputError
        As :func:`kept_frames`, :func:`gpucells.tiles.plan.make_plan` and :func:`gpucells.tiles.working_movie.ingest`.
    """
    movie = hold_small(movie, run.memory_bytes)
    reading = _read(movie, method, run, values, clock)
    lost = reading.summary.lost
    if not len(lost):
        return reading
    reading.working.close()
    kept = pick_frames(movie, kept_frames(movie, lost))
    return replace(_read(kept, method, run, values, clock), source=movie, lost=lost)


def _read(movie: Movie, method: str, run: RunSettings, values: dict[str, Any], clock: StageClock) -> Reading:
    with clock.stage("look at the movie"):
        plan = make_plan(movie, method, run, values)
    with clock.stage("read movie"), on_device(plan.devices[0], run.device_memory_bytes):
        working, summary = ingest(
            movie,
            plan.tiles,
            plan.factor,
            lambda done, total: clock.tell("read movie", done, total, "frames"),
            plan.devices[0],
            plan.block_bytes,
            plan.on_disk,
        )
    return Reading(movie, movie, summary.lost, plan, working, summary)
