"""Settings that methods share, because they share what is done: finding, cutting and judging candidates."""

from __future__ import annotations

from pydantic import Field

from gpucells.settings import Settings


class CandidateSettings(Settings):
    """Settings of the steps that methods share; lengths are in units of the cell radius unless they say otherwise."""

    downsample_time_by: int | None = Field(
        None,
        ge=1,
        description="frames averaged into one for finding and refining; from the transients' decay if not given",
    )
    min_tau_after_downsampling: float = Field(
        5.0, gt=0, description="frames that a transient's decay keeps after averaging (frames)"
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
    search_after_init: bool = Field(
        True,
        description="look for the cells that footprints or seeds lack which a run starts from, in what those leave of "
        "the movie; PCA-ICA's analysis is of the whole movie either way",
    )
    cellfind_max_rounds: int = Field(300, ge=1, description="batches of seeds at most")
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
    busy_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="how far below its median the baseline of a mostly active cell may be, as a share of the way to "
        "its 5 % quantile; swings above it are no noise",
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
