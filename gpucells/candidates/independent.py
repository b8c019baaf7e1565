"""Principal components of a tile, and the rotation of them that makes them independent in space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.independent_settings import IndependentSettings
from gpucells.device.arrays import namespace_of, to_host
from gpucells.ops.ica import Unmixing, fixed_point_ica
from gpucells.ops.noise_floor import NoiseFloor, noise_floor
from gpucells.ops.pca import PrincipalComponents, pca
from gpucells.ops.picard import picard_ica

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

BIN_BYTES = 2**26  # of the movie that is binned at once
LAYERS = 3.0  # of cells that an image may hold: more components than that many, of noise that is no random matrix's


@dataclass(frozen=True)
class Independent:
    """Independent components of a movie in units of its noise.

    Parameters
    ----------
    principal : PrincipalComponents
        What they are made of.
    floor : NoiseFloor
        Of the spectrum; of nothing where the number of components was given and the spectrum was not made.
    unmixing : Unmixing
        Rows of it make them of the principal ones; the most skewed first.
    images : numpy.ndarray
        ``(n_ics, n_pixels)`` float32, the light that each leaves in the movie.
    traces : numpy.ndarray
        ``(n_ics, n_frames)`` float32 of norm 1.
    skewness : numpy.ndarray
        ``(n_ics,)`` third moment of the mixture of space and time.
    """

    principal: PrincipalComponents
    floor: NoiseFloor
    unmixing: Unmixing
    images: Float32
    traces: Float32
    skewness: Float64


def separate(
    movie: Any, inside: NDArray[np.bool_], radius_px: float, settings: IndependentSettings,
    start: sparse.csr_array | None = None,
) -> Independent:  # fmt: skip
    """Find independent components.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32 in units of the noise, NumPy's or CuPy's.
    inside : numpy.ndarray
        ``(n_pixels,)`` bool, the pixels that count.
    radius_px : float
        Cell radius (px).
    settings : IndependentSettings
        Of the run.
    start : scipy.sparse.csr_array, optional
        ``(n_cells, n_pixels)`` images in units of the noise to start from.
    """
    principal, n_pixels = principal_components(movie, inside, radius_px, settings)
    n_pcs, n_frames, seed = len(principal.singular_values), movie.shape[1], settings.seed
    side = settings.side_of_squares(radius_px)
    n_ics = n_pcs if settings.n_ics == "auto" else min(settings.n_ics, n_pcs)
    mixed, n_effective = mixture(principal, settings)
    first = None if start is None else starting_rows(principal, binned_images(start, inside, side), n_ics, seed)
    if n_ics == 0:
        unmixing = Unmixing(np.zeros((0, n_pcs)), np.zeros(0), 0, True)
    elif settings.algorithm == "picard":
        unmixing = picard_ica(
            mixed, n_ics, tol=settings.term_tol, max_iterations=settings.max_iter, start=first, seed=seed
        )
    else:
        unmixing = fixed_point_ica(
            mixed, n_ics, contrast=settings.contrast, tol=settings.term_tol, max_iterations=settings.max_iter,
            start=first, seed=seed, n_effective=n_effective,
        )  # fmt: skip
    return _gather(movie, principal, mixed, unmixing, (n_pixels, n_frames))


def principal_components(
    movie: Any, inside: NDArray[np.bool_], radius_px: float, settings: IndependentSettings
) -> tuple[PrincipalComponents, int]:
    """Find the principal components of a movie's squares, and say how many of those count.

    Parameters
    ----------
    movie, inside, radius_px, settings
        As :func:`separate` takes them.
    """
    side = settings.side_of_squares(radius_px)
    bins, counted = (movie, inside.ravel()) if side == 1 else binned(movie, inside, side)
    n_pixels, n_frames = int(counted.sum()), movie.shape[1]
    most = int(np.ceil(LAYERS * inside.sum() / (np.pi * radius_px**2)))

    def number(eigenvalues: Float64) -> int:
        return min(noise_floor(eigenvalues, n_pixels, n_frames).n_above, most)

    wanted = number if settings.n_pcs == "auto" else settings.n_pcs
    return pca(bins, wanted, counted=counted, seed=settings.seed), n_pixels


def binned(movie: Any, inside: NDArray[np.bool_], side: int) -> tuple[Any, NDArray[np.bool_]]:
    """Add up squares of pixels, divided by the root of their number: white noise of deviation 1 stays what it is.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, NumPy's or CuPy's; 0 where a pixel does not count.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    side : int
        Of a square (px).

    Returns
    -------
    bins : array
        ``(n_bins, n_frames)`` float32, on the movie's side.
    counted : numpy.ndarray
        ``(n_bins,)`` bool, those of which at least half counts.
    """
    xp, (height, width), n_frames = namespace_of(movie), inside.shape, movie.shape[1]
    rows, columns = -(-height // side), -(-width // side)
    counts = _counts(inside, side)
    counted = 2 * counts >= side**2
    frames, bins = movie.reshape(height, width, n_frames), xp.empty((rows, columns, n_frames), np.float32)
    at_once = max(1, BIN_BYTES // (4 * width * n_frames * side))
    for first in range(0, rows, at_once):
        part = frames[first * side : (first + at_once) * side]
        some = xp.zeros((-(-part.shape[0] // side) * side, columns * side, n_frames), np.float32)
        some[: part.shape[0], :width] = part
        bins[first : first + at_once] = some.reshape(-1, side, columns, side, n_frames).sum(axis=(1, 3))
    scale = np.where(counted, 1 / np.sqrt(np.maximum(counts, 1)), 0).astype(np.float32)
    bins *= xp.asarray(scale)[:, :, None]
    return bins.reshape(rows * columns, n_frames), counted.ravel()


def _counts(inside: NDArray[np.bool_], side: int) -> NDArray[np.int64]:
    """Return how many pixels of each square count, ``(rows, columns)``."""
    height, width = inside.shape
    lines = np.add.reduceat(inside.astype(np.int64), np.arange(0, height, side), axis=0)
    return np.asarray(np.add.reduceat(lines, np.arange(0, width, side), axis=1))


def binned_images(images: sparse.csr_array, inside: NDArray[np.bool_], side: int) -> sparse.csr_array:
    """Add up squares of pixels of sparse images, as :func:`binned` does of a movie.

    Parameters
    ----------
    images : scipy.sparse.csr_array
        ``(n, n_pixels)``.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    side : int
        Of a square (px).

    Returns
    -------
    scipy.sparse.csr_array
        ``(n, n_bins)``.
    """
    if side == 1:
        return images
    counts = _counts(inside, side)
    at = square_of(images.indices, inside.shape[1], side)
    data = images.data / np.sqrt(np.maximum(counts.ravel()[at], 1))
    return sparse.csr_array((data, at, images.indptr), shape=(images.shape[0], counts.size))


def square_of(pixels: NDArray[np.integer[Any]], width: int, side: int) -> NDArray[np.int64]:
    """Return the numbers of the squares that pixels are in.

    Parameters
    ----------
    pixels : numpy.ndarray
        Numbers of pixels.
    width : int
        Of the image (px).
    side : int
        Of a square (px).
    """
    row, column = np.divmod(pixels.astype(np.int64), width)
    return np.asarray(row // side * -(-width // side) + column // side)


def squares(inside: NDArray[np.bool_], noise: Float32, side: int) -> sparse.csr_array:
    """Return what :func:`binned` does to a movie in its own units, ``(n_bins, n_pixels)`` float32.

    Parameters
    ----------
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    noise : numpy.ndarray
        ``(n_pixels,)`` in the movie's units.
    side : int
        Of a square (px).
    """
    counts, pixels = _counts(inside, side).ravel(), np.flatnonzero(inside)
    at = square_of(pixels, inside.shape[1], side)
    weights = np.where(2 * counts[at] >= side**2, 1 / (noise[pixels] * np.sqrt(counts[at])), 0).astype(np.float32)
    return sparse.csr_array((weights, (at, pixels)), shape=(counts.size, inside.size))


def mixture(principal: PrincipalComponents, settings: IndependentSettings) -> tuple[Any, float]:
    """Put images and traces side by side, white: ``(n_pcs, n_pixels + n_frames)``; and noise's samples there.

    Parameters
    ----------
    principal : PrincipalComponents
        Images and traces of norm 1.
    settings : IndependentSettings
        ``mu`` and its convention.
    """
    images, traces = principal.images, principal.traces
    xp, (n_pixels, n_frames) = namespace_of(images), (len(images), len(traces))
    space, time = 1 - settings.mu, settings.mu
    if settings.mu_convention == "unitvar":
        space, time = space * np.sqrt(n_pixels), time * np.sqrt(n_frames)
    n_samples, scale = n_pixels + n_frames, np.sqrt((n_pixels + n_frames) / (space**2 + time**2))
    mixed = xp.empty((images.shape[1], n_samples), np.float32)
    mixed[:, :n_pixels] = np.float32(scale * space) * images.T
    mixed[:, n_pixels:] = xp.asarray((scale * time * traces.T).astype(np.float32))
    # Cubes of noise add up as the cubes of its variances do, which are not those of one sample.
    cubes = (scale * space) ** 6 / n_pixels**2 + (scale * time) ** 6 / n_frames**2
    return mixed, n_samples**2 / cubes


def starting_rows(principal: PrincipalComponents, start: sparse.csr_array, n_ics: int, seed: int) -> Float64:
    """Return ``(n_ics, n_pcs)`` rows: given images seen by the principal components, and the rest at random.

    Parameters
    ----------
    principal : PrincipalComponents
        Of the movie.
    start : scipy.sparse.csr_array
        ``(n_cells, n_pixels)`` images in units of the noise.
    n_ics : int
        Rows.
    seed : int
        Of the random ones.
    """
    n_pcs = len(principal.singular_values)
    rows = np.asarray(start @ to_host(principal.images), np.float64)
    size = np.linalg.norm(rows, axis=1)
    rows = (rows / np.where(size > 0, size, 1)[:, None])[np.argsort(-size, kind="stable")][:n_ics]
    rest = np.random.default_rng(seed).normal(size=(n_ics - len(rows), n_pcs))
    rest -= rest @ np.linalg.pinv(rows) @ rows if len(rows) else 0.0
    rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
    return np.concatenate([rows, 0.1 * rest])  # the given ones come first where rows are made orthonormal


def _gather(
    movie: Any, principal: PrincipalComponents, mixed: Any, unmixing: Unmixing, shape: tuple[int, int]
) -> Independent:  # fmt: skip
    xp = namespace_of(movie)
    third = to_host(((xp.asarray(unmixing.matrix.astype(np.float32)) @ mixed) ** 3).mean(axis=1, dtype=np.float64))
    order = np.argsort(-third, kind="stable")
    turned = Unmixing(unmixing.matrix[order], unmixing.contrast[order], unmixing.n_iterations, unmixing.converged)
    traces = np.ascontiguousarray(turned.matrix @ principal.traces.T, np.float32)
    # movie = U S V' = (U S B') of the traces B V', which are orthonormal
    images = np.ascontiguousarray(to_host(movie @ xp.asarray(np.ascontiguousarray(traces.T))).T)
    whole = len(principal.eigenvalues) > len(principal.singular_values)
    floor = noise_floor(principal.eigenvalues if whole else np.zeros(0), *shape)
    return Independent(principal, floor, turned, images, traces, third[order])
