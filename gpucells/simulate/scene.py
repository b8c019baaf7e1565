"""Everything that a simulated movie shows, and how one frame of it is drawn.

    light(t) = vignette * shift_t[ still + sum_k change_k(t) image_k + sum_c trace_c(t) footprint_c ]

Vessels dim all that is in the brackets; the sensor adds its noise afterwards. A frame depends on nothing but the
settings and its number, so a movie is the same however it is cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.model.truth import Truth, largest_overlap
from gpucells.simulate.activity import make_activity
from gpucells.simulate.background import make_background, make_vessels, make_vignette
from gpucells.simulate.footprints import make_footprints
from gpucells.simulate.motion import make_shifts, shift_image
from gpucells.simulate.noise import Sensor, transient_amplitude
from gpucells.simulate.settings import SimulationSettings

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A simulated field of view; images in counts above the dark level.

    Parameters
    ----------
    settings : SimulationSettings
        What it was made from.
    footprints : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, dimmed by vessels but not by the optics; of a size that has maximum 1 once the
        optics have dimmed it, so that traces are those of the truth.
    traces : numpy.ndarray
        ``(n_cells, n_frames)`` float32, counts at the brightest pixel.
    still : numpy.ndarray
        ``(height, width)`` diffuse light and silent cells.
    images, changes : numpy.ndarray
        ``(rank, height, width)`` and ``(n_frames, rank)``: what changes slowly.
    vignette : numpy.ndarray
        ``(height, width)``.
    shifts : numpy.ndarray or None
        ``(n_frames, 2)`` px.
    sensor : Sensor
        Adds the noise.
    """

    settings: SimulationSettings
    footprints: sparse.csr_array
    traces: Float32
    still: Float32
    images: Float32
    changes: Float32
    vignette: Float32
    shifts: Float32 | None
    sensor: Sensor

    def draw(self, start: int, out: NDArray[Any]) -> None:
        """Write the frames from ``start`` on into ``out``, ``(n_frames, height, width)`` of the movie's type."""
        by_pixel = self.footprints.T  # a view: (n_pixels, n_cells)
        light, spare = np.empty((2, *self.still.shape), dtype=np.float32)
        for frame, samples in enumerate(out, start):
            light[:] = self.still
            for change, image in zip(self.changes[frame], self.images, strict=True):
                np.multiply(image, change, out=spare)
                light += spare
            light += (by_pixel @ self.traces[:, frame]).reshape(light.shape)
            if self.shifts is not None:
                shift_image(light, self.shifts[frame], spare)
                light, spare = spare, light
            light *= self.vignette
            self.sensor.record(light, frame, samples)


def make_scene(settings: SimulationSettings) -> tuple[Scene, Truth]:
    """Draw everything random but the noise, each kind of thing from its own stream of the seed.

    Returns
    -------
    tuple
        The scene and its truth; true footprints have maximum 1 as the camera sees them, true traces are in counts.
    """
    cells, spiking, diffuse, moving = (np.random.default_rng([settings.seed, stream]) for stream in (1, 2, 3, 4))
    drawn = make_footprints(settings, cells)
    n_cells = drawn.rows.shape[0]
    spikes, traces = make_activity(settings, n_cells, spiking)
    background = make_background(settings, diffuse)
    vessels, vignette = make_vessels(settings, diffuse), make_vignette(settings)
    amplitude = transient_amplitude(settings)

    brightness = amplitude * cells.lognormal(0, settings.brightness_spread, n_cells)
    resting = settings.resting_brightness * brightness * cells.uniform(0.3, 1.7, n_cells)
    footprints = _dimmed(drawn.rows, vessels)
    peak = _maxima(_dimmed(footprints, vignette))
    footprints = sparse.csr_array(sparse.diags_array(1 / peak) @ footprints, dtype=np.float32)
    traces *= (brightness * peak)[:, None].astype(np.float32)
    resting *= peak
    still = amplitude * background.still * vessels + (footprints.T @ resting).reshape(vessels.shape)
    scene = Scene(
        settings=settings,
        footprints=footprints,
        traces=traces,
        still=still.astype(np.float32),
        images=np.asarray(amplitude * background.images * vessels, dtype=np.float32),
        changes=background.changes,
        vignette=vignette,
        shifts=make_shifts(settings, moving) if settings.motion_px > 0 else None,
        sensor=Sensor.from_settings(settings),
    )
    return scene, _truth(scene, spikes, drawn.at_border)


def _maxima(footprints: sparse.csr_array) -> NDArray[np.float64]:
    if 0 in footprints.shape:
        return np.zeros(footprints.shape[0])
    return np.maximum(np.asarray(footprints.max(axis=1).todense(), dtype=np.float64).ravel(), 1e-6)


def _truth(scene: Scene, spikes: Float32, at_border: NDArray[np.bool_]) -> Truth:
    footprints = _dimmed(scene.footprints, scene.vignette)
    noise = scene.sensor.noise_std(scene.still * scene.vignette).ravel()
    matched = np.sqrt(footprints.multiply(footprints) @ (1 / noise.astype(np.float64) ** 2))
    return Truth(
        footprints=footprints,
        traces=scene.traces,
        image_shape=scene.settings.shape[1:],
        spikes=spikes,
        snr=(scene.traces.max(axis=1, initial=0) * matched).astype(np.float32),
        max_overlap=largest_overlap(footprints),
        at_border=at_border,
    )


def _dimmed(footprints: sparse.csr_array, through: Float32) -> sparse.csr_array:
    dimmed = footprints.copy()
    dimmed.data = (dimmed.data * through.ravel()[dimmed.indices]).astype(np.float32)
    return dimmed
