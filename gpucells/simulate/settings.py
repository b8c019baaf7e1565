"""What a simulated movie is made of: every number, declared once."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from gpucells.errors import SettingsError
from gpucells.settings import Preset, Settings

Positive = Annotated[int, Field(ge=1)]


class SimulationSettings(Settings):
    """All settings of a simulation; the defaults are those of a two-photon recording.

    Strengths are relative to one number, the amplitude of a typical transient at the brightest pixel of a typical
    cell, which ``snr`` fixes in units of that pixel's noise.
    """

    kind: Preset = Field("two_photon", description="recording type")
    shape: tuple[Positive, Positive, Positive] = Field((1000, 128, 128), description="frames, height, width")
    frame_rate_hz: float = Field(10.0, gt=0, description="frames a second")
    seed: int = Field(0, ge=0, description="seed of everything random")
    dtype: Literal["uint8", "uint16", "float32"] = Field("uint16", description="type of the samples")

    n_cells: int | None = Field(None, ge=0, description="number of cells; by the image's area where not given")
    cell_diameter_px: float = Field(12.0, ge=2, description="typical width of a cell at half its brightness")
    diameter_spread: float = Field(0.12, ge=0, lt=1, description="widths differ by up to this fraction, up and down")
    ring: float = Field(0.5, ge=0, le=1, description="how dark the nucleus may be: 0 discs, 1 rings (two-photon only)")
    halo: float = Field(0.0, ge=0, le=1, description="brightness of the scattered light around a cell")
    min_distance: float = Field(0.8, ge=0, description="smallest distance of two centres, in cell diameters")

    snr: float = Field(5.0, gt=0, description="a typical transient at the brightest pixel over that pixel's noise")
    brightness_spread: float = Field(0.25, ge=0, le=2, description="log-normal spread between cells")
    amplitude_spread: float = Field(0.25, ge=0, le=2, description="log-normal spread between events of one cell")
    event_rate_hz: float = Field(0.1, gt=0, description="events a second of a typical cell")
    rate_spread: float = Field(0.4, ge=0, le=2, description="log-normal spread between cells")
    rise_s: float = Field(0.07, ge=0, description="time constant of the rise (GCaMP6f: 0.05 to 0.1 s)")
    decay_s: float = Field(0.8, gt=0, description="time constant of the decay (GCaMP6f: 0.4 to 1 s)")

    background: float = Field(2.0, ge=0, description="brightness of diffuse light, in amplitudes of a transient")
    background_change: float = Field(0.15, ge=0, description="its slow change (std), in amplitudes of a transient")
    background_scale: float = Field(2.0, gt=0, description="size of what changes together, in cell diameters")
    resting_brightness: float = Field(0.6, ge=0, description="a silent cell's brightness, in amplitudes of a transient")
    vessels: int = Field(1, ge=0, description="number of dark vessels")
    vignetting: float = Field(0.1, ge=0, lt=1, description="loss of light in the corners")
    motion_px: float = Field(0.0, ge=0, description="rigid motion (std a direction)")

    gain: float = Field(1.0, ge=0, description="counts a photon; 0 for noise that does not depend on brightness")
    read_noise: float = Field(4.0, gt=0, description="noise of the sensor (counts, std)")
    correlated_noise: float = Field(
        0.0, ge=0, le=1, description="part of the noise (std) shared by neighbouring pixels"
    )
    dark_level: float = Field(20.0, ge=0, description="counts without light")

    @classmethod
    def for_kind(cls, kind: str, values: dict[str, Any]) -> Self:
        """Take the defaults of a recording type, then ``values``.

        Raises
        ------
        SettingsError
            An unknown kind or name, or a value out of range.
        """
        if kind not in DEFAULTS:
            raise SettingsError(f"kind = {kind!r} is not simulated", f"known: {', '.join(DEFAULTS)}")
        return cls.from_values({"kind": kind} | DEFAULTS[kind] | values)

    @property
    def cell_count(self) -> int:
        """Number of cells: as asked for, or one to 2.5 (two-photon: 3) squared diameters."""
        if self.n_cells is not None:
            return self.n_cells
        density = {"two_photon": 1 / 3, "one_photon": 1 / 2.5}[self.kind]
        return round(density * self.shape[1] * self.shape[2] / self.cell_diameter_px**2)


DEFAULTS: dict[str, dict[str, Any]] = {
    "two_photon": {},
    # scattered, out-of-focus light: soft cells with a halo on a background ten times as bright as they are
    "one_photon": {
        "frame_rate_hz": 20.0,
        "ring": 0.0,
        "halo": 0.12,
        "min_distance": 0.7,
        "snr": 4.0,
        "background": 10.0,
        "background_change": 0.4,
        "background_scale": 4.0,
        "resting_brightness": 0.5,
        "vessels": 4,
        "vignetting": 0.45,
    },
}
