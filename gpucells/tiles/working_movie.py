"""The movie that the solver sees: averaged in time, one array a tile.

One pass over the source makes it, and the summary images on the way. Several tiles wait in scratch files for their
turn; the whole image is in memory, or where it is too large mapped from a scratch file, and the source is read again
where it is needed once more.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.device.arrays import empty, namespace_of, namespace_on, to_host
from gpucells.device.budget import free_pools, is_out_of_memory
from gpucells.errors import InputError, ResultFileError
from gpucells.model.movie import Movie
from gpucells.ops.fold_frames import PixelSummary, as_native, fold_frames, frame_profiles
from gpucells.tiles.frames import BLOCK_BYTES, blocks, frames_per_block, sent_to
from gpucells.tiles.grid import Tile

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Summary:
    """What one pass over a movie tells, ``(height, width)`` each.

    Parameters
    ----------
    mean, maximum, minimum : numpy.ndarray
        float32, NaN counted as 0.
    inside : numpy.ndarray
        bool: pixels that vary, are finite in every frame, and lie within the registration borders.
    lost : numpy.ndarray
        Numbers of the frames without a finite pixel. Where there are any no pixel is inside: read the movie again
        without them (:mod:`gpucells.tiles.lost_frames`).
    """

    mean: Float32
    maximum: Float32
    minimum: Float32
    inside: NDArray[np.bool_]
    lost: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def within(self, mask: NDArray[np.bool_]) -> Summary:
        """Leave out what a ``(height, width)`` mask leaves out.

        Raises
        ------
        InputError
            No pixel is left.
        """
        inside = self.inside & mask
        if not inside.any():
            raise InputError("no pixel inside the mask varies and is finite in all frames", "is it this movie's mask?")
        return replace(self, inside=inside)


class WorkingMovie:
    """Averaged frames of every tile.

    Parameters
    ----------
    movie : Movie
        The source.
    tiles : list of Tile
        Boxes that are kept apart.
    factor : int
        Frames averaged into one; a remainder at the end is left out.
    device : str
        Where frames are averaged, and the whole image is kept if it is the one tile; a GPU must be the current one.
    block_bytes : int, optional
        Size (float32) of a block of frames that may not be exceeded.
    on_disk : bool
        Map the whole image, if it is the one tile, from a scratch file: on the CPU.

    Raises
    ------
    ResultFileError
        The scratch folder has no room for that.
    """

    def __init__(
        self, movie: Movie, tiles: list[Tile], factor: int, device: str = "cpu", block_bytes: int | None = None,
        on_disk: bool = False,
    ) -> None:  # fmt: skip
        self.device = device
        self.block_frames = frames_per_block(movie, factor, most_bytes=block_bytes) // factor * factor or factor
        self.tiles, self.n_frames, self.factor = tiles, movie.n_frames // factor, factor
        self._movie = movie
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._array: Any = None
        self._lengths: list[int] = []  # averaged frames of each block in the scratch files
        if len(tiles) > 1 or on_disk:
            self._folder = tempfile.TemporaryDirectory(prefix="gpucells-", ignore_cleanup_errors=True)
        if len(tiles) == 1:
            shape = (*tiles[0].shape, self.n_frames)
            self._array = self._mapped(shape) if on_disk else self._room(shape)

    def _room(self, shape: tuple[int, ...]) -> Any:
        """Return memory for the whole image: the device's, the host's where that has none (tiles are then split)."""
        try:
            return empty(shape, np.float32, self.device)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_pools(self.device)
        return np.empty(shape, np.float32)

    def _mapped(self, shape: tuple[int, ...]) -> Any:
        """Return a scratch file as an array; all its room is taken now, as what is full later ends the process."""
        needed = 4 * int(np.prod(shape, dtype=np.int64))
        try:
            if shutil.disk_usage(self._path(0).parent).free < needed:
                self.close()
                raise _no_room(needed, os.strerror(errno.ENOSPC))
            with self._path(0).open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, needed)
                else:
                    file.truncate(needed)
            return np.memmap(self._path(0), np.float32, "r+", shape=shape).view(np.ndarray)
        except OSError as error:
            self.close()
            raise _no_room(needed, error.strerror) from error

    def __enter__(self) -> WorkingMovie:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the movie and remove its scratch files."""
        self._array = None
        if self._folder is not None:
            self._folder.cleanup()

    def _path(self, index: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"tile_{index}.f32"

    def put(self, first: int, frames: NDArray[Any], summary: PixelSummary) -> None:
        """Average and store frames from averaged frame ``first`` on, in order.

        Parameters
        ----------
        first : int
            Where they go.
        frames : array
            ``(n, height, width)`` of any real type, on the device.
        summary : PixelSummary
            Brought up to date, on the device.

        Raises
        ------
        ResultFileError
            The scratch folder has no room.
        """
        if self._array is not None and namespace_of(self._array) is namespace_of(frames):
            fold_frames(frames, self.factor, self._array.reshape(-1, self.n_frames), first, summary)
            return
        folded = empty((frames[0].size, len(frames) // self.factor), np.float32, self.device)
        fold_frames(frames, self.factor, folded, 0, summary)
        block = to_host(folded)
        if self._array is not None:
            self._array.reshape(-1, self.n_frames)[:, first : first + block.shape[1]] = block
            return
        self._lengths.append(block.shape[1])
        image = block.reshape(*frames.shape[1:], -1)
        try:
            for index, tile in enumerate(self.tiles):
                with self._path(index).open("ab") as file:
                    file.write(np.ascontiguousarray(image[tile.rows, tile.columns]).data)
        except OSError as error:
            raise _no_room(4 * self.n_frames * sum(tile.n_pixels for tile in self.tiles), error.strerror) from error

    def take(self, tile: Tile, device: str = "cpu") -> Any:
        """Return a tile's movie, to be overwritten.

        Parameters
        ----------
        tile : Tile
            As :meth:`read` takes it.
        device : str
            ``"cpu"`` or ``"cuda:N"``, the current one.

        Returns
        -------
        array
            ``(height, width, n_frames)`` float32 on that device. The whole image, where it is there already, is handed
            out as it is: later the source is read again.
        """
        here = self._array is not None and namespace_of(self._array) is namespace_on(device)
        if here and tile == self.tiles[0]:
            array, self._array = self._array, None
            return array
        movie = empty((*tile.shape, self.n_frames), np.float32, device)
        self.read(tile, movie)
        return movie

    def read(self, box: Tile, result: Any) -> None:
        """Write a box of the movie into an array, in pieces: no second array of its size is made.

        Parameters
        ----------
        box : Tile
            One of the tiles that is not released, or a tile whose box is a part of that one's.
        result : array
            ``(height, width, n_frames)`` float32 in C order, of NumPy or CuPy.
        """
        index = next((i for i, tile in enumerate(self.tiles) if tile.holds(box)), None)
        assert index is not None, f"rows {box.rows} and columns {box.columns} are in none of the tiles"
        if len(self.tiles) > 1:
            self._read_file(index, box, result)
        elif self._array is not None:
            rows, columns = box.within(self.tiles[index])
            xp, step = namespace_of(result), max(1, BLOCK_BYTES // (4 * box.shape[1] * max(1, self.n_frames)))
            for first in range(0, box.shape[0], step):
                some = slice(rows.start + first, min(rows.start + first + step, rows.stop))
                result[first : first + step] = xp.asarray(self._array[some, columns])
        else:
            self._average(box, result)

    def release(self, tile: Tile) -> None:
        """Forget one of the tiles: it will not be read again."""
        if len(self.tiles) == 1:
            self._array = None
        else:
            self._path(self.tiles.index(tile)).unlink()

    def _average(self, box: Tile, result: Any) -> None:
        """Average the whole source once more."""
        xp = namespace_of(result)
        seen = PixelSummary.empty(box.n_pixels, xp)
        for some, frames in blocks(self._movie, self.block_frames):
            part = xp.asarray(as_native(frames[:, box.rows, box.columns]))
            fold_frames(part, self.factor, result.reshape(-1, self.n_frames), some.start // self.factor, seen)

    def _read_file(self, index: int, box: Tile, result: Any) -> None:
        xp, first, start = namespace_of(result), 0, 0
        rows, columns = box.within(self.tiles[index])
        width = self.tiles[index].shape[1]
        with self._path(index).open("rb") as file:
            for n in self._lengths:
                file.seek(start + 4 * n * width * rows.start)
                part = np.fromfile(file, np.float32, n * width * box.shape[0]).reshape(box.shape[0], width, n)
                result[:, :, first : first + n] = xp.asarray(part[:, columns])
                first += n
                start += 4 * n * self.tiles[index].n_pixels


def _no_room(needed: int, reason: str | None) -> ResultFileError:
    return ResultFileError(
        f"cannot write scratch files of {needed:,} bytes to {tempfile.gettempdir()}: {reason}",
        "set TMPDIR to a folder with more room, or give more memory (--memory) so that none are needed",
    )


def ingest(
    movie: Movie,
    tiles: list[Tile],
    factor: int,
    report: Callable[[float, float], None],
    device: str = "cpu",
    block_bytes: int | None = None,
    on_disk: bool = False,
) -> tuple[WorkingMovie, Summary]:
    """Read the movie once: average it in time, tile by tile, and summarise it.

    Parameters
    ----------
    movie : Movie
        The source.
    tiles : list of Tile
        How to keep it.
    factor : int
        Frames averaged into one.
    report : callable
        Told frames done and total.
    device : str
        Where frames are averaged; a GPU must be the current one.
    block_bytes : int, optional
        Size (float32) of a block of frames that may not be exceeded.
    on_disk : bool
        Whether the whole image, if it is the one tile, is mapped from a scratch file.

    Returns
    -------
    working : WorkingMovie
        Close it (``with``) to remove its scratch files.
    summary : Summary

    Raises
    ------
    InputError
        No pixel varies and is finite in every frame, although none is lost.
    ResultFileError
        The scratch folder has no room.
    """
    working = WorkingMovie(movie, tiles, factor, device, block_bytes, on_disk)
    try:
        return working, _read_once(movie, working, report)
    except BaseException:
        working.close()
        raise


def _read_once(movie: Movie, working: WorkingMovie, report: Callable[[float, float], None]) -> Summary:
    shape = (movie.height, movie.width)
    xp = namespace_on(working.device)
    seen = PixelSummary.empty(shape[0] * shape[1], xp)
    lost_in = [np.zeros(0, np.int64)]
    profiles = np.full(shape[0], np.inf), np.full(shape[1], np.inf)
    for some, frames in sent_to(working.device, blocks(movie, working.block_frames)):
        if frames.dtype.kind == "f":
            lost_in.append(some.start + np.flatnonzero(~to_host(xp.isfinite(frames).any(axis=(1, 2)))))
        for profile, of_frames in zip(profiles, frame_profiles(frames), strict=True):
            np.minimum(profile, to_host(of_frames.min(axis=0)), out=profile)
        working.put(some.start // working.factor, frames, seen)
        report(some.stop, movie.n_frames)
    total, maximum, minimum, broken = (
        to_host(image).reshape(shape) for image in (seen.total, seen.maximum, seen.minimum, seen.broken)
    )
    inside = (maximum > minimum) & ~broken
    for axis, profile in enumerate(profiles):
        lost = registration_border(profile)
        inside[(slice(None),) * axis + (lost,)] = False
    lost_frames = np.concatenate(lost_in)
    if not inside.any() and not len(lost_frames):
        raise InputError(
            f"{movie.source}: no pixel varies and is finite in all {movie.n_frames} frames",
            "drop the frames that are NaN or infinite in part, or fill them with their neighbours",
        )
    return Summary((total / movie.n_frames).astype(np.float32), maximum, minimum, inside, lost_frames)


def registration_border(profile: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which rows (or columns) motion correction left empty in some frame.

    ``profile`` holds the smallest mean brightness that each row had in any frame. Rows far below the others (10
    robust deviations, the original's rule, and less than half the median) are lost where all rows outside them are,
    too: motion correction empties them from the edge inwards, and a dark line elsewhere is no border.
    """
    middle = float(np.median(profile))
    spread = 1.4826 * float(np.median(np.abs(profile - middle)))
    low = (profile < middle - 10 * spread) & (profile < middle / 2)
    return np.logical_and.accumulate(low) | np.logical_and.accumulate(low[::-1])[::-1]
