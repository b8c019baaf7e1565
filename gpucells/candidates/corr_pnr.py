r"""Where cells may be, by how pixels follow their neighbours and how far they rise above the noise (CNMF-E's seeds).

In a movie that is filtered to the cells' size, :math:`x_p(t)` a pixel's trace in units of its noise and about its
baseline,

.. math:: \mathrm{PNR}_p = \max_t x_p(t), \qquad
          C_p = \operatorname{mean}_{q \in N_8(p)} \operatorname{corr}(x_p^{>2}, x_q^{>2}),

where :math:`x^{>2}` is 0 where the trace is not above 2 noises (Zhou et al. 2018, eLife 7:e28728). Seeds are local
maxima of :math:`C \cdot \mathrm{PNR}` where both are above thresholds, which come from the movie
(``seed_thresholds.py``).

Where we differ: the noise is that of the second differences, and seeds are picked many at a time, far from each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.candidates.filtered_movie import filter_movie
from gpucells.candidates.seed_thresholds import Peaks, Thresholds, choose_thresholds, noise_peak
from gpucells.device.arrays import namespace_of, to_host
from gpucells.ops.local_correlation import local_correlation, update_local_correlation
from gpucells.ops.pixel_boxes import covered
from gpucells.ops.seeds import pick_seeds
from gpucells.preprocess.zero_mean_gaussian import zero_mean_filter

Float32 = NDArray[np.float32]

NOISES = 2.0  # what is not above as many noises counts as 0 for the correlation (the paper's software)
NEAR_RADII = 0.5  # half the box whose maximum a seed is, in cell radii
REACH_RADII = 2.0  # how far the dark surround of a bright cell reaches: the cell's radius and the filter's
CHUNK_BYTES, DEVICE_CHUNK_BYTES = 2**20, 2**26  # of traces copied at once


@dataclass(frozen=True)
class CorrPnr:
    """The two images; both change in place where :func:`update_images` brings them up to date.

    Parameters
    ----------
    corr : numpy.ndarray
        ``(height, width)`` float32 local correlation of what is above the noise.
    pnr : numpy.ndarray
        ``(height, width)`` float32 peak over noise.
    """

    corr: Float32
    pnr: Float32

    def brightness(self) -> Float32:
        """``(height, width)`` product of the two, 0 where either is negative: what seeds are maxima of."""
        return np.maximum(self.corr, 0) * np.maximum(self.pnr, 0)

    def peaks(self, radius_px: float) -> NDArray[np.int64]:
        """``(n, 2)`` row and column of all local maxima, whatever their height, the highest first."""
        return pick_seeds(self.brightness(), 0.0, 1, near_px(radius_px))


def near_px(radius_px: float) -> int:
    """Return half the side of the box that a seed is the maximum of (px)."""
    return max(1, round(NEAR_RADII * radius_px))


def filter_to_cells(
    movie: Any, noise: Float32, inside: NDArray[np.bool_], radius_px: float
) -> tuple[Float32, NDArray[np.bool_]]:
    """Make the movie that the images are of, in place.

    Pixels that do not count are taken for the nearest one that does, as if the image ended there: next to emptied ones
    the filter would leave a part of the background.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32 in units of the noise, overwritten. NumPy's or CuPy's.
    noise : numpy.ndarray
        ``(n_pixels,)`` those units.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).

    Returns
    -------
    noise : numpy.ndarray
        ``(height, width)`` float32 of the filtered movie, its new units.
    live : numpy.ndarray
        ``(height, width)`` bool, the pixels inside that vary.
    """
    height, width = inside.shape
    noise = _continue_outside(movie, noise, inside, radius_px)
    smoother = zero_mean_filter(height, width, radius_px, numba.get_num_threads())
    filtered, live = filter_movie(movie, noise, inside, smoother)
    return filtered.reshape(inside.shape), live.reshape(inside.shape)


def _continue_outside(movie: Any, noise: Float32, inside: NDArray[np.bool_], radius_px: float) -> Float32:
    """Give pixels outside, as far as the filter sees them, the trace and the noise of the nearest one inside."""
    if inside.all() or not inside.any():
        return noise
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    outside = np.flatnonzero((distance > 0) & (distance <= radius_px + 2))
    source = (nearest[0] * inside.shape[1] + nearest[1]).ravel()[outside]
    xp = namespace_of(movie)
    for some in _chunks(movie.shape[1], np.arange(len(outside)), is_cupy_array(movie)):
        movie[xp.asarray(outside[some])] = movie[xp.asarray(source[some])]
    continued = noise.copy()
    continued[outside] = noise[source]
    return continued


def measure_images(movie: Any, noises: float = NOISES) -> CorrPnr:
    """Measure both images.

    Parameters
    ----------
    movie : array
        ``(height, width, n_frames)`` float32, filtered, in units of the noise, baseline 0. NumPy's or CuPy's.
    noises : float
        What is not above as many counts as 0 for the correlation.
    """
    return CorrPnr(local_correlation(movie, None, noises), to_host(movie.max(axis=2)))


def update_images(movie: Any, images: CorrPnr, boxes: NDArray[np.integer[Any]], noises: float = NOISES) -> None:
    """Bring the images up to date where the movie has changed, in place.

    Parameters
    ----------
    movie, noises
        As :func:`measure_images` takes them.
    images : CorrPnr
        Of the movie as it was.
    boxes : numpy.ndarray
        ``(n, 4)`` integers ``row0, row1, column0, column1`` in which it has changed; may overlap or reach over the
        border.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    # A pixel's correlation is also its neighbours'.
    update_local_correlation(movie, images.corr, boxes + np.array([-1, 1, -1, 1]), None, noises)
    flat, pixels = movie.reshape(-1, movie.shape[2]), np.flatnonzero(covered(boxes, images.pnr.shape))
    for some in _chunks(movie.shape[2], pixels, is_cupy_array(movie)):
        images.pnr.put(some, to_host(flat[namespace_of(movie).asarray(some)].max(axis=1)))


