"""Outlines of footprints, as ``caiman.utils.visualization`` gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from gpucells.errors import InputError
from gpucells.report.contours import draw_contours
from gpucells.report.outlines import outline


def get_contours(
    A: Any, dims: Any, thr: float = 0.9, thr_method: str = "nrg", swap_dim: bool = False, slice_dim: Any = None
) -> list[dict[str, Any]]:
    """Return the outline of every footprint.

    Parameters
    ----------
    A : array or sparse
        ``(n_pixels, n_cells)``, pixels in Fortran order of ``dims``.
    dims : tuple of int
        ``(height, width)``.
    thr, thr_method : float and str
        ``nrg``: around so much of the energy; ``max``: at this share of the maximum.
    swap_dim : bool
        Pixels are in C order instead.
    slice_dim
        Of volumes; of no effect.

    Returns
    -------
    list of dict
        ``coordinates`` ``(n, 2)`` as (x, y) px with a row of NaN after each piece, ``CoM`` (row, column), ``bbox``,
        ``neuron_id`` from 1.

    Raises
    ------
    InputError
        A volume.
    """
    if len(dims) != 2:
        raise InputError(f"dims = {tuple(dims)}", "outlines are of images (height, width); give planes one by one")
    height, width = (int(n) for n in dims)
    columns = sparse.csc_array(A)
    if swap_dim:
        rows = sparse.csr_array(columns.T)
    else:
        column, row = np.divmod(columns.indices.astype(np.int64), height)
        rows = sparse.csr_array((columns.data, row * width + column, columns.indptr), shape=columns.shape[::-1])
    return [_contour(rows, cell, width, thr, thr_method) for cell in range(rows.shape[0])]


def _contour(rows: sparse.csr_array, cell: int, width: int, thr: float, thr_method: str) -> dict[str, Any]:
    part = slice(rows.indptr[cell], rows.indptr[cell + 1])
    weights, pixels = rows.data[part].astype(np.float64), rows.indices[part]
    level = thr if thr_method == "max" else _energy_level(weights, thr)
    pieces = outline(rows, cell, width, level)
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([part for piece in pieces for part in (piece, gap)]) if pieces else gap
    mass = weights.sum() or 1.0
    centre = np.array([weights @ (pixels // width), weights @ (pixels % width)]) / mass
    box = [np.nan] * 4
    if pieces:
        (left, top), (right, bottom) = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
        box = [np.floor(left), np.ceil(right), np.floor(top), np.ceil(bottom)]
    return {"coordinates": points, "CoM": centre, "bbox": box, "neuron_id": cell + 1}


def _energy_level(weights: Any, share: float) -> float:
    """Return the level, as a share of the maximum, above which so much of the energy is."""
    if not weights.size or not weights.max() > 0:
        return 0.5
    sizes = np.sort(weights)[::-1]
    inside = np.searchsorted(np.cumsum(sizes**2), share * (sizes**2).sum())
    return float(np.clip(sizes[min(inside, len(sizes) - 1)] / sizes[0], 1e-3, 0.999))


def plot_contours(
    A: Any, Cn: Any, thr: Any = None, thr_method: str = "max", maxthr: float = 0.2, nrgthr: float = 0.9,
    display_numbers: bool = True, cmap: Any = None, swap_dim: bool = False, **others: Any,
) -> Any:  # fmt: skip
    """Draw outlines on an image; return them.

    Parameters
    ----------
    A, swap_dim
        As :func:`get_contours` takes them.
    Cn : numpy.ndarray
        ``(height, width)``.
    thr, thr_method, maxthr, nrgthr
        The level: ``maxthr`` with ``max``, ``nrgthr`` with ``nrg``, unless ``thr`` is given.
    display_numbers : bool
        Write the numbers of the cells.
    cmap : str, optional
        Colours of the image.
    **others
        Of no effect.
    """
    level = thr if thr is not None else maxthr if thr_method == "max" else nrgthr
    found = get_contours(A, np.shape(Cn), level, thr_method, swap_dim)
    draw_contours(np.asarray(Cn), [found], display_numbers, cmap or "viridis")
    return found


def inspect_correlation_pnr(correlation_image_pnr: Any, pnr_image: Any) -> None:
    """Draw the two images beside each other.

    Parameters
    ----------
    correlation_image_pnr, pnr_image : numpy.ndarray
        ``(height, width)``.
    """
    draw_contours(np.asarray(correlation_image_pnr), [[], []], False, "viridis", second=np.asarray(pnr_image))


nb_inspect_correlation_pnr = inspect_correlation_pnr
