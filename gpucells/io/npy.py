"""NumPy's ``.npy``, read box by box; never a pickle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from gpucells.errors import InputError
from gpucells.io.array import movie_from_array, readable_dtype
from gpucells.io.options import ReadOptions
from gpucells.io.raw import FileArray, keep_whole
from gpucells.model.movie import Movie


def open_npy(path: Path, options: ReadOptions) -> Movie:
    """Open an array that NumPy saved, in C or Fortran order.

    Returns
    -------
    Movie
        Without frame rate or pixel size: the format has neither.

    Raises
    ------
    InputError
        A pickled object, a damaged header, a file that ends early.
    """
    shape, fortran, dtype, offset = _header(path)
    readable_dtype(dtype, str(path))
    available = path.stat().st_size - offset
    if available < math.prod(shape) * dtype.itemsize:
        slowest = shape[-1] if fortran else shape[0]
        n_whole = available // (math.prod(shape) // slowest * dtype.itemsize)
        n_whole = keep_whole(path, slowest, n_whole, options)
        shape = (*shape[:-1], n_whole) if fortran else (n_whole, *shape[1:])
    array = FileArray(path, dtype, shape, offset, fortran=fortran)
    return movie_from_array(array, options, str(path), close=array.close, files=(str(path),))


def _header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    try:
        with path.open("rb") as file:
            version = npy_format.read_magic(file)
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy raises what Python's parser raises
        raise InputError(f"{path} has a damaged NPY header: {error}", "save it again with numpy.save") from error
    if dtype.hasobject:
        raise InputError(f"{path} is a pickle, and pickles are never loaded", "save the movie itself with numpy.save")
    return tuple(shape), bool(fortran), dtype, offset
