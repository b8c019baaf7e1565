"""The footprint step of the refinement: masks, robust regression, then what the errors say of each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.footprints import Windows, significant_part
from gpucells.methods.extract.compatible import admm_footprints
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.robust_footprints import Known, robust_footprints

Float32 = NDArray[np.float32]


def update_footprints(
    movie: Float32, traces: Float32, footprints: sparse.csr_array, noise: Float32, kappa: Float32,
    known: Known, offset: Float32, inside: NDArray[np.bool_], radius_px: float, settings: ExtractSettings,
) -> tuple[sparse.csr_array, NDArray[np.float32]]:  # fmt: skip
    """Solve the footprints for given traces.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(n_pixels, n_frames)`` float32 in units of the noise.
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1, in the movie's own units.
    noise, kappa, offset : numpy.ndarray
        ``(n_pixels,)``.
    known : Known
        The background.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that a footprint may have.
    radius_px : float
        Cell radius (px).

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` with maximum 1; an empty row where nothing is left.
    scale : numpy.ndarray
        ``(n_cells,)`` by which the traces grow as the footprints are scaled back.
    """
    whitened = sparse.csr_array(footprints @ sparse.diags_array(1 / noise)).astype(np.float32)
    active = significant_part(traces, whitened)
    windows = Windows.of(footprints, noise, inside, radius_px)
    begin = windows.start()
    if settings.solver == "admm":
        solved = admm_footprints(movie, active, begin, settings.kappa_std_ratio, known=known, offset=offset)
    else:
        solved = robust_footprints(movie, active, begin, kappa, known=known, offset=offset)
    strength = np.linalg.norm(active, axis=1)
    return windows.finish(solved, strength, radius_px, settings, background=known.images.shape[0] > 0)
