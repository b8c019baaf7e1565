"""Settings of ROI: the kind of trace, its neuropil, and the background that traces are solved on."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from gpucells.factorisation.settings import RingSettings
from gpucells.settings import Preset

Traces = Literal["robust", "least_squares", "weighted_mean", "mean"]


class RoiSettings(RingSettings):
    """Settings of ROI; lengths are in units of the cell radius unless their name says otherwise."""

    traces: Traces = Field(
        "robust",
        description="robust, least_squares: all cells solved together with a background; weighted_mean, mean: of the "
        "pixels of each, exactly linear in the movie, which is read once",
    )
    threshold: float = Field(
        0.5, ge=0.0, lt=1.0, description="share of a footprint's maximum above which a pixel counts, for mean"
    )
    kappa: float = Field(
        2.5, gt=0.0, description="noises above the model where robust becomes linear in what is left of a pixel"
    )
    neuropil: bool = Field(
        True, description="take the mean of a ring around each cell off mean and weighted_mean, times a coefficient"
    )
    neuropil_gap: float = Field(0.5, ge=0.0, le=10.0, description="between a cell and its ring")
    neuropil_size: float = Field(1.0, gt=0.0, le=10.0, description="width of the ring, before it is widened")
    neuropil_pixels: float = Field(
        4.0, gt=0.0, le=100.0, description="pixels of a ring, in pixels of its cell; a smaller ring is widened"
    )
    neuropil_coefficient: float | Literal["auto"] = Field(
        "auto",
        description="what the ring's mean is multiplied by; auto: what is left of the trace between its events "
        "follows it no more, 0 to 1",
    )

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the settings with ``values``; the two presets are the same."""
        return cls.from_values(values)
