"""Settings of EXTRACT: each declared once, with unit, range, default and reason.

``docs/methods/extract.md`` has the original's name beside each, and what became of those that are not here.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from gpucells.candidates.settings import CandidateSettings
from gpucells.settings import Preset

TraceOption = Literal[
    "baseline_adjusted", "nonneg", "no_constraint", "least_squares", "nonnegative_least_squares", "none"
]


class ExtractSettings(CandidateSettings):
    """Settings of EXTRACT; lengths are in units of the cell radius unless their name says otherwise."""

    background: Literal["local", "none"] = Field(
        "local", description="local: a smooth field of light, solved together with the cells; none: cells alone"
    )
    background_spacing: float = Field(
        4.0,
        ge=2.0,
        le=20.0,
        description="distance of the background's nodes while cells are found and refined, in cell radii",
    )
    trace_background_spacing: float = Field(
        2.0,
        ge=1.0,
        le=20.0,
        description="the same once footprints are settled, for the final traces; background_spacing where that is less",
    )
    kappa_std_ratio: float = Field(1.5, gt=0.0, description="kappa of the refinement, in units of each pixel's noise")
    adaptive_kappa: bool = Field(
        False, description="re-estimate kappa for every cell and frame from the share of positive residuals"
    )
    max_iter: int = Field(5, ge=0, le=50, description="alternations of traces and footprints")
    solver: Literal["newton", "admm"] = Field(
        "newton",
        description="newton; or the original's 100 first-order iterations, dense: for comparison on small movies",
    )
    l1_penalty_factor: float = Field(
        0.0, ge=0.0, description="strength of the sparsity penalty on traces that look like an overlapping cell's"
    )
    trace_output_option: TraceOption = Field("baseline_adjusted", description="constraint of the final traces")
    trace_quantile: float = Field(
        0.25,
        ge=0.0,
        le=0.5,
        description="quantile of the unconstrained trace that baseline_adjusted may not go below; .5, the median, is "
        "nearer to the truth and makes one constant of half of the trace",
    )

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the preset's settings with ``values`` on top."""
        presets: dict[Preset, dict[str, Any]] = {
            "two_photon": {},
            # brighter, finer background; what is elongated is a vessel (section 4 of the original's tutorials)
            "one_photon": {"background_spacing": 3.0, "trace_background_spacing": 3.0, "max_eccentricity": 3.0},
        }
        return cls.from_values(presets[preset] | values)
