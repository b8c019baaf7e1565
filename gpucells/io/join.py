"""A recording in several files: put in natural order, checked for gaps, joined in time."""

from __future__ import annotations

import bisect
import itertools
import logging
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.model.movie import Movie

log = logging.getLogger(__name__)

# Files held open at a time; each video among them keeps a decoder with its place.
_MAX_OPEN = 8
_DIGITS = re.compile(r"(\d+)")


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which ``2.avi`` comes before ``10.avi``: digits count as numbers, letters regardless of case."""
    parts = _DIGITS.split(str(path).casefold())
    return [(0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


def missing_numbers(paths: Sequence[Path]) -> list[str]:
    """Names that a numbered series of files lacks.

    A series are names that differ in one number only, and step by the same amount more often than not. What a series
    lacks before its first or after its last file cannot be known.

    Parameters
    ----------
    paths : sequence of Path
        The files.

    Returns
    -------
    list of str
        File names, in order; empty where nothing is missing or the names are no series.
    """
    series: dict[tuple[str, ...], dict[int, list[str]]] = defaultdict(dict)
    varying = _last_varying_number([_DIGITS.split(path.name) for path in paths])
    if varying is None:
        return []
    for path in paths:
        parts = _DIGITS.split(path.name)
        series[str(path.parent), *parts[:varying], "", *parts[varying + 1 :]][int(parts[varying])] = parts
    missing = []
    for members in series.values():
        numbers = sorted(members)
        absent = _absent(numbers)
        parts = members[numbers[0]]
        width = len(parts[varying])
        missing += ["".join([*parts[:varying], str(n).zfill(width), *parts[varying + 1 :]]) for n in absent]
    return missing


def _last_varying_number(names: list[list[str]]) -> int | None:
    if len({len(parts) for parts in names}) != 1:
        return None
    varying = [i for i in range(1, len(names[0]), 2) if len({parts[i] for parts in names}) > 1]
    return varying[-1] if varying else None


def _absent(numbers: list[int]) -> list[int]:
    """Numbers that a regular series lacks; none where too many are: then it is no series (dates, for example)."""
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if not steps:
        return []
    step, often = Counter(steps).most_common(1)[0] if len(steps) > 1 else (1, 1)
    is_regular = often * 2 >= len(steps) and all(one % step == 0 for one in steps)
    if not is_regular or (numbers[-1] - numbers[0]) // step > 2 * len(numbers):
        return []
    return sorted(set(range(numbers[0], numbers[-1], step)) - set(numbers))


class JoinedReader:
    """Movies one after the other in time, opened when they are first read; a few are kept open.

    Parameters
    ----------
    names : list of str
        What to call each part.
    shapes : list of tuple of int
        ``(n_frames, height, width)`` of each.
    dtype : numpy.dtype
        Of all.
    open_part : callable
        Opens a part by its number.
    """

    def __init__(
        self,
        names: list[str],
        shapes: list[tuple[int, int, int]],
        dtype: np.dtype[Any],
        open_part: Callable[[int], Movie],
    ) -> None:
        self._starts = [0, *np.cumsum([shape[0] for shape in shapes]).tolist()]
        self.shape = (self._starts[-1], *shapes[0][1:])
        self.dtype = dtype
        self._names = names
        self._shapes = shapes
        self._open_part = open_part
        self._open: OrderedDict[int, Movie] = OrderedDict()

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Return that box, from as many files as it spans."""
        box = np.empty(tuple(s.stop - s.start for s in (frames, rows, columns)), self.dtype)
        frame = frames.start
        while frame < frames.stop:
            part = bisect.bisect_right(self._starts, frame) - 1
            start, stop = self._starts[part], min(self._starts[part + 1], frames.stop)
            there = slice(frame - start, stop - start)
            box[frame - frames.start : stop - frames.start] = self._part(part).reader.read(there, rows, columns)
            frame = stop
        return box

    def close(self) -> None:
        """Release all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _part(self, number: int) -> Movie:
        if number not in self._open:
            while len(self._open) >= _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            movie = self._open_part(number)
            if movie.shape != self._shapes[number]:
                movie.close()
                raise InputError(
                    f"{self._names[number]} changed while it was read: {self._shapes[number]} before, now {movie.shape}"
                )
            self._open[number] = movie
        self._open.move_to_end(number)
        return self._open[number]


def join_movies(paths: Sequence[Path], open_one: Callable[[Path], Movie], source: str) -> Movie:
    """Join files in time, in the order given.

    Parameters
    ----------
    paths : sequence of Path
        At least one file.
    open_one : callable
        Opens one.
    source : str
        What a person would call the whole.

    Returns
    -------
    Movie
        Frame rate and pixel size are those that all files agree on.

    Raises
    ------
    InputError
        Files whose frames differ in size, type or scale.
    """
    if missing := missing_numbers(paths):
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        log.warning("%d file(s) of the series are missing, the movie jumps there: %s", len(missing), shown)
    parts: list[Movie] = []
    kept: list[Path] = []
    files: dict[str, None] = {}
    for path in paths:
        if str(path) in files:  # a file of an OME series that an earlier one already gave
            continue
        with open_one(path) as movie:
            if parts:
                _require_alike(parts[0], movie)
            parts.append(movie)
            kept.append(path)
            files.update(dict.fromkeys(movie.files))
    first = parts[0]
    reader = JoinedReader(
        [str(path) for path in kept],
        [movie.shape for movie in parts],
        first.reader.dtype,
        lambda number: open_one(kept[number]),
    )
    return Movie(
        reader,
        source=source,
        frame_rate_hz=_agreed("frame_rate_hz", parts),
        pixel_size_um=_agreed("pixel_size_um", parts),
        scale=first.scale,
        offset=first.offset,
        files=tuple(files),
    )


def _require_alike(first: Movie, other: Movie) -> None:
    for what, a, b in (
        ("frame size", first.shape[1:], other.shape[1:]),
        ("type", first.reader.dtype, other.reader.dtype),
        ("scale and offset", (first.scale, first.offset), (other.scale, other.offset)),
    ):
        if a != b:
            raise InputError(
                f"the files differ in {what}: {first.source} has {a}, {other.source} has {b}",
                "only recordings with the same settings can be joined; pass the files that belong together",
            )


def _agreed(name: str, parts: Sequence[Movie]) -> float | None:
    values = {getattr(movie, name) for movie in parts} - {None}
    if len(values) > 1:
        log.warning("the files disagree on %s: %s; none is used", name, sorted(values))
    return values.pop() if len(values) == 1 else None