def find_thresholds(
    movie: Any,
    noise: Float32,
    images: CorrPnr,
    inside: NDArray[np.bool_],
    radius_px: float,
    min_corr: float | None = None,
    min_pnr: float | None = None,
    noises: float = NOISES,
) -> Thresholds:
    """Take the thresholds from the movie itself: from the same images of the negated movie, which has no cells.

    Parameters
    ----------
    movie : array
        ``(height, width, n_frames)`` float32, as the images are of; negated for a while.
    noise : numpy.ndarray
        ``(height, width)`` its units, as :func:`filter_to_cells` returns them.
    images : CorrPnr
        Of the movie.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).
    min_corr, min_pnr : float, optional
        The user's own, which are kept; the other one is chosen for it.
    noises : float
        As :func:`measure_images` takes it.
    """
    xp = namespace_of(movie)
    upward = _peaks_of(movie, noise, images, radius_px)
    xp.negative(movie, out=movie)
    try:
        downward = _peaks_of(movie, noise, measure_images(movie, noises), radius_px)
    finally:
        xp.negative(movie, out=movie)
    floor = noise_peak(int(inside.sum()) * movie.shape[2], radius_px)
    return choose_thresholds(upward, downward, inside, radius_px, floor, min_corr, min_pnr)


def find_seeds(
    images: CorrPnr,
    thresholds: Thresholds,
    radius_px: float,
    distance_px: int,
    free: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Pick seeds that are far enough apart to be worked on at once; call again once what they held is subtracted.

    Parameters
    ----------
    images : CorrPnr
        As they are now.
    thresholds : Thresholds
        Of the movie.
    radius_px : float
        Cell radius (px).
    distance_px : int
        Two seeds are farther apart than this along rows or along columns.
    free : numpy.ndarray, optional
        ``(height, width)`` bool, where seeds may be; leave out what was tried.

    Returns
    -------
    numpy.ndarray
        ``(n_seeds, 2)`` row and column, brightest first. Of those that are too near to each other the brightest.
    """
    peaks = images.peaks(radius_px)
    good = thresholds.passed_by(images.corr, images.pnr)
    if free is not None:
        good &= free
    among = np.zeros_like(images.corr)
    rows, columns = peaks[good[peaks[:, 0], peaks[:, 1]]].T
    among[rows, columns] = images.brightness()[rows, columns]
    return pick_seeds(among, 0.0, 1, distance_px)


def _peaks_of(movie: Any, noise: Float32, images: CorrPnr, radius_px: float) -> Peaks:
    """Local maxima, and how far down the movie goes around each at the very frame at which it is brightest."""
    at = images.peaks(radius_px)
    xp, flat, shape = namespace_of(movie), movie.reshape(-1, movie.shape[2]), noise.shape
    reach = int(np.ceil(REACH_RADII * radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(y, x) <= reach
    pixels, deepest = at[:, 0] * shape[1] + at[:, 1], np.zeros(len(at), np.float32)
    for some in _chunks(movie.shape[2] + int(disc.sum()), np.arange(len(at)), is_cupy_array(movie)):
        rows = np.clip(at[some, 0, None] + y[disc], 0, shape[0] - 1)
        around = rows * shape[1] + np.clip(at[some, 1, None] + x[disc], 0, shape[1] - 1)
        frame = flat[xp.asarray(pixels[some])].argmax(axis=1)
        deepest[some] = (-to_host(flat[xp.asarray(around), frame[:, None]]) * noise.ravel()[around]).max(axis=1)
    rows, columns = at.T
    height = images.pnr[rows, columns]
    return Peaks(at, images.corr[rows, columns], height, deepest / (height * noise[rows, columns]))


def _chunks(n_samples: int, items: NDArray[np.int64], on_device: bool) -> list[NDArray[np.int64]]:
    """Cut items of as many samples each into runs of a fixed number of bytes."""
    size = max(1, (DEVICE_CHUNK_BYTES if on_device else CHUNK_BYTES) // (4 * max(1, n_samples)))
    return [items[first : first + size] for first in range(0, len(items), size)]
