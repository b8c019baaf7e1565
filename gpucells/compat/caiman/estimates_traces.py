"""What estimates do with their traces: norms, dF/F, deconvolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from gpucells.ops.oasis import deconvolve as deconvolved
from gpucells.ops.running_percentile import running_percentile
from gpucells.postprocess.dff import baseline_quantile, relative_change

if TYPE_CHECKING:
    from gpucells.compat.caiman.source_extraction.cnmf.estimates import Estimates
    from gpucells.compat.caiman.source_extraction.cnmf.params import CNMFParams

FAST_STEP_FRAMES = 10  # of the baseline with use_fast: much shorter than its window


def normalize_components(self: Estimates) -> Estimates:
    """Scale footprints to norm 1, and their traces so that the products stay."""
    columns = sparse.csc_matrix(self.A)
    norm = np.sqrt(np.asarray(columns.power(2).sum(axis=0)).ravel())
    norm = np.where(norm > 0, norm, 1)
    self.A = sparse.csc_matrix(columns @ sparse.diags_array(1 / norm))
    for name in ("C", "S", "YrA"):
        if (rows := getattr(self, name)) is not None:
            setattr(self, name, rows * norm[:, None].astype(rows.dtype))
    for name in ("bl", "c1", "neurons_sn", "lam"):
        if (numbers := getattr(self, name)) is not None:
            setattr(self, name, numbers * norm)
    self.R = self.YrA
    if self.b is not None and self.b.shape[1]:
        size = np.sqrt((np.asarray(self.b) ** 2).sum(axis=0))
        size = np.where(size > 0, size, 1)
        self.b, self.f = self.b / size, self.f * size[:, None]
    return self


def detrend_df_f(
    self: Estimates, quantileMin: float = 8, frames_window: int = 500, flag_auto: bool = True, use_fast: bool = False,
    use_residuals: bool = True, detrend_only: bool = False,
) -> Estimates:  # fmt: skip
    """Work out ``F_dff``: dF/F against a running quantile, of the cell's light and the background's under it.

    Parameters
    ----------
    quantileMin : float
        Percentile of the window that is the baseline, where ``flag_auto`` is off.
    frames_window : int
        Length of the window (frames).
    flag_auto : bool
        Take for each trace the quantile at which its mode is.
    use_fast : bool
        Work the baseline out at every tenth frame only.
    use_residuals : bool
        Of the traces as measured, ``C + YrA``; of ``C`` otherwise.
    detrend_only : bool
        Take the baseline off and do not divide. So it is, too, where no background is known (CNMF-E), as in CaImAn.
    """
    light = self.C + self.YrA if use_residuals and self.YrA is not None else self.C
    step = FAST_STEP_FRAMES if use_fast else 1
    quantile: Any = "auto" if flag_auto else quantileMin / 100
    if detrend_only or self.b is None or self.f is None or self.b.shape[1] == 0:
        level = baseline_quantile(light, frames_window) if flag_auto else quantile
        self.F_dff = np.asarray(light - running_percentile(light, level, frames_window, step), np.float32)
    else:
        behind = (sparse.csr_matrix(self.A.T) @ self.b) @ self.f
        self.F_dff = relative_change(light, behind, frames_window, quantile, step)
    return self


def deconvolve(self: Estimates, params: CNMFParams, dview: Any = None, dff_flag: bool = False) -> Estimates:
    """Deconvolve ``C + YrA`` again, with the settings of ``params.temporal``.

    Parameters
    ----------
    params : CNMFParams
        Its group ``temporal``.
    dview
        Of no effect.
    dff_flag : bool
        Deconvolve ``F_dff`` as well: ``F_dff_dec`` and ``S_dff``.
    """
    options = params.temporal
    order = int(options["p"])

    def solve(rows: Any) -> Any:
        return deconvolved(
            rows, order, baseline_nonnegative=bool(options["bas_nonneg"]), s_min=options["s_min"],
            optimize_g=int(options["optimize_g"]) if order == 1 else 0, lags=int(options["lags"]),
            fudge=float(options["fudge_factor"]),
        )  # fmt: skip

    measured = self.C if self.YrA is None else self.C + self.YrA
    found = solve(measured)
    self.C = np.asarray(found.denoised + found.baseline[:, None], np.float32)
    self.S, self.YrA = found.spikes, measured - self.C
    self.R = self.YrA
    self.bl, self.neurons_sn, self.lam, self.g = found.baseline, found.noise, found.penalty, found.coefficients
    self.c1 = found.denoised[:, 0] if found.denoised.shape[1] else found.baseline * 0
    if dff_flag and self.F_dff is not None:
        relative = solve(self.F_dff)
        self.F_dff_dec, self.S_dff = relative.denoised, relative.spikes
    return self
