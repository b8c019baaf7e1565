"""Settings of CNMF-E: those of every factorisation, its seeds, and its ring.

``docs/methods/cnmfe.md`` has the names that CaImAn, CNMF_E and Inscopix give them.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from gpucells.factorisation.ring import RingShape
from gpucells.factorisation.settings import FactorisationSettings
from gpucells.settings import Preset


class CnmfeSettings(FactorisationSettings):
    """Settings of CNMF-E; lengths are in units of the cell radius unless their name says otherwise."""

    min_corr: float | None = Field(
        None,
        ge=-1.0,
        le=1.0,
        description="local correlation that a seed needs; what the negated movie, which has no cells, does not reach, "
        "if not given",
    )
    min_pnr: float | None = Field(
        None, ge=0.0, description="peak over noise that a seed needs; from the negated movie if not given"
    )
    searches: int = Field(
        3,
        ge=1,
        le=10,
        description="times that cells are looked for: by seeds, in what those leave of the movie, and after each round "
        "in what the whole model leaves",
    )
    echo_correlation: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="correlation of the transients with a brighter neighbour's above which a dim candidate needs some "
        "of its own",
    )
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

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the preset's settings with ``values`` on top."""
        presets: dict[Preset, dict[str, Any]] = {
            "two_photon": {},
            "one_photon": {
                "max_eccentricity": 3.0,
                "busy_share": 0.5,
                "keep_out_of_focus": False,
                "keep_cut_cells": False,
            },
        }
        return cls.from_values(presets[preset] | values)
