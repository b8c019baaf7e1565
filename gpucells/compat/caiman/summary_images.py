"""Pictures of a movie: local correlation, and peak over noise of the filtered movie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.candidates.corr_pnr import filter_to_cells, measure_images
from gpucells.compat.caiman.movies import open_files
from gpucells.compat.told_once import tell_once
from gpucells.errors import SettingsError
from gpucells.ops.local_correlation import local_correlation
from gpucells.ops.noise import noise_std
from gpucells.preprocess.zero_mean_gaussian import SIGMA_RADII

Float32 = NDArray[np.float32]
NOISES_SHOWN = 3.0  # CaImAn's, of the picture that users look at


def _by_pixel(Y: Any, swap_dim: bool) -> Float32:
    """Return ``(height, width, n_frames)`` float32."""
    movie = np.asarray(Y, np.float32)
    return np.ascontiguousarray(movie if swap_dim else movie.transpose(1, 2, 0))


def local_correlations(Y: Any, eight_neighbours: bool = True, swap_dim: bool = True, **others: Any) -> Float32:
    """Return each pixel's correlation with its eight neighbours, ``(height, width)``.

    Parameters
    ----------
    Y : array_like
        The movie, ``(height, width, n_frames)``, or ``(n_frames, height, width)`` with ``swap_dim=False``.
    eight_neighbours : bool
        Of no effect: they are always eight.
    swap_dim : bool
        Whether time is the last axis.
    **others
        Of no effect.
    """
    if not eight_neighbours:
        tell_once("local correlations are of eight neighbours")
    movie = _by_pixel(Y, swap_dim)
    return local_correlation(movie, movie.mean(axis=2))


local_correlations_fft = local_correlations


def correlation_pnr(
    Y: Any, gSig: Any = None, center_psf: bool = True, swap_dim: bool = True, background_filter: str = "disk"
) -> tuple[Float32, Float32]:
    """Return local correlation and peak over noise of the movie filtered to cells, ``(height, width)`` each.

    Parameters
    ----------
    Y : array_like
        As :func:`local_correlations` takes it.
    gSig : float or sequence of float
        Of the filter (px).
    center_psf : bool
        Must be True: the filter has mean 0.
    swap_dim : bool
        Whether time is the last axis.
    background_filter : str
        Of no effect.
    """
    if gSig is None or not center_psf:
        raise SettingsError(f"gSig = {gSig!r}, center_psf = {center_psf}", "give gSig; the filter has mean 0")
    movie = _by_pixel(Y, swap_dim)
    height, width, n_frames = movie.shape
    rows = movie.reshape(-1, n_frames).copy()
    rows -= np.median(rows, axis=1, keepdims=True)
    noise = np.asarray(noise_std(rows), np.float32)
    inside = np.isfinite(noise) & (noise > 0)
    rows /= np.where(inside, noise, 1)[:, None]
    filter_to_cells(
        rows,
        np.where(inside, noise, 1).astype(np.float32),
        inside.reshape(height, width),
        float(np.mean(gSig)) / SIGMA_RADII,
    )
    images = measure_images(rows.reshape(movie.shape), NOISES_SHOWN)
    return images.corr, images.pnr


def local_correlations_movie_offline(
    file_name: Any, Tot_frames: int | None = None, window: int = 100, stride: int = 100, swap_dim: bool = False,
    **others: Any,
) -> Float32:  # fmt: skip
    """Return the local correlation of windows of a movie, ``(n_windows, height, width)``.

    Parameters
    ----------
    file_name : path
        The movie.
    Tot_frames : int, optional
        Frames to look at; all where not given.
    window, stride : int
        Length of a window and the way to the next (frames).
    swap_dim : bool
        Of no effect: the file says which axis is time.
    **others
        Of no effect: no baseline is taken off.
    """
    with open_files(file_name) as movie:
        n_frames = min(movie.n_frames, Tot_frames or movie.n_frames)
        starts = range(0, max(1, n_frames - window + 1), stride)
        parts = [movie.read(slice(first, min(first + window, n_frames))) for first in starts]
    return np.stack([local_correlations(part, swap_dim=False) for part in parts])
