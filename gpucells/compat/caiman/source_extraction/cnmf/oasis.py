"""The OASIS functions of a first-order decay, by CaImAn's names (Friedrich, Zhou & Paninski 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.ops.oasis import deconvolve

Float64 = NDArray[np.float64]


def oasisAR1(y: Any, g: float, lam: float = 0, s_min: float = 0) -> tuple[Float64, Float64]:
    """Deconvolve a trace whose baseline is 0.

    Parameters
    ----------
    y : array_like
        ``(n_frames,)``.
    g : float
        What is left of the calcium after a frame.
    lam : float
        Penalty on the sum of the spikes; does not count with ``s_min``.
    s_min : float
        Smallest spike; 0 for none.

    Returns
    -------
    tuple
        Calcium and spikes, ``(n_frames,)``.
    """
    floor: dict[str, Any] = {"s_min": float(s_min)} if s_min else {"penalty": float(lam)}
    found = deconvolve(
        np.asarray(y, np.float64).reshape(1, -1), 1, coefficients=[[g]], noise=0.0, baseline=0.0, **floor
    )
    return found.denoised[0].astype(np.float64), found.spikes[0].astype(np.float64)


def constrained_oasisAR1(
    y: Any, g: float, sn: float, optimize_b: bool = False, b_nonneg: bool = True, optimize_g: int = 0,
    decimate: int = 1, max_iter: int = 5, penalty: int = 1, s_min: float = 0,
) -> tuple[Float64, Float64, float, float, float]:  # fmt: skip
    """Deconvolve with a decay, to within the noise.

    Parameters
    ----------
    y : array_like
        ``(n_frames,)``.
    g : float
        What is left of the calcium after a frame.
    sn : float
        Noise.
    optimize_b : bool
        Fit the baseline; it is 0 otherwise.
    b_nonneg : bool
        Whether a fitted baseline must not be below 0.
    optimize_g : int
        Events that the decay is fitted to.
    decimate, max_iter
        Of no effect: the problem is solved at the full rate, to the end.
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
        np.asarray(y, np.float64).reshape(1, -1), 1, coefficients=np.reshape(g, (1, 1)), noise=sn,
        baseline=None if optimize_b else 0.0, baseline_nonnegative=b_nonneg, optimize_g=int(optimize_g),
        s_min=None if penalty else float(s_min),
    )  # fmt: skip
    return (
        found.denoised[0].astype(np.float64), found.spikes[0].astype(np.float64), float(found.baseline[0]),
        float(found.coefficients[0, 0]), float(found.penalty[0]),
    )  # fmt: skip
