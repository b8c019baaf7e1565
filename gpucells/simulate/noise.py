"""What the sensor adds: photon noise, read noise, noise shared by neighbours, and whole numbers.

Photon noise is drawn from the normal distribution with the Poisson's variance; the two differ little above some ten
photons a pixel, and below that read noise dominates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]
STREAM = 5  # of the seed; 1 to 4 are drawn by the scene


def transient_amplitude(settings: SimulationSettings) -> float:
    """Return the amplitude (counts) that is ``snr`` times the noise of a pixel with the mean diffuse light.

    With ``a = snr * sigma`` and ``sigma^2 = gain * background * a + read_noise^2``, sigma solves a quadratic.
    """
    slope = settings.gain * settings.background * settings.snr
    sigma = (slope + np.sqrt(slope**2 + 4 * settings.read_noise**2)) / 2
    return float(settings.snr * sigma)


@dataclass(frozen=True)
class Sensor:
    """Turns light into samples; each frame has its own random stream, so that the order of frames does not matter."""

    seed: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    gain: float
    read_noise: float
    dark_level: float
    correlated: float
    grid_px: float

    @classmethod
    def from_settings(cls, settings: SimulationSettings) -> Sensor:
        """Take what the sensor needs from the settings."""
        return cls(
            seed=settings.seed,
            shape=settings.shape[1:],
            dtype=np.dtype(settings.dtype),
            gain=settings.gain,
            read_noise=settings.read_noise,
            dark_level=settings.dark_level,
            correlated=settings.correlated_noise,
            grid_px=settings.cell_diameter_px,
        )

    def noise_std(self, light: Float32) -> Float32:
        """Return the noise (counts, std) at a brightness (counts above the dark level)."""
        variance = np.maximum(light, 0, dtype=np.float32)
        variance *= np.float32(self.gain)
        variance += np.float32(self.read_noise**2)
        return np.sqrt(variance, out=variance)

    def record(self, light: Float32, frame: int, out: NDArray[Any]) -> None:
        """Write the samples of one frame.

        Parameters
        ----------
        light : numpy.ndarray
            ``(height, width)`` float32, counts above the dark level.
        frame : int
            Which frame it is: picks the random stream.
        out : numpy.ndarray
            ``(height, width)`` of the movie's type.
        """
        rng = np.random.default_rng([self.seed, STREAM, frame])
        normal = rng.standard_normal(self.shape, dtype=np.float32)
        if self.correlated > 0:
            normal *= np.float32(np.sqrt(1 - self.correlated**2))
            normal += np.float32(self.correlated) * self._shared(rng)
        normal *= self.noise_std(light)
        normal += light
        normal += np.float32(self.dark_level)
        if self.dtype.kind == "u":
            np.rint(normal, out=normal)
            np.clip(normal, 0, np.iinfo(self.dtype).max, out=normal)
        np.copyto(out, normal, casting="unsafe")

    def _shared(self, rng: np.random.Generator) -> Float32:
        """Return noise of std 1 that neighbours within a cell's width share: a coarse grid, interpolated."""
        rows, columns = (_interpolation(n, self.grid_px) for n in self.shape)
        coarse = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
        return np.asarray(rows @ coarse @ columns.T, dtype=np.float32)


def _interpolation(n: int, spacing: float) -> Float32:
    """Return ``(n, n_coarse)`` weights of linear interpolation, each row of Euclidean norm 1."""
    position = np.arange(n) / spacing
    weights = np.maximum(1 - np.abs(position[:, None] - np.arange(int(position[-1]) + 2)), 0)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)
