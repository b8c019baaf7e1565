"""Arrays as movies: types, byte order, colour, and the user's own memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import gpucells
from gpucells.errors import InputError


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("u1", "u1"), ("u2", "u2"), (">u2", "u2"), ("i2", "i2"), (">i2", "i2"), ("f2", "f4"), (">f2", "f4"),
        ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), (">f8", "f8"),
        ("?", "u1"), ("i1", "i2"), ("i4", "f8"), (">u4", "f8"), ("i8", "f8"), ("u8", "f8"), ("g", "f8"),
    ],
)  # fmt: skip
def test_types(stored: str, read: str, require_equal: Callable[..., None]) -> None:
    """Each stored type is read as documented, in native byte order, with its values."""
    values = (np.arange(4 * 5 * 6) % 100).reshape(4, 5, 6).astype(stored)
    movie = gpucells.open_movie(values)
    assert movie.dtype == np.dtype(read)
    require_equal(movie, values.astype(read))


@pytest.mark.parametrize("stored", ["c8", "U3", "O", "M8[s]"])
def test_types_that_are_no_picture_are_refused(stored: str) -> None:
    """Complex numbers, text, objects and dates have no grey value."""
    with pytest.raises(InputError, match="not numbers"):
        gpucells.open_movie(np.zeros((4, 5, 6), stored))


def test_nan_infinity_constant_pixels_and_dead_borders_pass_through() -> None:
    """What to do with them is for preprocessing to say; reading changes nothing."""
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    values[1, 2, 3], values[2, 0, 0], values[3, 1, 1] = np.nan, np.inf, -np.inf
    values[:, :, 0] = 0.0
    values[:, 4, 4] = 7.0
    np.testing.assert_array_equal(gpucells.open_movie(values).read(), values)


def test_writing_into_a_box_leaves_the_users_array(frames: NDArray[Any]) -> None:
    """A box is the reader's own, whether or not it could be a view."""
    before = frames.copy()
    movie = gpucells.open_movie(frames)
    movie.read()[:] = 0
    movie.read(slice(0, 2))[:] = 0
    np.testing.assert_array_equal(frames, before)


def test_axes_of_an_array(frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """The order is undone box by box."""
    require_equal(gpucells.open_movie(frames.transpose(2, 1, 0), axes="XYT"), frames)
    require_equal(gpucells.open_movie(frames.transpose(1, 2, 0), axes="YXT"), frames)
    require_equal(gpucells.open_movie(frames[5], axes="YX"), frames[5:6])


def test_equal_channels_are_grey_and_others_need_a_choice(
    frames: NDArray[Any], require_equal: Callable[..., None]
) -> None:
    """Three times the same is grey; true colour is an error until a channel is chosen."""
    grey = np.stack([frames] * 3, axis=-1)
    require_equal(gpucells.open_movie(grey), frames)
    colour = grey.copy()
    colour[6, 3, 4, 2] += 1
    with pytest.raises(InputError, match="in colour") as caught:
        gpucells.open_movie(colour)
    assert "channel=0" in caught.value.hint
    require_equal(gpucells.open_movie(colour, channel=2), colour[..., 2])
    with pytest.raises(InputError, match="2 channels"):
        gpucells.open_movie(grey[..., :2], axes="TYXC")


def test_open_datasets_are_arrays(tmp_path: Path, frames: NDArray[Any], require_equal: Callable[..., None]) -> None:
    """An h5py dataset that the caller opened is read, and stays the caller's to close."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        dataset = file.create_dataset("x", data=frames)
        movie = gpucells.open_movie(dataset, frame_rate_hz=5.0)
        require_equal(movie, frames)
        movie.close()
        assert dataset[0, 0, 1] == frames[0, 0, 1]
    assert (movie.source, movie.files, movie.frame_rate_hz) == ("array", (), 5.0)
    with pytest.raises(InputError, match="cannot be read"):
        movie.read()


def test_things_that_are_no_array_are_refused(frames: NDArray[Any]) -> None:
    """The message names the type."""
    for thing in (3, None, [frames, frames], {"movie": frames}):
        with pytest.raises(InputError, match=f"from {type(thing).__name__}"):
            gpucells.open_movie(thing)
    with pytest.raises(InputError, match="2 dimensions"):
        gpucells.open_movie(frames[0])
    with pytest.raises(InputError, match="zero frames"):
        gpucells.open_movie(frames[:0])
