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
from gpucells.ops.fold_frames import PixelSummary, fold_frames
from gpucells.ops.row_blocks import each_block
from gpucells.ops.seed_fits import fit_seeds
from gpucells.ops.seeds import pick_seeds
from gpucells.preprocess.probe_frames import PIXELS, ProbeFrames
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

LEVEL = 0.3  # of a spot's maximum: where the edge of a cell is drawn, see `Estimate`
UPPER_LEVEL = 0.5  # the width there over that at LEVEL says how sharp the edges are
# What the band-pass made for a cell leaves of its width at LEVEL: of lone Gaussians, discs and rings of 5 to 31 px it
# leaves .88, .99 and 1.05, while the ratio of the two widths is .77, .88 and .92; of cells among others and in noise
# (58 simulated movies, soft and sharp, from two simulators) 2 to 4 % less, which is what counts.
SOFT, SHARP = 0.77, 0.93
KEPT_OF_SOFT, KEPT_SLOPE = 0.865, 0.8
HIGHPASS, LOWPASS = 5.0, 2.0  # EXTRACT's band for finding (Inan et al. 2021)
LOWEST_PEAK = 2.0  # of `Spots.peaks`: noise goes as far down as up, to about 1
RANK = 3  # the frame, from the brightest and from the darkest, that counts: a cosmic ray is over by then
FEWEST_FRAMES = 24  # whose noise can be known
CHUNK = 64  # frames filtered at once
THRESHOLD = 6.0  # of two frames together, in units of the noise: noise reaches 5.5 once in 10^7 samples
KAPPA = 1.0  # of the robust fit, in units of the noise
MAX_SEEDS = 60
SMALLEST_PX = 2.0  # trials below the distance of pixels filter nothing
NOISE_FRAMES = 160  # enough to know a noise to 8 %
QUIETEST = 0.3  # a pixel's noise counts as at least this share of the median
COARSEST = 4.0  # binned pixels across a cell that are enough to measure it
CUT = 0.125  # share of a spot's outline that may lie outside the image or the mask: a dead pixel is no border
CROSS = np.zeros((3, 3, 3), np.bool_)  # the four neighbours within each image of a stack
CROSS[1] = ndimage.generate_binary_structure(2, 1)
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
    rises : numpy.ndarray
        ``(n,)`` the same as a share: 1 for a trace that only goes up, 0 for one that goes down as far.
    whole : numpy.ndarray
        ``(n,)`` bool, spots that the border of the image or of the mask does not cut.
    """

    trial_px: float
    pitch: int
    centres: NDArray[np.int64]
    images: Float32
    widths_px: Float64
    peaks: Float64
    rises: Float64
    whole: Bool

    @property
    def weights(self) -> Float64:
        """``(n,)`` how much each says of the typical cell; from the middle on, brightness does not count.

        The brightest cells lie in focus and look narrower than most, and the brightest spot may be no cell.
        """
        return np.minimum(self.peaks, np.median(self.peaks))

    def pick(self, which: Bool) -> Spots:
        """Return some of the spots."""
        return Spots(
            self.trial_px, self.pitch, self.centres[which], self.images[which], self.widths_px[which],
            self.peaks[which], self.rises[which], self.whole[which],
        )  # fmt: skip


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
        score = np.empty(live.shape, np.float32)

        def rate(some: slice) -> None:
            score[some] = (movie[some, :, 1:] + movie[some, :, :-1]).max(axis=2) / np.float32(2**0.5)

        each_block(score, rate, max(1, PIXELS // max(1, live.shape[1])))
        score[~live] = 0
        seeds = pick_seeds(score, THRESHOLD, 1, max(1, round(0.75 * size)))[:MAX_SEEDS]
    if len(seeds):
        fits = fit_seeds(movie, live, seeds, half, KAPPA)
        fitted = np.flatnonzero((fits.areas > 0) & (fits.images.max(axis=(1, 2)) > LEVEL))
        images, seeds = fits.images[fitted], seeds[fitted]
    range_ = [_range(movie, seed - half, image) for seed, image in zip(seeds, images, strict=True)]
    up, down = np.asarray(range_, np.float64).reshape(-1, 2).T
    real = up - down > LOWEST_PEAK
    images, seeds, up, down = images[real], seeds[real], up[real], down[real]
    centres = seeds * pitch + pitch // 2 + np.asarray(corner)
    parts = _parts(images, LEVEL)
    whole = _are_whole(inside, seeds - half, parts)
    widths = pitch * _widths(images, parts, up - down)
    rises = (up - down) / (up + down)
    return Spots(trial_px, pitch, centres, images, widths, up - down, rises, whole)


def _whitened(frames: Float32, inside: Bool, size: float) -> tuple[Float32, Bool]:
    """Band-passed frames as ``(height, width, n_frames)`` in units of the noise, and the pixels that have any."""
    n_frames, height, width = frames.shape
    if n_frames < FEWEST_FRAMES or not inside.any():
        return np.zeros((height, width, 0), np.float32), inside
    smoother = SpatialFilter(height, width, size / 2, HIGHPASS, LOWPASS)
    pixels, seen = np.empty((height * width, n_frames), np.float32), PixelSummary.empty(height * width)
    for first in range(0, n_frames, CHUNK):  # no filtered copy of all frames
        fold_frames(smoother.apply(frames[first : first + CHUNK]), 1, pixels, first, seen)
    movie = pixels.reshape(height, width, n_frames)
    noise = np.empty((height, width), np.float32)

    def measure(some: slice) -> None:
        noise[some] = difference_noise(movie[some, :, :NOISE_FRAMES])

    each_block(noise, measure, max(1, PIXELS // max(1, width)))
    live = inside & (noise > 0)
    if not live.any():
        return np.zeros((height, width, 0), np.float32), live
    noise = np.maximum(noise, np.float32(QUIETEST * np.median(noise[live])))
    movie /= noise[..., None]
    return movie, live


def _range(movie: Float32, corner: NDArray[np.int64], image: Float32) -> tuple[float, float]:
    """How far a spot's trace goes up and down from its baseline, in units of the noise."""
    rows, columns = np.nonzero(image > LEVEL)
    weights = image[rows, columns]
    trace = np.sort(weights @ movie[rows + corner[0], columns + corner[1]]) / (weights @ weights)
    rank = min(RANK, 1 + len(trace) // 40)
    return max(0.0, float(trace[-rank])), max(0.0, -float(trace[rank - 1]))


def _are_whole(inside: Bool, corners: NDArray[np.int64], parts: Bool) -> Bool:
    """Say of which parts nearly all pixels around them are inside."""
    padded = np.pad(parts, ((0, 0), (1, 1), (1, 1)))
    spot, rows, columns = np.nonzero(ndimage.binary_dilation(padded, CROSS[1:2]) & ~padded)
    rows, columns = rows - 1 + corners[spot, 0], columns - 1 + corners[spot, 1]
    within = (rows >= 0) & (columns >= 0) & (rows < inside.shape[0]) & (columns < inside.shape[1])
    seen = np.bincount(spot[within], inside[rows[within], columns[within]], len(parts))
    return np.asarray(seen >= (1 - CUT) * np.bincount(spot, minlength=len(parts)), np.bool_)


def _widths(images: Float32, parts: Bool, peaks: Float64) -> Float64:
    """Widths in averaged pixels, corrected for what the filter makes of shapes as sharp as these are on the whole."""
    if not peaks.any():
        return np.zeros(len(peaks))
    outer = np.sqrt(_areas(images, parts, LEVEL))
    inner = np.sqrt(_areas(images, _parts(images, UPPER_LEVEL), UPPER_LEVEL))
    sharpness = float(np.clip(weighted_median(inner / outer, peaks), SOFT, SHARP))
    kept = KEPT_OF_SOFT + KEPT_SLOPE * (sharpness - SOFT)
    return np.asarray(2 / np.sqrt(np.pi) * outer / kept, np.float64)


def _areas(images: Float32, parts: Bool, level: float) -> Float64:
    """Pixels of each part above a share of the maximum, a pixel on the edge by the share it has above."""
    top = images.max(axis=(1, 2))
    within = ndimage.binary_erosion(parts, CROSS[1:2])
    edge = ndimage.binary_dilation(parts, CROSS[1:2]) & ~within
    spot = np.nonzero(edge)[0]
    slope = np.maximum(np.hypot(*np.gradient(images, axis=(1, 2)))[edge], np.float32(1e-6) * top[spot])
    above = np.clip((images[edge] - np.float32(level) * top[spot]) / slope + np.float32(0.5), 0, 1)
    shares = [part.sum() for part in np.split(above, np.cumsum(edge.sum(axis=(1, 2)))[:-1])]
    return np.asarray(within.sum(axis=(1, 2)) + np.array(shares, np.float64))


def _parts(images: Float32, level: float) -> Bool:
    """Masks of the pixels above a share of each maximum and connected to it, holes filled."""
    if len(images) == 0:
        return np.zeros(images.shape, np.bool_)
    at = images.reshape(len(images), -1).argmax(axis=1)
    every = np.arange(len(images))
    top = images.reshape(len(images), -1)[every, at]
    labels, _ = ndimage.label(images > np.float32(level) * top[:, None, None], CROSS)
    own = labels.reshape(len(images), -1)[every, at]
    return np.asarray(ndimage.binary_fill_holes(labels == own[:, None, None], CROSS[1:2]), np.bool_)


def weighted_median(values: Float64, weights: Float64) -> float:
    """Return the value with half of the weight on either side, half of its own included; between values, on a line."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(np.interp(total[-1] / 2, total - weights[order] / 2, values[order]))
