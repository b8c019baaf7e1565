"""Settings of traces and their background, and of a factorisation: each declared once."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gpucells.candidates.settings import CandidateSettings
from gpucells.errors import SettingsError
from gpucells.factorisation.ring import RingShape

Count = Annotated[int, Field(ge=0)] | Literal["auto"]


class TraceSettings(CandidateSettings):
    """Settings of traces on a background of low rank; lengths are in units of the cell radius."""

    n_cells: Count = Field(
        "auto",
        description="the most cells that are accepted, the brightest ones; auto: as many as stand out of the noise",
    )
    n_background: Count = Field(
        "auto", description="global background components; auto: as many as are smooth and stand out of the noise"
    )
    ar_order: Literal[0, 1, 2] = Field(
        1, description="order of the calcium response: 1 decays, 2 rises and decays, 0: no deconvolution"
    )
    s_min: float | None = Field(
        None,
        description="smallest spike, instead of the least sum of spikes; negative: in units of noise; 0: as few as "
        "the noise allows",
    )
    deconvolution_penalty: float | None = Field(
        None, ge=0.0, description="L1 penalty on spikes; what the trace's noise amounts to if not given"
    )
    baseline_nonnegative: bool = Field(False, description="a trace's fitted baseline must not be below 0")
    optimize_g: int | None = Field(
        None,
        ge=0,
        description="largest events that the decay of a final trace is fitted to again, with ar_order 1; 10 there if "
        "not given; 0: none",
    )
    decay_lags: int = Field(5, ge=1, description="lags of the autocovariance that the decay is estimated from (frames)")
    decay_fudge: float = Field(
        0.96,
        gt=0.0,
        le=1.0,
        description="factor on the response's roots: the estimate is too slow where spikes cluster",
    )
    keep_out_of_focus: bool = Field(
        True, description="keep cells that are both much wider and much dimmer than the others"
    )
    keep_cut_cells: bool = Field(True, description="keep cells whose brightest pixel is on the edge of the image")
    min_event_correlation: float = Field(
        0.0,
        ge=-1.0,
        le=1.0,
        description="least correlation of a footprint with the movie at the cell's own events, everything else off",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.s_min is not None and self.deconvolution_penalty is not None:
            raise SettingsError(
                f"s_min = {self.s_min} and deconvolution_penalty = {self.deconvolution_penalty} exclude each other",
                "give one of them, or none",
            )
        if self.optimize_g and self.ar_order != 1:
            raise SettingsError(
                f"optimize_g = {self.optimize_g} with ar_order = {self.ar_order}", "it fits one decay: ar_order = 1"
            )
        return self

    @property
    def ring_shape(self) -> RingShape | None:
        """Of the ring background, where the method has one."""
        return None


class RingSettings(TraceSettings):
    """Those, and a ring that tells what the global components leave of the background."""

    ring: bool = Field(
        True, description="take what the global components leave of the background from a ring around every block"
    )
    ring_radius: float = Field(3.0, ge=1.5, le=20.0, description="inner radius of the ring")
    ring_spacing: float = Field(1.0, gt=0.0, le=4.0, description="side of the blocks that the ring is fitted in")
    ring_outlier: float | None = Field(
        5.0,
        gt=0.0,
        description="noises above its prediction at which a block's sample is a transient and left out of the fit; "
        "none: all samples count",
    )

    @property
    def ring_shape(self) -> RingShape | None:
        """Of the ring background; None without one."""
        return RingShape(self.ring_radius, self.ring_spacing, self.ring_outlier) if self.ring else None


class FactorisationSettings(TraceSettings):
    """Settings of a factorisation, which updates footprints too; lengths are in units of the cell radius."""

    searches: int = Field(
        1,
        ge=1,
        le=10,
        description="times that cells are looked for: in the movie, in what the cells leave, and after each round",
    )
    max_iter: int = Field(4, ge=1, le=50, description="rounds of traces, judgement and footprints")
    spatial_solver: Literal["lasso", "nnls_l0"] = Field(
        "lasso",
        description="footprints by non-negative lasso; or by non-negative least squares, fewest cells a pixel",
    )
    spatial_penalty: float = Field(
        0.0, ge=0.0, description="L1 penalty of the lasso, in standard errors of a footprint's pixel"
    )
