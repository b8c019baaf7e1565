"""Settings of EXTRACT: each declared once, with unit, range, default and reason.

``docs/methods/extract.md`` has the original's name beside each, and what became of those that are not here.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from gpucells.settings import Preset, Settings

TraceOption = Literal[
    "baseline_adjusted", "nonneg", "no_constraint", "least_squares", "nonnegative_least_squares", "none"
]


class ExtractSettings(Settings):
    """Settings of EXTRACT; lengths are in units of the cell radius unless their name says otherwise."""

    downsample_time_by: int | None = Field(
        None,
        ge=1,
        description="frames averaged into one for finding and refining; from the transients' decay if not given",
    )
    min_tau_after_downsampling: float = Field(
        5.0, gt=0, description="frames that a transient's decay keeps after averaging (frames)"
    )
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
    baseline_quantile: float = Field(
        0.5, ge=0.0, le=1.0, description="quantile of a pixel's trace that is its baseline"
    )
    spatial_lowpass_cutoff: float = Field(
        2.0, gt=0.0, description="corner of the finding filter, as a multiple of the cells' own corner frequency"
    )
    cellfind_min_snr: float | None = Field(
        None,
        gt=0.0,
        description="seed brightness in units of the filtered noise; what noise alone reaches if not given",
    )
    cellfind_kappa_std_ratio: float = Field(0.7, gt=0.0, description="kappa of the seed fits, in units of the noise")
    cellfind_numpix_threshold: int = Field(9, ge=1, description="pixels that a bright spot needs to be a seed")
    cellfind_max_rounds: int = Field(300, ge=1, description="batches of seeds at most")
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
    footprint_z: float = Field(2.0, ge=0.0, description="standard errors that a footprint's pixel must be above zero")
    smooth_footprints: bool = Field(
        True, description="smooth a footprint as far as its noise, known from the regression, explains its roughness"
    )
    min_snr: float = Field(
        6.0, ge=0.0, description="peak of a trace over its noise and its share of the neighbours' light"
    )
    neighbour_error: float = Field(
        0.15, ge=0.0, le=1.0, description="relative error of the neighbours' light in a footprint, for min_snr"
    )
    min_size: float = Field(0.1, ge=0.0, description="smallest area above a fifth of the maximum, in pi radius^2")
    max_size: float = Field(10.0, gt=0.0, description="largest area above a fifth of the maximum, in pi radius^2")
    max_eccentricity: float = Field(6.0, gt=1.0, description="largest ratio of the axes")
    max_spatial_corruption: float | None = Field(
        None,
        gt=0.0,
        description="largest roughness of a footprint relative to its contrast (the original's measure, "
        "1.5 there); off because noise alone raises it",
    )
    echo_correlation: float = Field(
        0.7,
        gt=0.0,
        le=1.0,
        description="correlation of the transients with a brighter neighbour's above which a dim candidate is its echo",
    )
    dendrite_aware: bool = Field(False, description="let any size and shape pass")
    duplicate_correlation: float = Field(
        0.8, gt=0.0, le=1.0, description="correlation of the transients above which touching cells are one"
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
