"""One pass over a movie: what is kept of it, what is said of it, and that nothing stays behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpucells.device.arrays import to_host
from gpucells.errors import InputError, ResultFileError
from gpucells.tiles import frames as frames_module
from gpucells.tiles import working_movie as working_module
from gpucells.tiles.grid import Tile, cut, halves
from gpucells.tiles.working_movie import ingest, registration_border

SHAPE = (24, 30)


def ignore(done: float, total: float) -> None:
    """Report to nobody."""


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten frames a block, so that a movie of forty-three has five."""
    monkeypatch.setattr(frames_module.frames_per_block, "__defaults__", (1, 10 * 4 * SHAPE[0] * SHAPE[1], None))


def kept(movie: Any, factor: int, n_rows: int = 1, n_columns: int = 1, halo: int = 4) -> tuple[list[Any], Any]:
    tiles = cut((movie.height, movie.width), n_rows, n_columns, halo)
    working, summary = ingest(movie, tiles, factor, ignore)
    with working:
        return [working.take(tile) for tile in working.tiles], summary


@pytest.mark.parametrize("n_columns", [1, 2])
def test_a_tile_can_be_read_again(samples, as_movie, monkeypatch, n_columns) -> None:
    small_blocks(monkeypatch)
    ((whole,), _) = kept(as_movie(samples), 2)
    working, _ = ingest(as_movie(samples), cut(SHAPE, 1, n_columns, 4), 2, ignore)
    with working:
        for tile in working.tiles:
            array = working.take(tile)
            np.testing.assert_array_equal(array, whole[tile.rows, tile.columns])
            array.fill(7)
            working.read(tile, array)
            np.testing.assert_array_equal(array, whole[tile.rows, tile.columns])


@pytest.mark.parametrize("n_columns", [1, 2], ids=["in memory", "in files"])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_part_of_a_tile_can_be_read(samples, as_movie, monkeypatch, request, n_columns, on_device) -> None:
    xp = request.getfixturevalue("emulated_cupy") if on_device else np
    small_blocks(monkeypatch)
    monkeypatch.setattr(working_module, "BLOCK_BYTES", 4 * 30 * 21 * 5)  # five rows of the whole image
    ((whole,), _) = kept(as_movie(samples), 2)
    working, _ = ingest(as_movie(samples), cut(SHAPE, 1, n_columns, 4), 2, ignore)

    def check(box: Tile) -> None:
        result = xp.full((*box.shape, working.n_frames), 7, np.float32)
        working.read(box, result)
        np.testing.assert_array_equal(to_host(result), whole[box.rows, box.columns])

    with working:
        for tile in working.tiles:
            upper, lower = halves(tile, SHAPE, 4) or ()
            for box in (tile, upper, lower, *(halves(lower, SHAPE, 4) or ())):
                check(box)
        if n_columns == 2:
            with pytest.raises(AssertionError, match="in none of the tiles"):
                check(cut(SHAPE, 1, 1, 4)[0])
        working.release(working.tiles[0])
        if n_columns == 1:  # then the source is averaged once more
            check(lower)
        else:
            check(working.tiles[1])
            with pytest.raises(FileNotFoundError):
                check(working.tiles[0])


@pytest.mark.parametrize("factor", [1, 3, 4, 43])
def test_frames_are_averaged_and_the_remainder_left_out(samples, as_movie, monkeypatch, factor) -> None:
    small_blocks(monkeypatch)
    ((array,), _) = kept(as_movie(samples), factor)
    n = 43 // factor
    expected = samples[: n * factor].reshape(n, factor, *SHAPE).mean(axis=1).transpose(1, 2, 0)
    assert array.shape == (*SHAPE, n)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float32, np.float64, ">u2"])
