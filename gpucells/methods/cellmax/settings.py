"""Settings of the CELLMax-style EM: those of traces and their background, how photons are counted, and EM.

``docs/methods/cellmax.md`` has the names that CIAtah gives them.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gpucells.errors import SettingsError
from gpucells.factorisation.settings import RingSettings
from gpucells.settings import Preset


class CellmaxSettings(RingSettings):
    """Settings of the CELLMax-style EM; lengths are in units of the cell radius unless their name says otherwise."""

    init_method: Literal["peaks", "grid", "ica"] = Field(
        "peaks",
        description="where EM starts if no footprints are given: spots brighter than noise, a hexagonal grid, or the "
        "cells of PCA-ICA's components, at its defaults",
    )
    searches: int = Field(
        1, ge=1, le=10, description="times that peaks are looked for: in the movie, and in what the cells found leave"
    )
    grid_spacing: float = Field(1.5, ge=0.5, le=10.0, description="distance of neighbouring discs of the grid")
    grid_width: float = Field(1.0, ge=0.3, le=5.0, description="radius of the grid's discs")
    support_growth: float = Field(
        1.0, ge=0.0, le=4.0, description="how far beyond its start an image may have light; 1: a disc of two radii"
    )
    noise: Literal["per_pixel", "global"] = Field(
        "per_pixel", description="unit of the counts: each pixel's own noise, or the median pixel's for all"
    )
    threshold_sigmas: float = Field(
        -2.0,
        ge=-10.0,
        le=10.0,
        description="brightness from which on light is counted (noises); below 0 most of the noise is counted too, as "
        "a pedestal that the background takes up, and clipping biases nothing",
    )
    photons_per_sigma: float = Field(10.0, gt=0.0, description="counts to one noise, with quantize")
    quantize: bool = Field(False, description="round counts down to whole photons")
    background_spacing: float = Field(
        4.0, ge=1.0, le=50.0, description="distance of the nodes of EM's own smooth background"
    )
    min_iter: int = Field(10, ge=1, le=1000, description="least rounds of EM with all frames")
    max_iter: int = Field(30, ge=1, le=1000, description="most rounds of EM with all frames")
    event_iter: int = Field(
        60, ge=0, le=1000, description="most rounds in which each image sees the frames of its own events only"
    )
    relaxation: float = Field(
        1.9, ge=1.0, lt=2.0, description="power of EM's factors: 1 is EM, more takes longer steps of the same kind"
    )
    max_delta: float = Field(
        0.0002, ge=0.0, description="change of a round, of the likelihood's gain and of the images, at which EM stops"
    )
    frames_fraction: float = Field(
        0.3, gt=0.0, le=1.0, description="share of the averaged frames that a round sees, but frames_least at least"
    )
    frames_least: int = Field(3000, ge=1, description="averaged frames that a round sees at least")
    elimination: float = Field(
        0.005,
        ge=0.0,
        lt=1.0,
        description="brightest moment, relative to the brightest component's, that one must reach",
    )
    merge_correlation: float = Field(
        0.8, gt=0.0, le=1.0, description="correlation of EM's traces above which components may be one"
    )
    merge_distance: float = Field(0.5, ge=0.0, le=4.0, description="distance of centres below which they may be one")
    merge_overlap: float = Field(0.3, ge=0.0, le=1.0, description="light in common from which on they may be one")
    movie_correlation: float | None = Field(
        None,
        ge=-1.0,
        le=1.0,
        description="least correlation of an image with the movie at its brightest events; what the traces' deepest "
        "dips reach, if not given",
    )
    nonnegative_traces: bool = Field(
        True, description="no final trace is below its own baseline; otherwise plain least squares"
    )
    probability_iter: int = Field(
        20, ge=0, le=1000, description="rounds of EM for the scaled probability at full rate; 0: the deconvolved trace"
    )

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if self.min_iter > self.max_iter:
            raise SettingsError(
                f"min_iter = {self.min_iter} is more than max_iter = {self.max_iter}", "give min_iter <= max_iter"
            )
        return self

    @classmethod
    def for_preset(cls, preset: Preset, values: dict[str, Any]) -> Self:
        """Return the preset's settings with ``values`` on top."""
        presets: dict[Preset, dict[str, Any]] = {
            "two_photon": {"ring": False},
            "one_photon": {
                "max_eccentricity": 3.0,
                "busy_share": 0.5,
                "keep_out_of_focus": False,
                "keep_cut_cells": False,
                "echo_correlation": 0.5,
            },
        }
        return cls.from_values(presets[preset] | values)
