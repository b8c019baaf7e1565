"""Light that comes from no cell, and what dims the picture: diffuse light, vessels, vignetting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]

RANK = 6  # images that change on their own; together they make neuropil that changes from place to place
SLOW_S = {"two_photon": 1.5, "one_photon": 4.0}  # how long a change lasts (std of the smoothing kernel)


@dataclass(frozen=True)
class Background:
    """Diffuse light, relative to the amplitude of a typical transient.

    Parameters
    ----------
    still : numpy.ndarray
        ``(height, width)`` its mean.
    images : numpy.ndarray
        ``(rank, height, width)`` what changes together.
    changes : numpy.ndarray
        ``(n_frames, rank)`` how, each of mean 0 and std 1.
    """

    still: Float32
    images: Float32
    changes: Float32


def make_background(settings: SimulationSettings, rng: np.random.Generator) -> Background:
    """Draw a textured mean image and a low-rank, smooth, slow change whose std is ``background_change`` on average."""
    n_frames, height, width = settings.shape
    size = settings.background_scale * settings.cell_diameter_px
    fine = 0.12 * smooth_field((height, width), 1.2, rng) if settings.kind == "two_photon" else 0.0
    still = settings.background * np.exp(0.2 * smooth_field((height, width), size, rng) + fine)
    images = np.stack([np.ones((height, width)), *(smooth_field((height, width), size, rng) for _ in range(RANK - 1))])
    images *= settings.background_change / np.sqrt(np.mean(np.sum(images**2, axis=0)))
    frames = SLOW_S[settings.kind] * settings.frame_rate_hz
    changes = np.stack([_slow(n_frames, frames * speed, rng) for speed in np.geomspace(3, 0.5, RANK)], axis=1)
    return Background(still.astype(np.float32), images.astype(np.float32), changes.astype(np.float32))


def make_vessels(settings: SimulationSettings, rng: np.random.Generator) -> Float32:
    """Return the part of the light, ``(height, width)`` from 0 to 1, that gets past the vessels."""
    height, width = settings.shape[1:]
    through = np.ones((height, width))
    for _ in range(settings.vessels):
        radius = settings.cell_diameter_px * rng.uniform(0.12, 0.5)
        drawn = np.zeros((height, width))
        place, direction = rng.uniform(0, 1, 2) * (height, width), rng.uniform(0, 2 * np.pi)
        bends = gaussian_filter1d(rng.standard_normal(8 * (height + width)), 6 * radius) * 0.12 / np.sqrt(radius)
        for side in (0, np.pi):  # from one point both ways, until the vessel has left the image
            path = direction + side + np.cumsum(bends if side else -bends[::-1])
            steps = np.round(place + 0.5 * np.cumsum(np.stack([np.sin(path), np.cos(path)], axis=1), axis=0))
            rows, columns = steps.astype(np.int64).T
            gone = np.flatnonzero((rows < 0) | (rows >= height) | (columns < 0) | (columns >= width))
            stop = gone[0] if len(gone) else len(rows)
            drawn[rows[:stop], columns[:stop]] = 1
        blurred = gaussian_filter(drawn, radius)
        through *= 1 - rng.uniform(0.4, 0.7) * np.minimum(blurred * radius * 2.0, 1)
    return through.astype(np.float32)


def make_vignette(settings: SimulationSettings) -> Float32:
    """Return the part of the light, ``(height, width)`` from 0 to 1, that the optics let through: 1 in the middle."""
    height, width = settings.shape[1:]
    rows = np.linspace(-1, 1, height)[:, None] if height > 1 else np.zeros((1, 1))
    columns = np.linspace(-1, 1, width)[None] if width > 1 else np.zeros((1, 1))
    return np.asarray(1 - settings.vignetting * (rows**2 + columns**2) / 2, dtype=np.float32)


def smooth_field(shape: tuple[int, int], size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random image of mean 0 and std 1.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)``.
    size : float
        About how wide its features are (px).
    rng : numpy.random.Generator
        Where chance comes from.
    """
    return _standard(gaussian_filter(rng.standard_normal(shape), size / 2, mode="reflect"))


def _slow(n_frames: int, frames: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return _standard(gaussian_filter1d(rng.standard_normal(n_frames), frames, mode="reflect", truncate=3))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-12))
