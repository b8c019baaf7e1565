"""What a caller may say about a file that the file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import DTypeLike


@dataclass(frozen=True)
class ReadOptions:
    """How to read a movie file; :func:`gpucells.open_movie` documents each.

    Parameters
    ----------
    dataset : str or None
        Name of the dataset (HDF5, NWB, Zarr) or number of the series (TIFF).
    axes : str or None
        One letter a stored dimension, of ``T Y X C Z``.
    shape : tuple of int or None
        Stored shape of a raw file; -1 once, for what the file size says.
    dtype : dtype or None
        Stored type of a raw file.
    channel, plane : int or None
        Index on ``C`` and on ``Z``.
    allow_truncated : bool
        Read the whole frames of a file that ends early, in place of an error.
    """

    dataset: str | None = None
    axes: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: DTypeLike | None = None
    channel: int | None = None
    plane: int | None = None
    allow_truncated: bool = False
