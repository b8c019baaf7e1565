"""How wide the cells of a movie are: bright spots, measured at several trial widths, until trial and measure agree.

At a trial width the frames are band-passed, every pixel put in units of its noise, and the spots that outshine the
noise fitted with one image and one trace each (:mod:`gpucells.ops.seed_fits`). A spot's width is that of the part of
its image above :data:`LEVEL` of the maximum. A filter made for smaller cells cuts a cell down but leaves it wider than
the trial; one made for larger cells shows it whole and thus narrower than the trial. Between the two the measure
crosses the trial, and that is the cells' width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.seed_fits import SeedFits, fit_seeds
from gpucells.ops.seeds import pick_seeds
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

LEVEL = 0.3  # of a spot's maximum: where a person draws the edge of a cell, blurred or sharp (see docs of `estimate`)
SHRINK = 0.9  # what the band-pass made for a Gaussian cell leaves of its width at LEVEL (computed; .88 to .94)
HIGHPASS, LOWPASS = 5.0, 2.0  # EXTRACT's band for finding (Inan et al. 2021)
THRESHOLD = 6.0  # of two frames' sum, in units of the noise: noise reaches 5.5 once in 10^7 samples
KAPPA = 1.0  # of the robust fit, in units of the noise
MAX_SEEDS = 60
QUIETEST = 0.3  # a pixel's noise counts as at least this share of the median
COARSEST = 5.0  # binned pixels across a cell that are enough to measure it
WINDOW = 1.25  # half a fit's window, in cell widths: a cell, its halo, and half its neighbour


@dataclass(frozen=True)
class Spots:
    """Bright spots at one trial width.

    Parameters
    ----------
    diameter_px : float
        The trial.
    pitch : int
        Pixels of the movie averaged into one along each side.
    fits : SeedFits
        Images and traces, in binned pixels and frames.
    widths_px : numpy.ndarray
        ``(n,)`` each spot's width at :data:`LEVEL`, corrected for the filter, in pixels of the movie.
    """

    diameter_px: float
    pitch: int
    fits: SeedFits
    widths_px: NDArray[np.float64]


def find_spots(frames: Float32, inside: Bool, diameter_px: float) -> Spots:
    """Fit the brightest spots of a movie, filtered for cells of one width.

    Parameters
    ----------
    frames : numpy.ndarray
        ``(n_frames, height, width)`` float32 without NaN, each pixel's baseline taken off.
    inside : numpy.ndarray
        ``(height, width)`` bool.
    diameter_px : float
        Trial width (px).
    """
    pitch = max(1, int(diameter_px / COARSEST))
    frames, inside = bin_pixels(frames, inside, pitch)
    n_frames, height, width = frames.shape
    size = diameter_px / pitch
    filtered = SpatialFilter(height, width, size / 2, HIGHPASS, LOWPASS).apply(frames)
    movie = np.ascontiguousarray(filtered.transpose(1, 2, 0))
    movie -= np.median(movie, axis=2, keepdims=True)
    noise = difference_noise(movie)
    live = inside & (noise > 0)
    if not live.any() or n_frames < 4:
        return _no_spots(diameter_px, pitch, n_frames)
    noise = np.maximum(noise, np.float32(QUIETEST * np.median(noise[live])))
    movie /= noise[..., None]
    score = np.where(live, (movie[..., 1:] + movie[..., :-1]).max(axis=2) / np.float32(2**0.5), 0).astype(np.float32)
    seeds = pick_seeds(score, THRESHOLD, 1, max(1, round(0.75 * size)))[:MAX_SEEDS]
    if len(seeds) == 0:
        return _no_spots(diameter_px, pitch, n_frames)
    fits = fit_seeds(movie, live, seeds, int(np.ceil(WINDOW * size)), KAPPA)
    good = np.flatnonzero(fits.areas > 0)
    fits = SeedFits(fits.seeds[good], fits.images[good], fits.traces[good], fits.areas[good])
    widths = np.asarray([_width(image) for image in fits.images], np.float64) * pitch / SHRINK
    return Spots(diameter_px, pitch, fits, widths)


def _no_spots(diameter_px: float, pitch: int, n_frames: int) -> Spots:
    none = SeedFits(
        np.zeros((0, 2), np.int64), np.zeros((0, 1, 1), np.float32), np.zeros((0, n_frames), np.float32),
        np.zeros(0, np.int64),
    )  # fmt: skip
    return Spots(diameter_px, pitch, none, np.zeros(0))


def bin_pixels(frames: Float32, inside: Bool, pitch: int) -> tuple[Float32, Bool]:
    """Average blocks of ``pitch`` x ``pitch`` pixels; a block is inside where all of it is."""
    if pitch == 1:
        return frames, inside
    n_frames, height, width = frames.shape
    rows, columns = height // pitch, width // pitch
    blocks = frames[:, : rows * pitch, : columns * pitch].reshape(n_frames, rows, pitch, columns, pitch)
    whole = inside[: rows * pitch, : columns * pitch].reshape(rows, pitch, columns, pitch)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32)), np.asarray(whole.all(axis=(1, 3)))


def _width(image: Float32) -> float:
    """Width of the disc with the area of the part above LEVEL around the maximum, its holes filled."""
    top = np.unravel_index(int(image.argmax()), image.shape)
    labels, _ = ndimage.label(image > LEVEL * image[top])
    area = int(ndimage.binary_fill_holes(labels == labels[top]).sum())
    return float(2 * np.sqrt(area / np.pi))
