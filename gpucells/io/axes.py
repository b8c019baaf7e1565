"""Which stored dimension is time, which rows, which columns.

A stored order is written as one letter a dimension, first the slowest, as NumPy, h5py and Zarr show the shape:
``T`` frames, ``Y`` rows (height), ``X`` columns (width), ``C`` channels, ``Z`` planes. ``"TYX"`` is the order of this
package. An array that MATLAB wrote as ``(height, width, frames)`` comes out of HDF5 with its dimensions reversed:
``"TXY"``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpucells.errors import InputError

_LETTERS = "TYXCZ"
_DROPPED = "."  # a dimension of length one that carries no meaning
_HINT = "give one letter a stored dimension, of T (frames) Y (rows) X (columns) C (channels) Z (planes): axes='TYX'"


@dataclass(frozen=True)
class Layout:
    """The meaning of each stored dimension.

    Parameters
    ----------
    letters : str
        One of ``T Y X C Z .`` a stored dimension.
    stored_shape : tuple of int
        Shape as stored.
    channel, plane : int or None
        Index on ``C`` and ``Z``; None where it is not chosen yet.
    """

    letters: str
    stored_shape: tuple[int, ...]
    channel: int | None
    plane: int | None

    def size(self, letter: str) -> int:
        """Length of a dimension; 1 where the array lacks it."""
        return self.stored_shape[self.letters.index(letter)] if letter in self.letters else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(n_frames, height, width)``."""
        return self.size("T"), self.size("Y"), self.size("X")

    @property
    def order(self) -> tuple[int, ...]:
        """Transposition that puts what is left after indexing into ``T Y X`` order (``Y X`` where ``T`` is lacking)."""
        left = [letter for letter in self.letters if letter in "TYX"]
        return tuple(left.index(letter) for letter in "TYX" if letter in left)

    def key(self, frames: slice, rows: slice, columns: slice) -> tuple[slice | int, ...]:
        """Index of a box, one entry a stored dimension."""
        entries: dict[str, slice | int] = {
            "T": frames,
            "Y": rows,
            "X": columns,
            "C": self.channel or 0,
            "Z": self.plane or 0,
            _DROPPED: 0,
        }
        return tuple(entries[letter] for letter in self.letters)


def resolve_layout(
    shape: tuple[int, ...],
    axes: str | None,
    *,
    default: str = "TYX",
    channel: int | None = None,
    plane: int | None = None,
    name: str = "array",
) -> Layout:
    """Say what each dimension of a stored shape means.

    Dimensions of length one beyond those named are dropped. Without ``axes``, four dimensions of which the last has
    length 3 or 4 are taken as ``default`` followed by ``C``.

    Parameters
    ----------
    shape : tuple of int
        Stored shape.
    axes : str or None
        What the caller says.
    default : str
        What the format says.
    channel, plane : int or None
        What the caller chose.
    name : str
        What to call the array in messages.

    Returns
    -------
    Layout
        ``channel`` is None where there are several and none was chosen.

    Raises
    ------
    InputError
        Two or four dimensions that nothing explains, a wrong ``axes``, zero frames, an index out of range, several
        planes and none chosen.
    """
    letters = _fit(_check_letters(axes), shape, name) if axes is not None else _guess(shape, default, name)
    if 0 in shape:
        what = "zero frames" if shape[letters.find("T")] == 0 and "T" in letters else "no pixels"
        raise InputError(f"{name} has {what}: its shape is {shape}")
    layout = Layout(letters, shape, None, None)
    return Layout(
        letters,
        shape,
        channel=_index("channel", channel, layout.size("C"), name),
        plane=_plane(plane, layout.size("Z"), name),
    )


def _check_letters(axes: str) -> str:
    letters = axes.upper().replace("S", "C")
    doubled = len(set(letters)) < len(letters)
    if doubled or set(letters) - set(_LETTERS) or not {"Y", "X"} <= set(letters):
        raise InputError(f"axes={axes!r} is not an order of dimensions", _HINT)
    return letters


def _fit(letters: str, shape: tuple[int, ...], name: str) -> str:
    if len(letters) == len(shape):
        return letters
    return _drop_singles(letters, shape) or _refuse(
        f"axes={letters!r} names {len(letters)} dimensions, {name} has {len(shape)}: its shape is {shape}"
    )


def _guess(shape: tuple[int, ...], default: str, name: str) -> str:
    if len(shape) == len(default):
        return default
    if len(shape) < 3:
        raise InputError(
            f"{name} has {len(shape)} dimensions, a movie has three: its shape is {shape}",
            "a single picture is read with axes='YX'; reshape a matrix of pixels by frames to (frames, height, width)",
        )
    if len(shape) == len(default) + 1 and shape[-1] in (3, 4):
        return default + "C"
    return _drop_singles(default, shape) or _refuse(
        f"{name} has {len(shape)} dimensions and nothing says what they mean: its shape is {shape}",
        "name them, and choose one of several: axes='TCYX', channel=0 or axes='TZYX', plane=0",
    )


def _drop_singles(letters: str, shape: tuple[int, ...]) -> str:
    """Name the dimensions of a shape after dropping ones of length one, the last first; empty where that fails."""
    surplus = len(shape) - len(letters)
    singles = [i for i, n in enumerate(shape) if n == 1][::-1][: max(surplus, 0)]
    if surplus < 0 or len(singles) < surplus:
        return ""
    names = iter(letters)
    return "".join(_DROPPED if i in singles else next(names) for i in range(len(shape)))


def _refuse(message: str, hint: str = _HINT) -> str:
    raise InputError(message, hint)


def _index(word: str, chosen: int | None, n: int, name: str) -> int | None:
    if chosen is None:
        return 0 if n == 1 else None
    if not 0 <= chosen < n:
        raise InputError(f"{word}={chosen} was asked for, but {name} has {n} {word}{'s' * (n != 1)} (counted from 0)")
    return chosen


def _plane(chosen: int | None, n: int, name: str) -> int:
    index = _index("plane", chosen, n, name)
    if index is None:
        raise InputError(f"{name} has {n} planes", f"choose one: plane=0 to plane={n - 1}")
    return index
