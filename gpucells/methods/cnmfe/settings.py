"""Settings of CNMF-E: those of every factorisation, its seeds, and its ring.

``docs/methods/cnmfe.md`` has the names that CaImAn, CNMF_E and Inscopix give them.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from gpucells.factorisation.settings import FactorisationSettings, RingSettings
from gpucells.settings import Preset


class CnmfeSettings(RingSettings, FactorisationSettings):
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
