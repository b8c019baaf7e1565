"""Deconvolution of single traces, by CaImAn's names, on gpucells' OASIS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.compat.caiman.source_extraction.cnmf.oasis import constrained_oasisAR1
from gpucells.compat.told_once import tell_once
from gpucells.errors import InputError
from gpucells.ops.noise import noise_std
from gpucells.ops.oasis import deconvolve, slowest_decay
from gpucells.ops.time_constants import time_constants

Float64 = NDArray[np.float64]
__all__ = [
    "GetSn", "constrained_foopsi", "constrained_oasisAR1", "constrained_oasisAR2", "estimate_parameters",
    "estimate_time_constant",
]  # fmt: skip


def constrained_foopsi(
    fluor: Any, bl: float | None = None, c1: float | None = None, g: Any = None, sn: float | None = None,
    p: int | None = None, method_deconvolution: str = "oasis", bas_nonneg: bool = True, noise_range: Any = (0.25, 0.5),
    noise_method: str = "logmexp", lags: int = 5, fudge_factor: float = 1.0, verbosity: bool = False,
    solvers: Any = None, optimize_g: int = 0, s_min: float | None = None, **kwargs: Any,
) -> tuple[Float64, float, float, Float64, float, Float64, float]:  # fmt: skip
    """Find the calcium and the spikes of one trace.

    Parameters
    ----------
    fluor : array_like
        ``(n_frames,)``.
    bl, g, sn : float, (p,) and float, optional
        Baseline, coefficients of the response and noise; estimated where not given.
    c1 : float, optional
        Of no effect: the calcium of the first frame is fitted.
    p : int
        Order of the response: 0, 1 or 2.
    method_deconvolution, noise_range, noise_method, verbosity, solvers
        Of no effect: OASIS's problem is solved; noise is the mean over the upper half of the spectrum.
    bas_nonneg : bool
        Whether a fitted baseline must not be below 0.
    lags, fudge_factor : int and float
        Of the estimate of ``g``.
    optimize_g : int
        Events that the decay is fitted to, with ``p=1``.
    s_min : float, optional
        Smallest spike; the least sum of spikes where not given. Negative in units of noise; 0: the fewest.
    **kwargs
        Of no effect, as in CaImAn.

    Returns
    -------
    tuple
        ``c`` without baseline and without ``c1``'s decay, ``bl``, ``c1``, ``g``, ``sn``, ``sp``, ``lam``.

    Raises
    ------
    InputError
        No order, or a trace that cannot be used.
    """
    if p is None:
        raise InputError("p is not given", "give the order of the response: 0, 1 or 2")
    if c1 is not None:
        tell_once("constrained_foopsi fits the calcium of the first frame: c1 is not used")
    trace = np.asarray(fluor, np.float64).reshape(1, -1)
    found = deconvolve(
        trace, int(p), coefficients=None if g is None or not p else np.asarray(g, np.float64).reshape(1, -1),
        noise=sn, baseline=bl, baseline_nonnegative=bas_nonneg, s_min=s_min if p else None,
        optimize_g=int(optimize_g) if p == 1 else 0, lags=lags, fudge=fudge_factor,
    )  # fmt: skip
    calcium, spikes = found.denoised[0].astype(np.float64), found.spikes[0].astype(np.float64)
    first = 0.0
    if p:  # what stands in the first frame is the decay of earlier spikes
        first = float(calcium[0])
        calcium -= first * slowest_decay(found.coefficients)[0] ** np.arange(len(calcium))
    level = float(found.noise[0]) if sn is None else float(sn)
    return calcium, float(found.baseline[0]), first, found.coefficients[0], level, spikes, float(found.penalty[0])


def constrained_oasisAR2(
    y: Any, g: Any, sn: float, optimize_b: bool = True, b_nonneg: bool = True, optimize_g: int = 0, decimate: int = 5,
    shift: int = 100, window: int | None = None, tol: float = 1e-9, max_iter: int = 1, penalty: int = 1,
    s_min: float = 0,
) -> tuple[Float64, Float64, float, Float64, float]:  # fmt: skip
    """Deconvolve with a rise and a decay, to within the noise.

    Parameters
    ----------
    y : array_like
        ``(n_frames,)``.
    g : sequence of float
        Both coefficients; estimated from the trace where None.
    sn : float
        Noise.
    optimize_b : bool
        Fit the baseline; it is 0 otherwise.
    b_nonneg : bool
        Whether a fitted baseline must not be below 0.
    optimize_g, decimate, shift, window, tol, max_iter
        Of no effect: the problem is solved for all frames at once, to the end.
    penalty : int
        1: the least sum of spikes. 0: spikes of ``s_min`` at least; where that is 0, the fewest.
    s_min : float
        See ``penalty``.

    Returns
    -------
    tuple
        ``c``, ``s``, ``b``, ``g``, ``lam``.
    """
    found = deconvolve(
        np.asarray(y, np.float64).reshape(1, -1), 2, coefficients=None if g is None else np.reshape(g, (1, 2)),
        noise=sn, baseline=None if optimize_b else 0.0, baseline_nonnegative=b_nonneg,
        s_min=None if penalty else float(s_min),
    )  # fmt: skip
    return (
        found.denoised[0].astype(np.float64), found.spikes[0].astype(np.float64), float(found.baseline[0]),
        found.coefficients[0], float(found.penalty[0]),
    )  # fmt: skip


def GetSn(fluor: Any, range_ff: Any = (0.25, 0.5), method: str = "logmexp") -> float:
    """Return the noise of a trace: the mean over the upper half of its spectrum.

    Parameters
    ----------
    fluor : array_like
        ``(n_frames,)``.
    range_ff, method
        Of no effect.
    """
    return float(noise_std(np.asarray(fluor, np.float64).reshape(1, -1))[0])


def estimate_time_constant(
    fluor: Any, p: int = 2, sn: float | None = None, lags: int = 5, fudge_factor: float = 1.0
) -> Float64:
    """Return the coefficients ``(p,)`` of the response, from the trace's autocovariance.

    Parameters
    ----------
    fluor : array_like
        ``(n_frames,)``.
    p : int
        1 or 2.
    sn : float, optional
        Noise; estimated where not given.
    lags, fudge_factor : int and float
        Lags of the autocovariance, and the factor on the response's roots.
    """
    found = time_constants(np.asarray(fluor, np.float64).reshape(1, -1), p, sn, lags, fudge_factor)
    return np.asarray(found[0], np.float64)


def estimate_parameters(
    fluor: Any, p: int = 2, sn: float | None = None, g: Any = None, range_ff: Any = (0.25, 0.5),
    method: str = "logmexp", lags: int = 5, fudge_factor: float = 1.0,
) -> tuple[Any, float]:  # fmt: skip
    """Return ``g`` and ``sn`` of a trace, estimated where not given.

    Parameters
    ----------
    fluor, p, sn, lags, fudge_factor
        As :func:`estimate_time_constant` takes them.
    g : sequence of float, optional
        Coefficients.
    range_ff, method
        Of no effect.
    """
    level = GetSn(fluor) if sn is None else sn
    if g is None:
        g = np.zeros(0) if p == 0 else estimate_time_constant(fluor, p, level, lags, fudge_factor)
    return g, level
