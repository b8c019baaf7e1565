"""Settings of CNMF: those of every factorisation, and how cells are looked for.

``docs/methods/cnmf.md`` has CaImAn's name beside each.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gpucells.errors import SettingsError
from gpucells.factorisation.settings import FactorisationSettings
from gpucells.settings import Preset

Init = Literal["greedy_roi", "sparse_nmf", "graph_nmf", "compressed_nmf"]


class CnmfSettings(FactorisationSettings):
    """Settings of CNMF; lengths are in units of the cell radius unless their name says otherwise."""

    init: Init = Field("greedy_roi", description="how cells are looked for; greedy_roi finds their number by itself")

    @model_validator(mode="after")
    def _knows_how_many(self) -> Self:
        if self.init != "greedy_roi" and self.n_cells == "auto":
            raise SettingsError(
                f"init = {self.init!r} with n_cells = 'auto'",
                "a factorisation is told how many cells there are at most: set n_cells, or init='greedy_roi'",
            )
        return self

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the preset's settings with ``values`` on top."""
        presets: dict[Preset, dict[str, Any]] = {"two_photon": {}, "one_photon": {"max_eccentricity": 3.0}}
        return cls.from_values(presets[preset] | values)