def test_summary_images_are_exact(samples, as_movie, monkeypatch, dtype) -> None:
    small_blocks(monkeypatch)
    values = (samples % 250).astype(dtype)
    _, summary = kept(as_movie(values), 4)
    exact = values.astype(np.float64)
    np.testing.assert_array_equal(summary.maximum, exact.max(axis=0))
    np.testing.assert_array_equal(summary.minimum, exact.min(axis=0))
    np.testing.assert_allclose(summary.mean, exact.mean(axis=0), rtol=1e-7)  # over all frames, the remainder too
    assert summary.inside.all()
    assert {image.dtype for image in (summary.mean, summary.maximum, summary.minimum)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("factor", [1, 3])
def test_memory_and_scratch_files_hold_the_same_numbers(samples, as_movie, monkeypatch, scratch, factor) -> None:
    small_blocks(monkeypatch)
    ((whole,), one) = kept(as_movie(samples), factor)
    tiles = cut(SHAPE, 2, 3, 5)
    parts, many = kept(as_movie(samples), factor, 2, 3, 5)
    for tile, part in zip(tiles, parts, strict=True):
        np.testing.assert_array_equal(part, whole[tile.rows, tile.columns])
    for name in ("mean", "maximum", "minimum", "inside"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_once_is_left_out(samples, as_movie, monkeypatch, value) -> None:
    small_blocks(monkeypatch)
    values = samples.astype(np.float32)
    values[17, 3, 4] = value
    values[40:, 20, 20] = value
    before = values.copy()
    (array,), summary = kept(as_movie(values), 1)
    expected = np.ones(SHAPE, bool)
    expected[3, 4] = expected[20, 20] = False
    np.testing.assert_array_equal(summary.inside, expected)
    assert array[3, 4, 17] == 0
    assert np.isfinite(array).all()
    assert np.isfinite(summary.mean).all()
    np.testing.assert_array_equal(values, before)  # the caller's array is his


def test_constant_pixels_are_left_out(samples, as_movie) -> None:
    samples[:, 5, 6] = 777
    samples[:, 9, :4] = 0
    _, summary = kept(as_movie(samples), 2)
    expected = np.ones(SHAPE, bool)
    expected[5, 6] = expected[9, :4] = False
    np.testing.assert_array_equal(summary.inside, expected)


def test_borders_that_motion_correction_left_empty_are_left_out(samples, as_movie, monkeypatch) -> None:
    small_blocks(monkeypatch)
    samples[12, :3] = 0
    samples[30, :, 28:] = 0
    _, summary = kept(as_movie(samples), 2)
    expected = np.ones(SHAPE, bool)
    expected[:3] = expected[:, 28:] = False
    np.testing.assert_array_equal(summary.inside, expected)


def test_registration_border_is_what_is_dark_from_the_edge_inwards() -> None:
    profile = np.full(20, 100.0) + np.arange(20) % 3
    profile[:2], profile[18:], profile[9] = 1, 30, 2
    lost = registration_border(profile)
    np.testing.assert_array_equal(np.flatnonzero(lost), [0, 1, 18, 19])  # row 9 is dark, but no border
    assert not registration_border(100 * np.exp(-(((np.arange(60) - 30) / 20) ** 2))).any()  # vignetting is none
    assert not registration_border(np.zeros(5)).any()
    assert not registration_border(np.full(1, 3.0)).any()


@pytest.mark.parametrize("n_tiles", [1, 2])
def test_nothing_that_varies_and_is_finite_is_an_error(samples, as_movie, scratch, n_tiles) -> None:
    values = samples.astype(np.float32)
    values[11, :12] = values[12, 12:] = np.nan  # each pixel once, and no frame wholly
    with pytest.raises(InputError, match="finite in all 43 frames"):
        kept(as_movie(values), 1, n_tiles)
    with pytest.raises(InputError, match="no pixel varies"):
        kept(as_movie(np.full((30, *SHAPE), 7, np.uint8)), 1, n_tiles)
    assert not list(scratch.iterdir())


def test_lost_frames_are_told(samples, as_movie, monkeypatch) -> None:
    small_blocks(monkeypatch)
    values = samples.astype(np.float32)
    values[[0, 11, 12, 42]] = np.nan
    values[12, 3:] = np.inf
    values[20, :23] = np.nan  # not wholly
    _, summary = kept(as_movie(values), 2)
    np.testing.assert_array_equal(summary.lost, [0, 11, 12, 42])
    assert not summary.inside.any()
    assert len(kept(as_movie(samples), 2)[1].lost) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_scratch_files_are_gone_after_an_exception(samples, as_movie, monkeypatch, scratch, error) -> None:
    small_blocks(monkeypatch)
    seen = []

    def stop(done: float, total: float) -> None:
        seen.append((done, total, len(list(scratch.rglob("*.f32")))))
        if done == 20:
            raise error

    with pytest.raises(error):
        ingest(as_movie(samples), cut(SHAPE, 1, 2, 4), 2, stop)
    assert seen == [(10, 43, 2), (20, 43, 2)]
    assert not list(scratch.iterdir())
    working, _ = ingest(as_movie(samples), cut(SHAPE, 1, 2, 4), 2, ignore)
    working.take(working.tiles[0])
    working.release(working.tiles[0])
    assert len(list(scratch.rglob("*.f32"))) == 1  # a tile that was taken needs its file no more
    with pytest.raises(error), working:
        raise error
    assert not list(scratch.iterdir())


def test_a_full_disk_is_said(samples, as_movie, scratch) -> None:
    def vanish(done: float, total: float) -> None:
        for path in scratch.rglob("*"):
            if path.is_dir():
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()

    movie = as_movie(np.repeat(samples, 60, axis=0).repeat(10, axis=1).repeat(10, axis=2)[:300])
    with pytest.raises(ResultFileError, match="cannot write scratch files of") as caught:
        ingest(movie, cut((240, 300), 1, 2, 4), 1, vanish)
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_device_averages_as_the_host(samples, as_movie, cupy_in_any_order, n_columns, dtype) -> None:
    movie = samples.astype(dtype)
    if dtype == "float32":
        movie[3, 2, 1], movie[5] = np.nan, np.inf
    tiles = cut(SHAPE, 1, n_columns, 4)
    read = {}
    for device in ("cpu", "cuda:0"):
        working, summary = ingest(as_movie(movie), tiles, 2, ignore, device, block_bytes=4 * 8 * 24 * 30)
        assert working.block_frames == 8
        with working:
            read[device] = [to_host(working.take(tile, device)) for tile in tiles], summary
    (found, of_device), (wanted, of_host) = read["cuda:0"], read["cpu"]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    for name, image in vars(of_host).items():
        np.testing.assert_array_equal(getattr(of_device, name), image)
