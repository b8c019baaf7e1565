r"""Relative change of fluorescence against a baseline that drifts along.

With a cell's light :math:`F` above the background, and :math:`B` the background's light under its footprint,

.. math:: \Delta F / F = \frac{F - F_0(F)}{F_0(B) + F_0(F)},

where :math:`F_0` is the running quantile about each frame (Pnevmatikakis et al. 2016; Giovannucci et al. 2019). It
follows what is slower than the window: bleaching, focus, neuropil that was not taken off.

Which quantile a trace is at when its cell is silent depends on how often it is active. ``"auto"`` takes the share of
the trace below its mode. The mode is the peak of a Gaussian kernel density; the running median is taken off before, for
a drift widens the peak. On 360 simulated traces of known baseline (events every 20 to 333 frames, noise .1 to 1 of an
event, drift to 3 events; ``benchmarks/baseline_mode.py`` has the table) that subtraction matters most, the choice of
the estimator little: half-sample mode and Botev's kernel width come out alike, the one with more scatter where nothing
drifts, the other at three times the time.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from gpucells.errors import InputError, SettingsError
from gpucells.model.cells import Cells
from gpucells.ops.running_percentile import running_percentile

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Quantile = float | Literal["auto"]

WINDOW_S = 30.0  # ours: many transients long, which must not fill it, and short beside bleaching
BINS = 1024  # of the density, over what the trace spans
TRACES = 64  # at once: their temporaries stay small beside the result


def detrend_dff(
    cells: Cells, *, quantile: Quantile = "auto", window_s: float = WINDOW_S, window_frames: int | None = None
) -> Float32:
    """Return the cells' dF/F against a baseline that follows slow drifts; ``cells.dff`` has a fixed one.

    Parameters
    ----------
    cells : Cells
        Of any method; their ``traces`` are the light above ``f0``, the background's.
    quantile : float or "auto"
        Where the baseline lies among the frames of the window, 0 to 1; by each trace's own mode with ``"auto"``.
    window_s : float
        Length of the window in seconds.
    window_frames : int, optional
        The same in frames, for a result without a frame rate; goes before ``window_s``.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32; NaN at frames that the movie lacks, and where a cell has no baseline above 0.

    Raises
    ------
    SettingsError
        The frame rate is unknown and the window is not given in frames, or a value is out of range.
    """
    if window_frames is None:
        if cells.frame_rate_hz is None:
            raise SettingsError("the cells have no frame rate", "give window_frames, or frame_rate_hz to open_movie")
        if not window_s > 0:
            raise SettingsError(f"window_s = {window_s}", "give a length above 0 s")
        window_frames = max(1, round(window_s * cells.frame_rate_hz))
    return relative_change(cells.traces, cells.f0, window_frames, quantile)


def relative_change(
    traces: NDArray[Any], background: ArrayLike, window_frames: int, quantile: Quantile = "auto", step_frames: int = 1
) -> Float32:
    """Return dF/F of traces.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` of any real type: light above the background.
    background : array_like
        ``(n_cells, n_frames)``, or ``(n_cells,)`` where it is constant: the background's light under each footprint, in
        the same units. Of the former the same running quantile is taken.
    window_frames : int
        Length of the window; longer than the trace is one baseline for all of it.
    quantile : float or "auto"
        See :func:`detrend_dff`.
    step_frames : int
        The baseline is worked out at every so-many-th frame, with lines between.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, n_frames)`` float32; NaN where a trace is not finite, and where the baseline is not above 0.

    Raises
    ------
    SettingsError
        A quantile outside 0 to 1, or a window or a step below 1.
    InputError
        Shapes do not go together.
    """
    if not (quantile == "auto" if isinstance(quantile, str) else 0 <= quantile <= 1):
        raise SettingsError(f"quantile = {quantile!r}", 'give a fraction, 0 to 1, or "auto"')
    if window_frames < 1 or step_frames < 1:
        raise SettingsError(f"a window of {window_frames} frames, every {step_frames} frames", "both must be 1 or more")
    below = np.asarray(background)
    if traces.ndim != 2 or below.shape not in (traces.shape, traces.shape[:1]):
        raise InputError(
            f"traces have shape {traces.shape}, their background {below.shape}",
            "give (n_cells, n_frames), and as many cells of background",
        )
    change = np.empty(traces.shape, np.float32)
    for first in range(0, len(traces), TRACES):
        some = slice(first, first + TRACES)
        level = baseline_quantile(traces[some], window_frames) if quantile == "auto" else quantile
        out = running_percentile(traces[some], level, window_frames, step_frames, out=change[some])
        light = below[some]
        light = light[:, None] if light.ndim == 1 else running_percentile(light, level, window_frames, step_frames)
        whole = np.asarray(light + out, np.float32)
        np.subtract(traces[some], out, out=out, casting="same_kind")
        np.divide(out, np.where(whole > 0, whole, np.nan), out=out)
        out[~np.isfinite(out)] = np.nan
    return change


def baseline_quantile(traces: NDArray[Any], window_frames: int) -> Float64:
    """Return the share of each trace's frames that lie below its mode, once slow drifts are taken off.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)``; what is not finite is left out.
    window_frames : int
        Of the running median that is taken off.

    Returns
    -------
    numpy.ndarray
        ``(n_cells,)`` 0 to 1; a half for a trace that is constant or has no finite frame.
    """
    shares = np.full(len(traces), 0.5)
    for i in range(len(traces)):
        flat = traces[i] - running_percentile(traces[i : i + 1], 0.5, window_frames)[0]
        flat = flat[np.isfinite(flat)]
        if len(flat):
            peak = mode(flat)
            shares[i] = (np.mean(flat < peak) + np.mean(flat <= peak)) / 2
    return shares


def mode(samples: NDArray[Any]) -> float:
    """Return where the density of samples is largest.

    The kernel is Gaussian, of Silverman's width (1986, equation 3.31) by the quartiles, which transients move little.
    Only samples up to the upper quartile and as far again as it is above the lower one are looked at.

    Parameters
    ----------
    samples : numpy.ndarray
        ``(n,)``, one or more, finite.
    """
    low, middle, high = (float(q) for q in np.quantile(samples, (0.25, 0.5, 0.75)))
    width = 0.9 * (high - low) / 1.349 * len(samples) ** -0.2
    if not width > 0:
        return middle  # half of the samples or more are equal
    span = 2 * (high - low)
    begin, end = low - span, high + span
    count = np.histogram(samples, BINS, (begin, end))[0]
    density = ndimage.gaussian_filter1d(count.astype(np.float64), width * BINS / (end - begin), mode="constant")
    return begin + (int(np.argmax(density)) + 0.5) * (end - begin) / BINS
