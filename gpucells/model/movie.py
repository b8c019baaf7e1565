"""A movie that is read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class FrameReader(Protocol):
    """What a file format supplies: a shape, a type, and rectangles of frames.

    Attributes
    ----------
    shape : tuple of int
        ``(n_frames, height, width)``.
    dtype : numpy.dtype
        Native-endian type of what :meth:`read` returns.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def read(self, frames: slice, rows: slice, columns: slice) -> NDArray[Any]:
        """Return exactly that box, C order, native byte order; slices have step 1 and lie inside ``shape``."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


@dataclass(frozen=True)
class Movie:
    """A lazy movie of ``(n_frames, height, width)``; nothing is read but what is asked for.

    Parameters
    ----------
    reader : FrameReader
        Where the samples come from.
    source : str
        What a person would call it: the path(s), or ``"array"``.
    frame_rate_hz, pixel_size_um : float or None
        From the file's metadata or the caller; None where unknown.
    scale, offset : float
        A sample's value is ``raw * scale + offset``.
    files : tuple of str
        The files it is read from, for provenance.
    """

    reader: FrameReader
    source: str
    frame_rate_hz: float | None = None
    pixel_size_um: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    files: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(n_frames, height, width)``."""
        return self.reader.shape

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.reader.shape[0]

    @property
    def height(self) -> int:
        """Rows of a frame (px)."""
        return self.reader.shape[1]

    @property
    def width(self) -> int:
        """Columns of a frame (px)."""
        return self.reader.shape[2]

    @property
    def is_scaled(self) -> bool:
        """Whether samples differ from the stored numbers."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that :meth:`read` returns: the file's own, or float32 where a scale or offset applies."""
        return np.dtype(np.float32) if self.is_scaled else self.reader.dtype

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored samples, uncompressed."""
        return int(np.prod(self.shape)) * self.reader.dtype.itemsize

    def read(
        self, frames: slice = slice(None), rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[Any]:
        """Read a box of the movie.

        Parameters
        ----------
        frames, rows, columns : slice
            Step 1; bounds as in NumPy.

        Returns
        -------
        numpy.ndarray
            ``(frames, rows, columns)`` of :attr:`dtype`.
        """
        box = [slice(*s.indices(n)[:2]) for s, n in zip((frames, rows, columns), self.shape, strict=True)]
        raw = self.reader.read(*box)
        if not self.is_scaled:
            return raw
        values = raw.astype(np.float32)
        values *= np.float32(self.scale)
        values += np.float32(self.offset)
        return values

    def with_metadata(self, **changes: Any) -> Movie:
        """Return the same movie with other metadata fields."""
        return replace(self, **changes)

    def close(self) -> None:
        """Release the file."""
        self.reader.close()

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
