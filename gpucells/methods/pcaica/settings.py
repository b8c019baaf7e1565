"""Settings of PCA-ICA: numbers of components, the mixture of space and time, segmentation, traces.

``docs/methods/pcaica.md`` has the names that CellSort and CIAtah give them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gpucells.errors import SettingsError
from gpucells.factorisation.settings import RingSettings
from gpucells.settings import Preset

Count = Annotated[int, Field(ge=1)] | Literal["auto"]


class PcaicaSettings(RingSettings):
    """Settings of PCA-ICA; lengths are in units of the cell radius unless their name says otherwise."""

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
    whole_field: bool = Field(
        False, description="one analysis of the whole image, however large, instead of one a tile"
    )
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
    traces: Literal["regression", "filters"] = Field(
        "regression", description="traces by least squares on a background; or what a footprint gathers, as CellSort's"
    )
    output_units: Literal["fl", "std", "2norm", "var"] = Field(
        "fl", description="traces in the movie's units at the brightest pixel; or divided by deviation, norm, variance"
    )

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        if isinstance(self.n_pcs, int) and isinstance(self.n_ics, int) and self.n_ics > self.n_pcs:
            raise SettingsError(
                f"n_ics = {self.n_ics} of n_pcs = {self.n_pcs}", "independent components are made of principal ones"
            )
        if self.algorithm == "picard" and self.contrast != "tanh":
            raise SettingsError(f"algorithm = 'picard' with contrast = {self.contrast!r}", "it goes with tanh")
        return self

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the preset's settings with ``values`` on top."""
        presets: dict[Preset, dict[str, Any]] = {
            "two_photon": {"ring": False},
            "one_photon": {
                "max_eccentricity": 3.0, "busy_share": 0.5, "keep_out_of_focus": False, "keep_cut_cells": False,
            },
        }  # fmt: skip
        return cls.from_values(presets[preset] | values)
