"""Greedy cell finding: batches of seeds, fitted, judged and subtracted (Inan et al. 2021, section on cell finding).

A batch is every local maximum of the seed image whose window overlaps no brighter one's, so a round fits many seeds at
once and its result depends neither on the order of the fits nor on how the image was cut into tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from gpucells.candidates.filtered_movie import filter_movie
from gpucells.candidates.settings import CandidateSettings
from gpucells.ops.contamination import bias_bound
from gpucells.ops.patches import Patches
from gpucells.ops.seed_fits import EDGE, SeedFits, fit_seeds, subtract_seeds
from gpucells.ops.seeds import REACH, pick_seeds, seed_image, update_seed_image
from gpucells.preprocess.spatial_filter import SpatialFilter

Float32 = NDArray[np.float32]

WINDOW_RADII = 2.2  # half a seed's window in cell radii: a cell and its halo
GROW = 2  # px around a fit's support that its subtraction reaches


def noise_threshold(image_shape: tuple[int, int], n_frames: int, radius_px: float, lowpass_cutoff: float) -> float:
    """Seed brightness that noise alone reaches once in the movie, in units of the filtered noise.

    A pixel's brightest frame is the maximum of ``n_frames`` normal numbers; its 24 neighbours there follow it by their
    correlation, which is the filter's.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width)``.
    n_frames : int
        Frames that are searched.
    radius_px : float
        Cell radius (px), which the filter is made for.
    lowpass_cutoff : float
        Corner of the filter, as a multiple of the cells' own corner frequency.
    """
    side = 2 * int(np.ceil(3 * radius_px)) + 9
    point = np.zeros((1, side, side), np.float32)
    point[0, side // 2, side // 2] = 1
    local = SpatialFilter(side, side, radius_px, lowpass_cutoff=lowpass_cutoff)
    power = np.abs(np.fft.fft2(local.apply(point)[0].astype(np.float64))) ** 2
    correlation = np.fft.ifft2(power).real
    correlation /= correlation[0, 0]
    offsets = [(i, j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1) if i or j]
    follow = float(np.mean([correlation[o] for o in offsets]))
    spread = float(np.mean([correlation[a[0] - b[0], a[1] - b[1]] for a in offsets for b in offsets]))
    top = float(special.ndtri(1 - 1 / max(n_frames, 2)))
    top_mean, top_spread = top + 0.577 / max(top, 0.5), 1.28 / max(top, 0.5)  # Gumbel's limit of the maximum
    n_pixels = image_shape[0] * image_shape[1]
    rare = float(special.ndtri(1 - 1 / max(n_pixels, 2)))
    rest = max(spread - follow**2, 0.0)
    return follow * top_mean + rare * float(np.sqrt((follow * top_spread) ** 2 + rest))


def find_in_residual(
    residual: Float32, noise: Float32, inside: NDArray[np.bool_], radius_px: float, settings: CandidateSettings,
    progress: Callable[[int], None],
) -> sparse.csr_array:  # fmt: skip
    """Filter what a model does not explain to the cells' size, and find cells in it.

    Parameters
    ----------
    residual : array
        ``(n_pixels, n_frames)`` float32 in units of the noise, used up. NumPy's or CuPy's.
    noise : numpy.ndarray
        ``(n_pixels,)``.
    inside : numpy.ndarray
        ``(height, width)`` bool.
    radius_px, settings, progress
        As :func:`find_cells` takes them.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, maximum 1, in order of finding.
    """
    height, width = inside.shape
    smoother = SpatialFilter(
        height, width, radius_px, lowpass_cutoff=settings.spatial_lowpass_cutoff, workers=numba.get_num_threads()
    )
    n_frames = residual.shape[1]
    filter_movie(residual, noise, inside, smoother)
    threshold = settings.cellfind_min_snr
    if threshold is None:
        threshold = noise_threshold(inside.shape, n_frames, radius_px, settings.spatial_lowpass_cutoff)
    else:
        threshold += float(bias_bound(settings.cellfind_kappa_std_ratio))
    return find_cells(residual.reshape(height, width, n_frames), inside, radius_px, threshold, settings, progress)


def find_cells(
    movie: Float32,
    inside: NDArray[np.bool_],
    radius_px: float,
    threshold: float,
    settings: CandidateSettings,
    progress: Callable[[int], None],
) -> sparse.csr_array:
    """Find cells in a filtered movie, which is used up.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32 in units of the noise; what is found is subtracted from it. NumPy's or
        CuPy's; all else is the host's.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).
    threshold : float
        Seeds must be brighter, in units of the noise.
    progress : callable
        Told the number of cells found so far.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, maximum 1, in order of finding.
    """
    image = seed_image(movie, inside)
    min_pixels = min(settings.cellfind_numpix_threshold, max(1, round(np.pi * radius_px**2 / 4)))
    return fit_in_batches(
        movie, inside, radius_px, threshold, settings,
        lambda distance_px: pick_seeds(image, threshold, min_pixels, distance_px),
        # What is within REACH of a changed pixel; what was emptied around a refused seed scores 0 there by itself.
        lambda seeds, half: update_seed_image(movie, inside, image, boxes_around(seeds, half + REACH)),
        progress,
    )  # fmt: skip


def boxes_around(seeds: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """``(n, 4)`` first and last row, first and last column (exclusive) of the squares around ``(n, 2)`` seeds."""
    return np.asarray(seeds[:, [0, 0, 1, 1]] + np.array([-reach, reach + 1] * 2))


def fit_in_batches(
    movie: Float32,
    inside: NDArray[np.bool_],
    radius_px: float,
    threshold: float,
    settings: CandidateSettings,
    pick: Callable[[int], NDArray[np.int64]],
    changed: Callable[[NDArray[np.int64], int], None],
    progress: Callable[[int], None],
) -> sparse.csr_array:
    """Fit and subtract seeds, all that are far enough apart at once, until none is left.

    Parameters
    ----------
    movie, inside, radius_px, settings, progress
        As :func:`find_cells` takes them.
    threshold : float
        A fit's trace must reach it, in units of the noise.
    pick : callable
        Seeds ``(n, 2)`` that are farther apart than a distance (px).
    changed : callable
        Told the seeds around which the movie has changed, and half the side of the windows (px).

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` float32, maximum 1, in order of finding.
    """
    height, width, _ = movie.shape
    half = int(np.ceil(WINDOW_RADII * radius_px))
    found = [Patches(np.zeros((0, 2), np.int64), np.zeros((0, 1, 1), np.float32), (height, width))]
    for _ in range(settings.cellfind_max_rounds):
        seeds = pick(2 * half + 1)
        if len(seeds) == 0:
            break
        fits = fit_seeds(movie, inside, seeds, half, settings.cellfind_kappa_std_ratio)
        good = is_cell(fits, radius_px, threshold, settings)
        subtract_seeds(movie, inside, fits, ~good, GROW)
        changed(seeds, half)
        found.append(Patches(fits.seeds[good] - half, fits.images[good], (height, width)))
        progress(sum(len(patches.images) for patches in found))
    return sparse.csr_array(sparse.vstack([patches.to_sparse() for patches in found]), dtype=np.float32)


def is_cell(fits: SeedFits, radius_px: float, threshold: float, settings: CandidateSettings) -> NDArray[np.bool_]:
    """Judge fits by area and brightness (the original's rules; traces and duplicates are left to the refinement).

    Parameters
    ----------
    fits : SeedFits
        Of seeds.
    radius_px : float
        Cell radius (px).
    threshold : float
        Least brightness of a trace.
    settings : CandidateSettings
        The limits.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` bool.
    """
    area = (fits.images > EDGE).sum(axis=(1, 2)) / (np.pi * radius_px**2)
    good = (fits.areas > 0) & (fits.traces.max(axis=1) >= threshold)
    if not settings.dendrite_aware:
        good &= (area >= settings.min_size) & (area <= settings.max_size)
    return np.asarray(good)
