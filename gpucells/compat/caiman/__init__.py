"""A drop-in for CaImAn's CNMF and CNMF-E: replace ``caiman`` by ``gpucells.compat.caiman`` in a script's import lines.

``docs/compat/caiman.md`` says what becomes of every parameter and what differs. Pixels are in Fortran order, footprints
have norm 1, and ``C`` includes the baseline, as CaImAn has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpucells.compat.caiman import cluster, mmapping, paths, source_extraction, summary_images, utils
from gpucells.compat.caiman.cluster import setup_cluster, start_server, stop_server
from gpucells.compat.caiman.mmapping import load_memmap, save_memmap
from gpucells.compat.caiman.movies import open_files
from gpucells.compat.caiman.summary_images import local_correlations

__all__ = [
    "cluster", "load", "load_memmap", "load_movie_chain", "local_correlations", "mmapping", "paths", "save_memmap",
    "setup_cluster", "source_extraction", "start_server", "stop_server", "summary_images", "utils",
]  # fmt: skip


def load(file_name: Any, fr: float | None = None, var_name_hdf5: str = "mov", **others: Any) -> np.ndarray[Any, Any]:
    """Read a movie into memory, ``(n_frames, height, width)`` float32; a plain array, not CaImAn's movie object.

    Parameters
    ----------
    file_name : path or list of paths
        Anything that gpucells opens.
    fr : float, optional
        Of no effect.
    var_name_hdf5 : str
        Dataset of HDF5 files that have several.
    **others
        Of no effect.
    """
    with open_files(file_name, var_name_hdf5) as movie:
        return np.asarray(movie.read(), np.float32)


load_movie_chain = load
