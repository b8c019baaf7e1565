"""Bright spots of a movie, found and measured as cells of one trial width.

The frames are band-passed for the trial width, every pixel put in units of its noise, and the spots that outshine the
noise fitted with one image and one trace each (:mod:`gpucells.ops.seed_fits`). A spot's width is that of the part of
its image above :data:`LEVEL` of the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.seed_fits import fit_seeds
from gpucells.ops.seeds import pick_seeds
from gpucells.preprocess.probe_frames import ProbeFrames
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

LEVEL = 0.3  # of a spot's maximum: where the edge of a cell is drawn, see `Estimate`
UPPER_LEVEL = 0.5  # the width there over that at LEVEL says how sharp the edges are
# What the band-pass made for a cell leaves of its width at LEVEL: of Gaussians, discs and rings of 5 to 31 px it leaves
# .88, .99 and 1.05, while the ratio of the two widths is .77, .88 and .92.
SOFT, SHARP = 0.77, 0.93
KEPT_OF_SOFT, KEPT_SLOPE = 0.88, 1.0
HIGHPASS, LOWPASS = 5.0, 2.0  # EXTRACT's band for finding (Inan et al. 2021)
LOWEST_PEAK = 2.0  # of `Spots.peaks`: noise goes as far down as up, to about 1
RANK = 3  # the frame, from the brightest and from the darkest, that counts: a cosmic ray is over by then
FEWEST_FRAMES = 24  # whose noise can be known
THRESHOLD = 6.0  # of two frames together, in units of the noise: noise reaches 5.5 once in 10^7 samples
KAPPA = 1.0  # of the robust fit, in units of the noise
MAX_SEEDS = 60
SMALLEST_PX = 2.0  # trials below the distance of pixels filter nothing
NOISE_FRAMES = 160  # enough to know a noise to 8 %
QUIETEST = 0.3  # a pixel's noise counts as at least this share of the median
COARSEST = 4.0  # binned pixels across a cell that are enough to measure it
WINDOW = 1.25  # half a fit's window, in cell widths: a cell, its halo, and half its neighbour


@dataclass(frozen=True)
class Spots:
    """Bright spots at one trial width, brightest first.

    Parameters
    ----------
    trial_px : float
        The width that the frames were filtered for.
    pitch : int
        Pixels of the movie averaged into one along each side.
    centres : numpy.ndarray
        ``(n, 2)`` int64, row and column (px of the movie).
    images : numpy.ndarray
        ``(n, side, side)`` float32 on averaged pixels, maximum 1, the centre in the middle.
    widths_px : numpy.ndarray
        ``(n,)`` width at :data:`LEVEL`, corrected for what the filter does (px of the movie).
    peaks : numpy.ndarray
        ``(n,)`` how much farther the trace goes up than down, in units of the noise of the filtered movie; above
        :data:`LOWEST_PEAK`. Cells go up; background, motion and noise go both ways.
    """

    trial_px: float
    pitch: int
    centres: NDArray[np.int64]
    images: Float32
    widths_px: Float64
    peaks: Float64


def find_spots(probe: ProbeFrames, trial_px: float) -> Spots:
    """Fit the brightest spots of a movie filtered for cells of one width.

    Parameters
    ----------
    probe : ProbeFrames
        The movie.
    trial_px : float
        Width to filter for (px); taken as 2 px or the image's shorter side where it is beyond them.
    """
    trial_px = float(np.clip(trial_px, SMALLEST_PX, max(SMALLEST_PX, min(probe.inside.shape))))
    pitch = 1 << max(0, int(np.log2(trial_px / COARSEST)))
    frames, inside, corner = probe.binned(pitch)
    size = trial_px / pitch
    half = int(np.ceil(WINDOW * size))
    images, seeds = np.zeros((0, 1, 1), np.float32), np.zeros((0, 2), np.int64)
    movie, live = _whitened(frames, inside, size)
    if movie.size:
        score = np.where(live, (movie[..., 1:] + movie[..., :-1]).max(axis=2) / np.float32(2**0.5), 0)
        seeds = pick_seeds(score.astype(np.float32), THRESHOLD, 1, max(1, round(0.75 * size)))[:MAX_SEEDS]
    if len(seeds):
        fits = fit_seeds(movie, live, seeds, half, KAPPA)
        fitted = np.flatnonzero((fits.areas > 0) & (fits.images.max(axis=(1, 2)) > LEVEL))
        images, seeds = fits.images[fitted], seeds[fitted]
    peaks = np.asarray([_peak(movie, s - half, image) for s, image in zip(seeds, images, strict=True)], np.float64)
    real = peaks > LOWEST_PEAK
    images, seeds, peaks = images[real], seeds[real], peaks[real]
    centres = seeds * pitch + pitch // 2 + np.asarray(corner)
    return Spots(trial_px, pitch, centres, images, pitch * _widths(images, peaks), peaks)


def _whitened(frames: Float32, inside: Bool, size: float) -> tuple[Float32, Bool]:
    """Band-passed frames as ``(height, width, n_frames)`` in units of the noise, and the pixels that have any."""
    n_frames, height, width = frames.shape
    if n_frames < FEWEST_FRAMES or not inside.any():
        return np.zeros((height, width, 0), np.float32), inside
    filtered = SpatialFilter(height, width, size / 2, HIGHPASS, LOWPASS).apply(frames)
    movie = np.ascontiguousarray(filtered.transpose(1, 2, 0))
    noise = difference_noise(movie[..., :NOISE_FRAMES])
    live = inside & (noise > 0)
    if not live.any():
        return np.zeros((height, width, 0), np.float32), live
    noise = np.maximum(noise, np.float32(QUIETEST * np.median(noise[live])))
    movie /= noise[..., None]
    return movie, live


def _peak(movie: Float32, corner: NDArray[np.int64], image: Float32) -> float:
    rows, columns = np.nonzero(image > LEVEL)
    weights = image[rows, columns]
    trace = np.sort(weights @ movie[rows + corner[0], columns + corner[1]]) / (weights @ weights)
    rank = min(RANK, 1 + len(trace) // 40)
    return float(max(0.0, trace[-rank] + trace[rank - 1]))


def _widths(images: Float32, peaks: Float64) -> Float64:
    """Widths in averaged pixels, corrected for what the filter makes of shapes as sharp as these are on the whole."""
    if not peaks.any():
        return np.zeros(len(peaks))
    outer = np.sqrt([_area(image, LEVEL) for image in images])
    inner = np.sqrt([_area(image, UPPER_LEVEL) for image in images])
    sharpness = float(np.clip(weighted_median(inner / outer, peaks), SOFT, SHARP))
    kept = KEPT_OF_SOFT + KEPT_SLOPE * (sharpness - SOFT)
    return np.asarray(2 / np.sqrt(np.pi) * outer / kept, np.float64)


def _area(image: Float32, level: float) -> float:
    """Pixels of the part above a share of the maximum, holes filled, a pixel on the edge by the share it has above."""
    top = np.unravel_index(int(image.argmax()), image.shape)
    threshold = level * image[top]
    labels, _ = ndimage.label(image > threshold)
    part = ndimage.binary_fill_holes(labels == labels[top])
    within = ndimage.binary_erosion(part)
    edge = ndimage.binary_dilation(part) & ~within
    slope = np.hypot(*np.gradient(image))[edge]
    above = np.clip((image[edge] - threshold) / np.maximum(slope, 1e-6 * image[top]) + 0.5, 0, 1)
    return float(within.sum() + above.sum())


def weighted_median(values: Float64, weights: Float64) -> float:
    """Return the value with half of the weight on either side."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
