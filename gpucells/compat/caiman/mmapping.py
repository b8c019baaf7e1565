"""CaImAn's memory maps: the movie as float32 pixels x frames, its shape in the name of the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gpucells.compat.caiman.movies import as_movie, flat_frames, frame_blocks, open_files
from gpucells.compat.caiman.paths import decode_mmap_filename_dict, memmap_frames_filename
from gpucells.errors import InputError, MissingFileError, SettingsError
from gpucells.io.atomic_file import written_atomically
from gpucells.model.movie import Movie


def load_memmap(filename: str, mode: Any = "r") -> tuple[Any, tuple[int, ...], int]:
    """Open a memory map.

    Parameters
    ----------
    filename : str
        Named by CaImAn's convention, ``…_d1_H_d2_W_d3_1_order_C_frames_T.mmap``; or ``.npy``.
    mode : str
        ``r`` or ``r+``.

    Returns
    -------
    tuple
        ``Yr`` ``(n_pixels, n_frames)`` with pixels in Fortran order, ``(height, width)``, and the number of frames.

    Raises
    ------
    InputError
        Another ending, a name that does not say the shape, or a file of another size.
    """
    path = Path(filename)
    if path.suffix not in (".mmap", ".npy"):
        raise InputError(f"unknown ending of {filename}", "a memory map ends in .mmap or .npy")
    said = decode_mmap_filename_dict(filename)
    missing = [name for name in ("d1", "d2", "d3", "order", "T") if name not in said]
    if missing:
        raise InputError(
            f"the name {path.name} does not say {', '.join(missing)}", "it ends in _d1_H_d2_W_d3_1_order_C_frames_T"
        )
    if not path.is_file():
        raise MissingFileError(f"there is no file {filename}")
    dims = (said["d1"], said["d2"]) + ((said["d3"],) if said["d3"] != 1 else ())
    shape = int(np.prod(dims)), said["T"]
    if path.suffix == ".npy":
        found = np.load(filename, mmap_mode=mode)
        if found.shape != shape:
            raise InputError(f"{path.name} has shape {found.shape}, its name says {shape}")
        return found, dims, said["T"]
    if path.stat().st_size < 4 * shape[0] * shape[1]:
        raise InputError(f"{path.name} has {path.stat().st_size} bytes, its name says {4 * shape[0] * shape[1]}")
    return np.memmap(filename, np.float32, mode, shape=shape, order=said["order"]), dims, said["T"]


def save_memmap(
    filenames: Any, base_name: str = "Yr", resize_fact: Any = (1, 1, 1), remove_init: int = 0, idx_xy: Any = None,
    order: Any = "F", var_name_hdf5: str = "mov", xy_shifts: Any = None, is_3D: bool = False, add_to_movie: float = 0,
    border_to_0: int = 0, dview: Any = None, n_chunks: int = 100, slices: Any = None,
) -> str:  # fmt: skip
    """Write a movie as a memory map, a block of frames at a time; an existing one is replaced, as in CaImAn.

    Parameters
    ----------
    filenames : list of paths or arrays
        Movies that follow each other.
    base_name : str
        What the name begins with; its folder, or the current one (CaImAn: its folder for temporary files).
    order : str
        ``C``: all frames of a pixel together; ``F``: all pixels of a frame.
    var_name_hdf5 : str
        Dataset of HDF5 files that have several.
    add_to_movie : float
        Is added to every sample.
    border_to_0 : int
        Pixels at each edge that become 0.
    remove_init : int
        Frames at the start of each movie that are left out.
    resize_fact, idx_xy, xy_shifts, is_3D, slices
        Must be as they are: gpucells reads a part of a movie, and no volumes.
    dview, n_chunks
        Of no effect.

    Returns
    -------
    str
        The name of the file.
    """
    if (
        tuple(np.ravel(resize_fact)) != (1, 1, 1)
        or idx_xy is not None
        or xy_shifts is not None
        or slices is not None
        or is_3D
    ):
        raise SettingsError(
            "save_memmap takes whole movies as they are: no resize_fact, idx_xy, xy_shifts, slices, is_3D",
            "give an array that was cut or resized before",
        )
    given = filenames if isinstance(filenames, list | tuple) else [filenames]
    movies = [open_files(one, var_name_hdf5) if isinstance(one, str | os.PathLike) else as_movie(one) for one in given]
    shapes = [tuple(int(n) for n in movie.shape) for movie in movies]
    if len({shape[1:] for shape in shapes}) != 1:
        raise InputError(f"movies have shapes {shapes}", "they must be of one size, and one at least")
    dims, n_frames = shapes[0][1:], sum(shape[0] - remove_init for shape in shapes)
    name = memmap_frames_filename(base_name, dims, n_frames, order)
    inner = np.zeros(dims, np.float32)
    inner[border_to_0 : dims[0] - border_to_0, border_to_0 : dims[1] - border_to_0] = 1
    with written_atomically(name, overwrite=True) as stream:
        place: Any = np.memmap(stream, np.float32, "r+", shape=(dims[0] * dims[1], n_frames), order=order)
        at = 0
        for movie, shape in zip(movies, shapes, strict=True):
            for some in frame_blocks(shape[0] - remove_init, dims[0] * dims[1]):
                frames = flat_frames(movie, slice(some.start + remove_init, some.stop + remove_init)) + np.float32(
                    add_to_movie
                )
                place[:, at : at + frames.shape[1]] = (
                    frames * inner.ravel(order="F")[:, None] if border_to_0 else frames
                )
                at += frames.shape[1]
            if isinstance(movie, Movie):
                movie.close()
        place.flush()
    return name
