"""What CaImAn takes as a movie, as gpucells' movies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError
from gpucells.io.open_movie import open_movie
from gpucells.model.movie import Movie


def open_files(fnames: Any, var_name_hdf5: str = "mov", **facts: Any) -> Movie:
    """Open movie files, joined in time in the order given.

    Parameters
    ----------
    fnames : path or list of paths
        Anything that gpucells opens, CaImAn's ``.mmap`` too.
    var_name_hdf5 : str
        Dataset of HDF5 files that have several; of others, and where it is not there, the movie is found.
    **facts
        ``frame_rate_hz`` and ``pixel_size_um``.
    """
    names: list[Any] = list(fnames) if isinstance(fnames, list | tuple) else [fnames]
    source = names[0] if len(names) == 1 else names
    if Path(str(names[0])).suffix.lower() in (".h5", ".hdf5"):
        try:
            return open_movie(source, dataset=var_name_hdf5, sort_files=False, **facts)
        except InputError:
            pass
    return open_movie(source, sort_files=False, **facts)


def as_movie(images: Any, dims: Sequence[int] | None = None) -> Any:
    """Return images as ``(n_frames, height, width)``.

    Parameters
    ----------
    images : array or Movie
        ``(n_frames, height, width)``, in memory or a memory map; or ``(n_pixels, n_frames)`` with pixels in Fortran
        order, as ``load_memmap`` returns them.
    dims : sequence of int, optional
        ``(height, width)``, needed for the latter.

    Raises
    ------
    InputError
        A volume, or another shape.
    """
    if isinstance(images, Movie):
        return images
    if not hasattr(images, "shape"):
        images = np.asarray(images)
    if len(images.shape) == 2 and dims is not None and images.shape[0] == int(np.prod(dims)):
        return np.asarray(images).T.reshape((-1, *dims), order="F")
    if len(images.shape) != 3:
        raise InputError(
            f"images of shape {tuple(images.shape)}", "give (frames, height, width); volumes plane by plane"
        )
    return images


def frame_blocks(n_frames: int, n_pixels: int, n_bytes: int = 64 << 20) -> list[slice]:
    """Cut frames into slices.

    Parameters
    ----------
    n_frames, n_pixels : int
        Of the movie.
    n_bytes : int
        Of a slice in single precision, about.
    """
    step = max(1, n_bytes // (4 * max(1, n_pixels)))
    return [slice(first, min(first + step, n_frames)) for first in range(0, n_frames, step)]


def flat_frames(images: Any, some: slice) -> NDArray[np.float32]:
    """Return frames of a movie as ``(n_pixels, n)`` float32, pixels in Fortran order."""
    frames = images.read(some) if isinstance(images, Movie) else images[some]
    part = np.asarray(frames, np.float32)
    return np.ascontiguousarray(part.transpose(2, 1, 0).reshape(-1, len(part)))
