"""Arrays, and everything that can be indexed like one, as movies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import GpucellsError, InputError
from gpucells.io.axes import Layout, resolve_layout
from gpucells.io.options import ReadOptions
from gpucells.model.movie import Movie

_AS_STORED = (np.uint8, np.uint16, np.int16, np.float32, np.float64)
_WIDENED = {
    "b1": np.uint8,  # True is 1
    "i1": np.int16,
    "f2": np.float32,  # numba has no float16
    "i4": np.float64,  # float32 would be exact only to 2^24
    "u4": np.float64,
    "i8": np.float64,  # exact to 2^53
    "u8": np.float64,
}


class ArrayLike(Protocol):
    """What a stored array must offer: NumPy, h5py, Zarr and Dask arrays do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Stored shape."""
        ...

    @property
    def dtype(self) -> Any:
        """Stored type."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Return a box for a tuple of integers and slices."""
        ...


def readable_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    """Return the native-endian type in which samples of a stored type are handed on.

    uint8, uint16, int16, float32 and float64 stay as they are; float16 becomes float32, int8 int16, bool uint8, and
    integers of 32 and 64 bits float64 (exact to 2^53).

    Parameters
    ----------
    dtype : dtype
        Stored type, of any byte order.
    name : str
        What to call the array in messages.

    Returns
    -------
    numpy.dtype
        One of the five.

    Raises
    ------
    InputError
        Complex numbers, text, records, objects.
    """
    stored = np.dtype(dtype)
    native: np.dtype[Any] = stored.newbyteorder("=") if stored.kind in "biuf" else stored
    if native.type in _AS_STORED:
        return native
    if stored.kind == "f" and stored.itemsize > 8:
        return np.dtype(np.float64)
    wider = _WIDENED.get(f"{stored.kind}{stored.itemsize}")
    if wider is None:
        raise InputError(f"{name} holds {stored}, not numbers that a movie can have", "convert it to uint16 or float32")
    return np.dtype(wider)


class ArrayReader:
    """Boxes of a stored array of any dimension order.

    Parameters
    ----------
    array : ArrayLike
        Where the samples are.
    layout : Layout
        What its dimensions mean.
    name : str
        What to call it in messages.
    close : callable or None
        Releases the file.
    """

    def __init__(self, array: ArrayLike, layout: Layout, name: str, close: Callable[[], None] | None = None) -> None:
        self.shape = layout.shape
        self.dtype = readable_dtype(array.dtype, name)
        self._array = array
        self._layout = layout
        self._name = name
        self._close = close
        self._lock = threading.Lock()

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Return that box as a new ``(frames, rows, columns)`` array.

        Raises
        ------
        InputError
            The file is damaged, or was closed.
        """
        shape = tuple(max(s.stop - s.start, 0) for s in (frames, rows, columns))
        if 0 in shape:
            return np.empty(shape, self.dtype)
        try:
            with self._lock:
                stored = np.asarray(self._array[self._layout.key(frames, rows, columns)])
        except (GpucellsError, MemoryError):
            raise
        except Exception as error:  # each library has its own for a damaged file
            raise InputError(
                f"{self._name}: frames {frames.start} to {frames.stop - 1} cannot be read: {error}",
                "the file is damaged, or it was moved or closed while it was read",
            ) from error
        box = stored.transpose(self._layout.order)
        values = np.ascontiguousarray(box, dtype=self.dtype).reshape(shape)
        # The caller may write into what it gets, never into the user's own array.
        return values.copy() if isinstance(self._array, np.ndarray) and np.may_share_memory(values, stored) else values

    def close(self) -> None:
        """Release the file."""
        if self._close is not None:
            self._close()


def movie_from_array(
    array: ArrayLike,
    options: ReadOptions,
    name: str,
    *,
    default_axes: str = "TYX",
    close: Callable[[], None] | None = None,
    **metadata: Any,
) -> Movie:
    """Make a movie of a stored array.

    Parameters
    ----------
    array : ArrayLike
        Where the samples are, of any dimension order.
    options : ReadOptions
        What the caller says; ``axes``, ``channel`` and ``plane`` are used.
    name : str
        What to call it in messages.
    default_axes : str
        What the format says of the order.
    close : callable or None
        Releases the file.
    **metadata
        Further fields of :class:`~gpucells.model.movie.Movie`.

    Returns
    -------
    Movie
        Nothing of it is read yet, but for three frames of a colour movie.

    Raises
    ------
    InputError
        See :func:`~gpucells.io.axes.resolve_layout` and :func:`readable_dtype`; colour without a chosen channel.
    """
    try:
        layout = resolve_layout(
            tuple(int(n) for n in array.shape),
            options.axes,
            default=default_axes,
            channel=options.channel,
            plane=options.plane,
            name=name,
        )
        readable_dtype(array.dtype, name)
        if layout.channel is None:
            require_grey(array, layout, name)
    except BaseException:
        if close is not None:
            close()
        raise
    metadata.setdefault("source", name)
    return Movie(ArrayReader(array, layout, name, close), **metadata)


def require_grey(array: ArrayLike, layout: Layout, name: str) -> None:
    """Accept three channels that hold the same (first, middle and last frame are compared), refuse others.

    Parameters
    ----------
    array : ArrayLike
        Where the samples are.
    layout : Layout
        Its dimensions, no channel chosen.
    name : str
        What to call it in messages.

    Raises
    ------
    InputError
        The channels differ, or are not red, green and blue.
    """
    n_channels = layout.size("C")
    hint = f"choose one: channel=0 to channel={n_channels - 1}"
    if n_channels not in (3, 4):
        raise InputError(f"{name} has {n_channels} channels", hint)
    n_frames, height, width = layout.shape
    for frame in sorted({0, n_frames // 2, n_frames - 1}):
        pictures = []
        for channel in range(3):
            chosen = Layout(layout.letters, layout.stored_shape, channel, layout.plane)
            key = chosen.key(slice(frame, frame + 1), slice(0, height), slice(0, width))
            pictures.append(np.asarray(array[key]))
        if not all(np.array_equal(pictures[0], other, equal_nan=other.dtype.kind == "f") for other in pictures[1:]):
            raise InputError(f"{name} is in colour: its channels differ in frame {frame}", hint)


def open_array(array: Any, options: ReadOptions) -> Movie:
    """Make a movie of an array in memory, or of an open HDF5 dataset, Zarr or Dask array.

    Raises
    ------
    InputError
        See :func:`movie_from_array`; an array on a GPU.
    """
    if hasattr(array, "__cuda_array_interface__"):
        raise InputError("a movie cannot be an array on a GPU", "pass it as a NumPy array: cupy.asnumpy(movie)")
    return movie_from_array(array, options, "array")
