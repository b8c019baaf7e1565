"""Settings of PCA-ICA: numbers of components, the mixture of space and time, segmentation, traces.

``docs/methods/pcaica.md`` has the names that CellSort and CIAtah give them.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gpucells.candidates.independent_settings import IndependentSettings
from gpucells.errors import SettingsError
from gpucells.factorisation.settings import RingSettings
from gpucells.settings import Preset

SMALL = 1.0  # byte a pixel and frame for all that is small beside the movie: what tiles are planned with


class PcaicaSettings(IndependentSettings, RingSettings):
    """Settings of PCA-ICA; lengths are in units of the cell radius unless their name says otherwise."""

    whole_field: bool = Field(
        False, description="one analysis of the whole image, however large, instead of one a tile"
    )
    traces: Literal["regression", "filters"] = Field(
        "regression",
        description="traces by least squares on a background; or what unmixing filters gather of the movie",
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

    def bytes_per_sample_on_disk(self, radius_px: float) -> float:
        """Return what is in memory for each pixel and frame where the movie itself is in a file.

        Parameters
        ----------
        radius_px : float
            Cell radius (px).
        """
        side = self.side_of_squares(radius_px)
        return SMALL + (0 if side == 1 else 8 / side**2)  # float32 squares, and once more as they are centred

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
