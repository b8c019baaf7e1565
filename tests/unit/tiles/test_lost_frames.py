"""Movies without their lost frames: which are kept, how they are read, and where the traces go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gpucells.device.stage_clock import StageClock
from gpucells.errors import InputError
from gpucells.model.cells import Cells
from gpucells.model.movie import Movie
from gpucells.progress import silent
from gpucells.settings import RunSettings
from gpucells.tiles import lost_frames as module
from gpucells.tiles.grid import cut
from gpucells.tiles.lost_frames import Reading, kept_frames, pick_frames, read_movie


def test_picked_frames_are_read_as_if_the_others_were_not_there(samples, as_movie) -> None:
    kept = np.setdiff1d(np.arange(43), [0, 1, 10, 20, 21, 22, 42])
    movie = pick_frames(as_movie(samples), kept)
    assert movie.shape == (36, 24, 30)
    assert movie.dtype == samples.dtype
    np.testing.assert_array_equal(movie.read(), samples[kept])
    for start in range(36):
        for stop in (start, start + 1, start + 5, 36):
            box = movie.read(slice(start, stop), slice(3, 7), slice(2, 9))
            np.testing.assert_array_equal(box, samples[kept[start:stop], 3:7, 2:9])


def test_a_scale_is_applied_once(samples, as_movie) -> None:
    movie = as_movie(samples).with_metadata(scale=2.0, offset=3.0)
    np.testing.assert_array_equal(pick_frames(movie, np.array([4, 9])).read(), 2.0 * samples[[4, 9]] + 3)


def test_gaps_are_not_read(samples, as_movie) -> None:
    movie = as_movie(samples)
    asked = []

    class Told:
        shape, dtype = movie.reader.shape, movie.reader.dtype

        def read(self, frames, rows, columns):
            asked.append((frames.start, frames.stop))
            return movie.reader.read(frames, rows, columns)

        def close(self) -> None:
            """Nothing to do."""

    pick_frames(movie.with_metadata(reader=Told()), np.array([2, 3, 4, 30, 41, 42])).read()
    assert asked == [(2, 5), (30, 31), (41, 43)]


def test_half_may_be_lost_and_no_more(samples, as_movie) -> None:
    movie = as_movie(samples)
    np.testing.assert_array_equal(kept_frames(movie, np.arange(21)), np.arange(21, 43))
    np.testing.assert_array_equal(kept_frames(movie, np.arange(0)), np.arange(43))
    with pytest.raises(InputError, match="22 of 43 frames are wholly NaN"):
        kept_frames(movie, np.arange(22))


def reading(movie: Movie, lost: list[int]) -> Reading:
    plan: Any = SimpleNamespace(warnings=("few spots",))
    nothing: Any = None
    return Reading(movie, movie, np.array(lost, np.int64), plan, nothing, nothing)


def test_none_one_and_many_are_said(samples, as_movie) -> None:
    movie = as_movie(samples)
    assert reading(movie, []).warnings == ("few spots",)
    assert reading(movie, [3]).warnings[1].startswith("1 of 43 frame is wholly")
    assert reading(movie, [3, 9]).warnings[1].startswith("2 of 43 frames are wholly")


def test_traces_go_back_to_their_frames(samples, as_movie) -> None:
    cells = Cells(
        footprints=sparse.csr_array(np.ones((2, 6), np.float32)), traces=np.arange(6, dtype=np.float32).reshape(2, 3),
        image_shape=(2, 3), f0=np.ones(2, np.float32), accepted=np.ones(2, bool), rejection=("", ""),
    )  # fmt: skip
    wide = reading(as_movie(samples[:6]), [0, 3, 5]).with_gaps(cells)
    assert wide.traces.dtype == np.float32
    np.testing.assert_array_equal(wide.traces[1], [np.nan, 3, 4, np.nan, 5, np.nan])
    assert reading(as_movie(samples[:3]), []).with_gaps(cells) is cells


def test_nothing_is_left_behind_where_too_many_are_lost(samples, as_movie, scratch, monkeypatch) -> None:
    movie = samples.astype(np.float32)
    movie[:30] = np.nan
    halves = cut((24, 30), 1, 2, 4)
    monkeypatch.setattr(
        module,
        "make_plan",
        lambda *_: SimpleNamespace(
            tiles=halves, factor=1, devices=("cpu",), block_bytes=None, warnings=(), on_disk=False
        ),
    )
    with pytest.raises(InputError, match="30 of 43"):
        read_movie(as_movie(movie), "extract", RunSettings.from_values({}), {}, StageClock(silent, "cpu"))
    assert not list(scratch.iterdir())
