"""CellSort's second half: segments of filters, their signals on the movie, and spikes.

Mended: filters are smoothed in both directions (CellSort smooths along one), ``segmentlabel`` says which filter a
segment is of (CellSort leaves it empty), spikes can be asked for with fewer than five arguments (CellSort counts them
wrongly, and stops), and of equal samples in a row one is a spike, not each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.compat.cellsort.movie import opened
from gpucells.compat.cellsort.names import cellsort
from gpucells.errors import InputError
from gpucells.ops.frame_products import project
from gpucells.postprocess.filter_segments import filter_segments
from gpucells.postprocess.threshold_events import standardised, threshold_events, without_decay
from gpucells.tiles.frames import blocks, frames_per_block

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ints = NDArray[np.int64]


@cellsort
def cellsort_segmentation(
    ica_filters: Any, smwidth: float = 2, thresh: float = 2, arealims: Any = 200, plotting: Any = 0
) -> tuple[Float32, Ints, Float64]:
    """Cut filters into contiguous segments, each by itself.

    Parameters
    ----------
    ica_filters : numpy.ndarray
        ``(n, height, width)`` of :func:`cellsort_ica`.
    smwidth : float
        Standard deviation of the smoothing (px).
    thresh : float
        Standard deviations above the filter's mean.
    arealims : float or pair of float
        Least area (px), or least and most.
    plotting
        Not honoured.

    Returns
    -------
    ica_segments : numpy.ndarray
        ``(n_segments, height, width)``.
    segmentlabel : numpy.ndarray
        ``(n_segments,)`` the filter that each is of, from 1.
    segcentroid : numpy.ndarray
        ``(n_segments, 2)`` (x, y): column and row, from 1.
    """
    limits = [float(area) for area in np.atleast_1d(arealims).ravel()]
    area_px = (limits[0], limits[1] if len(limits) > 1 else np.inf)
    images = np.asarray(ica_filters, np.float32)
    if images.ndim != 3:
        raise InputError(f"ica_filters has the shape {images.shape}", "give (n, height, width)")
    segments, source, centres = filter_segments(images, float(smwidth), float(thresh), area_px)
    return segments, source + 1, centres[:, ::-1] + 1


@cellsort
def cellsort_apply_filter(
    fn: Any, ica_segments: Any, flims: Any = None, movm: Any = None, subtractmean: Any = 1
) -> Float32:
    """Weigh the movie, relative to each pixel's mean, with segments.

    Parameters
    ----------
    fn, flims
        The movie; first and last frame, from 1.
    ica_segments : numpy.ndarray
        ``(n, height, width)``.
    movm : numpy.ndarray, optional
        ``(height, width)`` mean of each pixel; 1 where not given, as in CellSort: sums are of the movie's units then.
    subtractmean : bool
        Take each frame's mean off.

    Returns
    -------
    numpy.ndarray
        ``(n, n_frames)``: sums of weights times change, not divided by the weights.
    """
    segments = np.asarray(ica_segments, np.float32)
    with opened(fn, flims) as movie:
        shape = (movie.height, movie.width)
        if segments.shape[1:] != shape:
            raise InputError(f"segments of {segments.shape[1:]} px on a movie of {shape} px", "they have to be of it")
        step = frames_per_block(movie)
        mean = np.ones(shape) if movm is None else np.asarray(movm, np.float64).reshape(shape)
        onto = 1 / np.where(mean == 0, 1, mean).ravel()
        weights = sparse.csr_array(segments.reshape(len(segments), -1) * onto, dtype=np.float32)
        even = (onto / mean.size).astype(np.float32)[None]
        seen = np.empty((len(segments) + 1, movie.n_frames), np.float32)
        for some, frames in blocks(movie, step):
            seen[:, some] = project(frames, weights, even)
    total = segments.sum(axis=(1, 2), dtype=np.float64)[:, None]
    level = seen[-1] if subtractmean else 1.0
    return np.asarray(seen[:-1] - total * level, np.float32)


@cellsort
def cellsort_find_spikes(
    ica_sig: Any, thresh: float = 3, dt: float = 1, deconvtau: float = 0, normalization: Any = 1
) -> tuple[sparse.csc_array, Float64, Ints, Float64]:
    """Find spikes as local maxima above a threshold.

    Parameters
    ----------
    ica_sig : numpy.ndarray
        ``(n, n_frames)``; a single column is one signal.
    thresh : float
        In standard deviations with ``normalization``, else in the signals' units.
    dt, deconvtau : float
        Seconds a frame; time constant that is taken out, none if 0.
    normalization : bool
        Whether signals are standardised.

    Returns
    -------
    spmat : scipy.sparse.csc_array
        ``(n_frames, n)``, 1 at a spike.
    spt : numpy.ndarray
        ``(n_spikes,)`` their times, signal by signal: frame, from 1, times ``dt``.
    spc : numpy.ndarray
        ``(n_spikes,)`` their signals, from 1.
    zsig : numpy.ndarray
        ``(n_frames, n)`` what the threshold is compared with.
    """
    signals = np.atleast_2d(np.asarray(ica_sig, np.float64))
    if signals.shape[1] == 1:
        signals = signals.T
    if deconvtau > 0:
        signals = without_decay(signals, float(dt), float(deconvtau))
    if normalization:
        signals = standardised(signals)
    spikes = threshold_events(signals, float(thresh))
    cell, frame = np.nonzero(spikes)
    times, numbers = np.asarray((frame + 1) * float(dt), np.float64), np.asarray(cell + 1, np.int64)
    return sparse.csc_array(spikes.T.astype(np.float64)), times, numbers, signals.T
