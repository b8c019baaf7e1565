"""Reading a movie in blocks."""

from __future__ import annotations

import numpy as np
import pytest

import gpucells.tiles.frames
from gpucells.model.movie import Movie
from gpucells.tiles.frames import blocks, blocks_within, frames_per_block, hold_small, probe


class Held:
    """A reader that hands out views of what it holds, as a careless one might."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, frames: slice, rows: slice, columns: slice) -> np.ndarray:
        return self.array[frames, rows, columns]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("length", [1, 7, 43, 100])
def test_blocks_are_the_movie_in_order(samples, as_movie, length) -> None:
    read = list(blocks(as_movie(samples), length))
    assert [some.start for some, _ in read] == list(range(0, 43, length))
    assert {frames.dtype for _, frames in read} == {samples.dtype}  # not converted: solvers read the file's own
    assert all(len(frames) == some.stop - some.start for some, frames in read)
    np.testing.assert_array_equal(np.concatenate([frames for _, frames in read]), samples)


def test_frames_per_block_keeps_to_the_budget_and_the_multiple(samples, as_movie) -> None:
    movie = as_movie(samples)
    frame = 4 * 24 * 30
    assert frames_per_block(movie, 1, 10 * frame) == 10
    assert frames_per_block(movie, 4, 10 * frame) == 8
    assert frames_per_block(movie, 16, 10 * frame) == 16  # a block is never less than one multiple
    assert frames_per_block(movie, 1, 1) == 1
    assert frames_per_block(movie, 16, 10 * frame, most_bytes=12 * frame) == 12  # but what may not be exceeded is not
    assert frames_per_block(movie, 16, 40 * frame, most_bytes=100 * frame) == 32
    assert frames_per_block(movie, 16, 10 * frame, most_bytes=1) == 1


@pytest.mark.parametrize("margin", [0, 3, 50])
def test_blocks_within_bring_their_neighbours(samples, as_movie, margin) -> None:
    own = []
    for some, read, frames in blocks_within(as_movie(samples), 10, margin):
        assert (read.start, read.stop) == (max(0, some.start - margin), min(43, some.stop + margin))
        np.testing.assert_array_equal(frames, samples[read])
        own.append(some)
    assert [some.start for some in own] == [0, 10, 20, 30, 40]
    assert own[-1].stop == 43


def test_a_probe_is_consecutive_frames_evenly_spread(samples, as_movie, monkeypatch) -> None:
    monkeypatch.setattr(gpucells.tiles.frames, "SHORTEST_BLOCK", 4)
    parts = probe(as_movie(samples), 12)
    assert [len(part) for part in parts] == [4, 4, 4]
    for part, start in zip(parts, (0, 19, 39), strict=True):
        np.testing.assert_array_equal(part, samples[start : start + 4])
    assert [len(part) for part in probe(as_movie(samples), 11)] == [5, 5]  # no block is too short to see a transient
    (middle,) = probe(as_movie(samples), 7)
    np.testing.assert_array_equal(middle, samples[18:25])
    (whole,) = probe(as_movie(samples), 43)
    np.testing.assert_array_equal(whole, samples)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_a_probe_is_the_movies_own_samples(samples, dtype) -> None:
    held = samples.astype(dtype)
    held.flags.writeable = False
    (whole,) = probe(Movie(Held(held), "held"), 100)
    assert whole.dtype == dtype
    assert np.shares_memory(whole, held)


def test_a_small_movie_is_read_once(samples, as_movie) -> None:
    movie = as_movie(samples).with_metadata(scale=2.0, offset=5.0)
    near = hold_small(movie, 16 * 4 * samples.size)
    assert near.shape == movie.shape
    assert near.dtype == np.float32
    np.testing.assert_array_equal(near.read(slice(3, 9)), 2 * samples[3:9].astype(np.float32) + 5)
    movie.close()
    np.testing.assert_array_equal(near.read(), 2 * samples.astype(np.float32) + 5)
    near.close()


def test_a_movie_that_is_not_small_stays_where_it_is(samples, as_movie) -> None:
    movie = as_movie(samples)
    assert hold_small(movie, 16 * samples.nbytes - 1) is movie
