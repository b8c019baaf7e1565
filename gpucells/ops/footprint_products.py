"""Footprints times the movie: what the traces of a least-squares model are solved from.

Movies on a GPU go to ``kernels/footprint_products.cu``, all others to SciPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar

Float32 = NDArray[np.float32]

THREADS = 128  # of a block of the CUDA kernel: as many frames

FOOTPRINT_PRODUCTS = Kernel(
    "footprint_products.cu",
    "footprint_products",
    (
        Array("movie", "float32", ("n_pixels", "n_frames")), Scalar("n_frames"),
        Array("start", "int64", ("n_starts",)), Array("pixels", "int64", ("n_entries",)),
        Array("weights", "float32", ("n_entries",)), Array("out", "float32", ("n_cells", "n_frames"), written=True),
    ),
    threads=THREADS, registers=64, defines=(Define("THREADS", (THREADS,)),),
)  # fmt: skip


def footprint_products(movie: Any, footprints: sparse.csr_array) -> Float32:
    """Multiply footprints with a movie.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, NumPy's or CuPy's.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)``.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32, ``footprints @ movie``.
    """
    if not is_cupy_array(movie):
        return np.asarray(footprints.astype(np.float32) @ movie, np.float32)
    n_cells, n_frames = footprints.shape[0], movie.shape[1]
    xp = namespace_of(movie)
    out = xp.zeros((n_cells, n_frames), np.float32)
    if out.size:
        FOOTPRINT_PRODUCTS.launch(
            (n_cells, -(-n_frames // THREADS)), (THREADS,), movie=movie,
            start=xp.asarray(footprints.indptr, np.int64), pixels=xp.asarray(footprints.indices, np.int64),
            weights=xp.asarray(footprints.data, np.float32), out=out,
        )  # fmt: skip
    return to_host(out)
