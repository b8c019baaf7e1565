r"""Cells in CaImAn's conventions: what its ``Estimates`` call each of our arrays, and how it counts and scales them.

Pixels are counted down the columns (Fortran order), a footprint :math:`a` has norm 1, and a trace carries the rest:
:math:`a\,C` is what ``footprint x denoised`` is here. ``C`` includes the trace's baseline ``bl``, and ``C + YrA`` is
the trace as measured. The facts are those of CaImAn 1.12 (Giovannucci et al. 2019, eLife 8:e38173) as it behaves.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.model.cells import Cells

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
#: CaImAn's SNR is about a third of a peak over noise: its noise is three standard deviations of a trace's lower half.
SNR_SHARE = 3.0
#: Its measure, ours, and what ours is divided by.
MEASURES = (
    ("SNR_comp", "snr", SNR_SHARE),
    ("r_values", "event_correlation", 1.0),
    ("cnn_preds", "", 1.0),
    ("ecc", "", 1.0),
)
#: Its number of a trace, which scales as the trace does, and ours.
OF_TRACES = (
    ("bl", "deconvolution_baseline"),
    ("neurons_sn", "deconvolution_noise"),
    ("lam", "deconvolution_penalty"),
)
Rows = Literal["C", "S", "YrA"]


def norms(cells: Cells) -> Float64:
    """Return the norm of each footprint, ``(n_cells,)``; 1 of one that is empty."""
    weights = cells.footprints.astype(np.float64)
    squares = np.asarray(weights.multiply(weights).sum(axis=1)).ravel()
    return np.where(squares > 0, np.sqrt(squares), 1.0)


def unit_footprints(cells: Cells) -> sparse.csc_matrix:
    """Return ``A``: ``(n_pixels, n_cells)``, pixels in Fortran order, norm 1.

    It is float64, as CaImAn's own: divided by a column's maximum it is the footprint to the last digit of its float32.
    """
    rows = sparse.csr_array(cells.footprints)
    height, width = cells.image_shape
    row, column = np.divmod(rows.indices.astype(np.int64), width)
    scale = np.repeat(norms(cells), np.diff(rows.indptr))
    entries = rows.data / scale, column * height + row, rows.indptr
    found = sparse.csc_matrix(entries, shape=(height * width, cells.n_cells))
    found.sort_indices()
    return found


def rows_of(cells: Cells, kind: Rows, some: slice, norm: Float64) -> Float32:
    """Return rows of ``C``, ``S`` or ``YrA``.

    Parameters
    ----------
    cells : Cells
        The result.
    kind : str
        Which. ``C`` is the trace as measured, ``S`` and ``YrA`` 0, of a cell that has no model: a rejected one, and all
        of a method without deconvolution.
    some : slice
        Of the cells.
    norm : numpy.ndarray
        Of all footprints, as :func:`norms` returns them.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)`` float32.
    """
    measured, scale = cells.traces[some], norm[some, None].astype(np.float32)
    if kind == "S":
        spikes = np.zeros_like(measured) if cells.spikes is None else cells.spikes[some]
        return np.where(_modelled(spikes), spikes, 0).astype(np.float32) * scale
    denoised = measured if cells.denoised is None else cells.denoised[some]
    model = np.where(_modelled(denoised), denoised, measured)
    return np.asarray((model if kind == "C" else measured - model) * scale, np.float32)


def _modelled(rows: Float32) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(rows).any(axis=1))[:, None]


def numbers(cells: Cells) -> dict[str, Any]:
    """Return what is one number a cell, by CaImAn's names; None where the result does not have it.

    ``g`` is ``(n_cells, order)``; ``c1`` is the calcium of the first frame, which decays from there.
    """
    norm, found = norms(cells), dict[str, Any]()
    for theirs, ours in OF_TRACES:
        found[theirs] = cells.quality[ours] * norm if ours in cells.quality else None
    baseline = np.zeros(cells.n_cells, np.float32) if found["bl"] is None else np.nan_to_num(found["bl"])
    found["bl"] = baseline
    first = np.zeros(cells.n_cells, np.float32)
    if cells.denoised is not None and cells.n_frames:
        first = np.nan_to_num(cells.denoised[:, 0] * norm - baseline)
    found["c1"] = first
    response = [cells.quality[name] for name in ("ar_1", "ar_2") if name in cells.quality]
    found["g"] = np.stack(response, axis=1) if response else None
    for theirs, ours, share in MEASURES:
        own = cells.quality.get(theirs)
        found[theirs] = own if own is not None else cells.quality[ours] / share if ours in cells.quality else None
    return found


def background(cells: Cells) -> tuple[Float32 | None, Float32 | None]:
    """Return ``b``, ``(n_pixels, n_background)`` in Fortran order, and ``f``, ``(n_background, n_frames)``."""
    if cells.background_images is None or cells.background_traces is None:
        return None, None
    return flat(cells.background_images).T, cells.background_traces


def flat(images: Float32) -> Float32:
    """Return images ``(..., height, width)`` as ``(..., n_pixels)`` in Fortran order."""
    return np.ascontiguousarray(np.swapaxes(images, -1, -2)).reshape(*images.shape[:-2], -1)


def unflat(pixels: Float32, image_shape: tuple[int, int]) -> Float32:
    """Return ``(..., n_pixels)`` in Fortran order as images ``(..., height, width)``."""
    height, width = image_shape
    return np.swapaxes(pixels.reshape(*pixels.shape[:-1], width, height), -1, -2)
