"""Settings of independent components and of the cells in their images, which PCA-ICA and starts by it share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gpucells.candidates.settings import CandidateSettings

Count = Annotated[int, Field(ge=1)] | Literal["auto"]


class IndependentSettings(CandidateSettings):
    """Settings of PCA-ICA's components; lengths are in units of the cell radius unless their name says otherwise."""

    binning: float = Field(
        0.7, ge=0.0, le=1.5, description="side of the squares of pixels that components are found in; 0: single pixels"
    )
    n_pcs: Count = Field("auto", description="principal components; auto: as many as stand out of the noise")
    n_ics: Count = Field("auto", description="independent components; auto: as many as there are principal ones")
    mu: float = Field(
        0.1, ge=0.0, le=1.0, description="share of time in what is made independent: 0 images alone, 1 traces alone"
    )
    mu_convention: Literal["ciatah", "unitvar"] = Field(
        "ciatah",
        description="scales that mu weighs: images and traces of norm 1 (CIAtah's); or of variance 1",
    )
    contrast: Literal["skew", "tanh", "cube"] = Field("skew", description="what is maximised")
    algorithm: Literal["fixed_point", "picard"] = Field(
        "fixed_point", description="how; picard: with contrast tanh alone, and the package of the extra picard"
    )
    term_tol: float = Field(5e-6, gt=0.0, description="change of the components that stand out at which rounds end")
    max_iter: int = Field(1000, ge=1, description="rounds at most")
    seed: int = Field(0, ge=0, description="of what components start from; the run's where it is not given")
    segment_smoothing: float = Field(
        0.3,
        ge=0.0,
        le=2.0,
        description="standard deviation of the Gaussian that images are smoothed by, to segment them",
    )
    segment_z: float | None = Field(
        None,
        gt=0.0,
        description="noises that a segment's brightest pixel needs; what noise alone reaches in an image if not given",
    )
    segment_share: float = Field(
        0.3, ge=0.0, le=1.0, description="share of a component's maximum that a second segment of its image needs"
    )

    def side_of_squares(self, radius_px: float) -> int:
        """Return how many pixels a square's side has, for a cell radius (px)."""
        return max(1, int(self.binning * radius_px))
