r"""Where CNMF may start: cells as the components of a non-negative factorisation of the movie.

What is above the baseline (:mod:`gpucells.methods.cnmf.above_baseline`) is factored,
:math:`Y \approx A C`, in one of three ways:

``sparse_nmf``
    with a penalty on the values of both factors;
``graph_nmf``
    with a penalty on neighbouring pixels that behave alike and belong to different cells (Cai et al. 2011),

    .. math:: \min_{A, C \ge 0} \tfrac12 |Y - A C|^2 + \tfrac\lambda2 \sum_k |c_k|^2\, a_k^T (I - S) a_k, \qquad
              S = \tfrac12 \left(I + D^{-1/2} W D^{-1/2}\right)

``compressed_nmf``
    of what is left of the movie in a space of few dimensions (Tepper & Sapiro 2016): iterations cost
    (n_pixels + n_frames) instead of n_pixels n_frames.

One component more than there are cells is fitted (``n_background``), and the most diffuse one is the background's. A
component's image is dense. A cut makes it a footprint: pixels below ``cut`` of its maximum become 0, or below three
standard deviations of its noise where that is more, up to half of the maximum. The noise is read from the image: where
a cell covers few of the pixels, three quarters of them lie below .67 standard deviations of a normal distribution
whose negative half is 0. Which piece of what is left is the cell, the spatial update says. Empty components are left
out.

Where we differ from CaImAn, whose settings these are: the matrix is taken in units of its root mean square, and the
graph's penalty in units of a trace's energy, so that no setting depends on the movie's units; affinities are those of
the eight neighbours, not of all pairs of pixels; solved by coordinate descent, which gets further in an iteration than
multiplicative updates and never leaves a value stuck at 0. The background is not refitted here.

Memory: one array of the movie's size beside the movie, and strips and blocks of a few MiB a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import namespace_of, to_host
from gpucells.errors import InputError, SettingsError
from gpucells.methods.cnmf.above_baseline import above_baseline
from gpucells.methods.cnmf.neighbour_graph import Affinity, affinities, lazy_graph
from gpucells.ops.nmf import nmf
from gpucells.ops.nmf_hals import sweep_factor
from gpucells.ops.nmf_start import OVERSAMPLES, initial_factors, leading_rows, times, transposed_times

Float32 = NDArray[np.float32]
Initial = tuple[sparse.csr_array, Float32]
Products = Callable[[Float32], tuple[Float32, Float32]]

PLAIN_ITERATIONS = 5  # before the graph has a say
SIGMAS, HIGHEST_CUT = 3.0, 0.5  # where an image is cut, see above; a cell that fills the tile must not vanish
UPPER_QUARTILE = 0.6745  # of the standard normal distribution


def sparse_nmf(
    movie: Any,
    image_shape: tuple[int, int],
    n_cells: int,
    *,
    alpha: float = 0.02,
    l1_ratio: float = 1.0,
    n_background: int = 1,
    cut: float = 0.2,
    max_iterations: int = 500,
    tol: float = 1e-4,
    baseline_percentile: float = 20.0,
    smooth_px: float = 0.5,
    smooth_frames: float = 0.5,
    seed: int = 0,
) -> Initial:
    """Find cells as components with few values.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, pixels in C order; NumPy or CuPy. Left as it is; samples that are not finite
        count as 0.
    image_shape : tuple of int
        ``(height, width)``.
    n_cells : int
        Most cells to be found.
    alpha : float
        Strength of the penalty, as :func:`gpucells.ops.nmf.nmf` has it, on a matrix with root mean square 1, times the
        root of the number of components: a cell's share of the mean falls with the size of the image. Of .005 to .06,
        .015 to .03 found most cells of simulated two-photon movies; .005 of a one-photon movie.
    l1_ratio : float
        Share of absolute values in it, 0 to 1; the rest is squares.
    n_background : int
        Components for diffuse light, which are not returned.
    cut : float
        Pixels below this fraction of a footprint's maximum become 0; see above.
    max_iterations : int
        Most iterations.
    tol : float
        Part of the first iteration's gradient at which it ends.
    baseline_percentile : float
        Of a pixel's trace, 0 to 100; taken off.
    smooth_px, smooth_frames : float
        Standard deviations of the Gaussian that the movie is smoothed by before.
    seed : int
        Of the singular vectors it starts from; the same result for the same seed.

    Returns
    -------
    footprints : scipy.sparse.csr_array
        ``(n, n_pixels)`` float32 with maximum 1, ``n`` at most ``n_cells``, the strongest first.
    traces : numpy.ndarray
        ``(n, n_frames)`` float32, not negative, in units of the movie's root mean square above its baseline.

    Raises
    ------
    InputError
        A movie that does not fit the image.
    SettingsError
        A setting out of range.
    """
    _check(movie, image_shape, n_cells, n_background, cut, max_iterations)
    x = above_baseline(movie, image_shape, baseline_percentile, smooth_px, smooth_frames)
    n = _n_components(x, n_cells, n_background)
    found = nmf(
        x,
        n,
        start="nndsvd",
        alpha_w=alpha / max(1, n) ** 0.5,
        l1_ratio=l1_ratio,
        max_iterations=max_iterations,
        tol=tol,
        seed=seed,
    )
    return _cells(to_host(found.w).T, to_host(found.h), n_cells, n_background, cut)


def graph_nmf(
    movie: Any,
    image_shape: tuple[int, int],
    n_cells: int,
    *,
    strength: float = 1.0,
    affinity: Affinity = "heat",
    affinity_width: float = 1.0,
    affinity_threshold: float = 0.0,
    n_background: int = 1,
    cut: float = 0.2,
    max_iterations: int = 500,
    tol: float = 1e-3,
    baseline_percentile: float = 20.0,
    smooth_px: float = 0.5,
    smooth_frames: float = 0.5,
    seed: int = 0,
) -> Initial:
    """Find cells as components in which neighbours that behave alike are alike.

    Parameters
    ----------
    movie, image_shape, n_cells, n_background, cut, max_iterations, tol, baseline_percentile, smooth_px, smooth_frames
        See :func:`sparse_nmf`.
    strength : float
        Of the penalty: 1 counts what the neighbours say as much as the movie.
    affinity : {"heat", "cosine", "binary"}
        What two neighbours with traces of correlation r have in common: ``exp(-2 (1 - r) / affinity_width)``, r, or 1.
    affinity_width : float
        Of the heat kernel, in squared distances of standardised traces with norm 1, which go from 0 to 4.
    affinity_threshold : float
        Affinities (of ``binary``: correlations) that are not above it are none.
    seed : int
        See :func:`sparse_nmf`.

    Returns
    -------
    footprints, traces
        See :func:`sparse_nmf`.

    Raises
    ------
    InputError, SettingsError
        See :func:`sparse_nmf`.
    """
    _check(movie, image_shape, n_cells, n_background, cut, max_iterations)
    if strength < 0 or not affinity_width > 0 or affinity not in ("heat", "cosine", "binary"):
        raise SettingsError(
            f"strength = {strength}, affinity_width = {affinity_width}, affinity = {affinity!r}",
            "the first must not be negative, the second above 0, the third 'heat', 'cosine' or 'binary'",
        )
    x = above_baseline(movie, image_shape, baseline_percentile, smooth_px, smooth_frames)
    n = _n_components(x, n_cells, n_background)
    if not n:
        return _nothing(*x.shape)
    start = nmf(x, n, start="nndsvd", max_iterations=PLAIN_ITERATIONS, tol=0, seed=seed)
    a, c = np.ascontiguousarray(to_host(start.w).T), to_host(start.h)
    smooth = lazy_graph(affinities(x, image_shape, affinity, affinity_width, affinity_threshold))

    _descend(a, c, *graph_products(x, smooth, strength, a), max_iterations, tol)
    return _cells(a, c, n_cells, n_background, cut)


def compressed_nmf(
    movie: Any,
    image_shape: tuple[int, int],
    n_cells: int,
    *,
    n_background: int = 1,
    cut: float = 0.2,
    max_iterations: int = 500,
    tol: float = 1e-4,
    baseline_percentile: float = 20.0,
    smooth_px: float = 0.5,
    smooth_frames: float = 0.5,
    seed: int = 0,
) -> Initial:
    """Find cells as components of the movie's projections to a few images and a few traces.

    Parameters
    ----------
    movie, image_shape, n_cells, n_background, cut, max_iterations, tol, baseline_percentile, smooth_px, smooth_frames
        See :func:`sparse_nmf`.
    seed : int
        Of the projections, ten dimensions more than components, and of the start.

    Returns
    -------
    footprints, traces
        See :func:`sparse_nmf`.

    Raises
    ------
    InputError, SettingsError
        See :func:`sparse_nmf`.
    """
    _check(movie, image_shape, n_cells, n_background, cut, max_iterations)
    x = above_baseline(movie, image_shape, baseline_percentile, smooth_px, smooth_frames)
    xp, n = namespace_of(x), _n_components(x, n_cells, n_background)
    first_a, first_c = initial_factors(x, n, "nndsvd", seed)
    a, c = np.ascontiguousarray(to_host(first_a).T), to_host(first_c)
    in_time = leading_rows(x, min(n + OVERSAMPLES, *x.shape), np.random.default_rng(seed))
    few_frames = times(x, in_time)
    in_space = xp.linalg.qr(few_frames)[0]
    few_pixels = to_host(transposed_times(x, in_space)).T
    few_frames, in_space, in_time = to_host(few_frames), to_host(in_space), to_host(in_time)
    del x

    def of_a(traces: Float32) -> tuple[Float32, Float32]:
        small = traces @ in_time
        return small @ small.T, small @ few_frames.T

    def of_c(images: Float32) -> tuple[Float32, Float32]:
        small = images @ in_space
        return small @ small.T, small @ few_pixels

    _descend(a, c, of_a, of_c, max_iterations, tol)
    return _cells(a, c, n_cells, n_background, cut)


def _check(
    movie: Any, image_shape: tuple[int, int], n_cells: int, n_background: int, cut: float, max_iterations: int
) -> None:
    if movie.ndim != 2 or len(movie) != image_shape[0] * image_shape[1]:
        raise InputError(
            f"the movie has shape {movie.shape}; (n_pixels, n_frames) with {image_shape[0]} x {image_shape[1]} pixels "
            "is wanted"
        )
    if min(n_cells, n_background, max_iterations - 1) < 0 or not 0 <= cut <= 1:
        raise SettingsError(
            f"n_cells = {n_cells}, n_background = {n_background}, max_iterations = {max_iterations}, cut = {cut}",
            "the first two must not be negative, the third above 0, cut from 0 to 1",
        )


def _n_components(x: Any, n_cells: int, n_background: int) -> int:
    return min(n_cells + n_background, *x.shape) if n_cells else 0


def _descend(a: Float32, c: Float32, of_a: Products, of_c: Products, max_iterations: int, tol: float) -> None:
    """Sweep over both factors in place, ``(n_components, …)`` each, until their gradient is small."""
    at_first = 0.0
    for iteration in range(max_iterations):
        moved = 0.0
        for factor, other, products in ((a, c, of_a), (c, a, of_c)):
            gram, cross = products(other)
            moved += float(sweep_factor(factor, gram.astype(np.float32), cross.astype(np.float32)))
        at_first = moved if iteration == 0 else at_first
        if moved <= tol * at_first:
            return


def graph_products(x: Any, smooth: sparse.csr_array, strength: float, a: Float32) -> tuple[Products, Products]:
    """Return what gives the Gram matrix and cross products for a sweep over images, and over traces.

    Parameters
    ----------
    x : array
        ``(n_pixels, n_frames)``; NumPy or CuPy.
    smooth : scipy.sparse.csr_array
        Of :func:`gpucells.methods.cnmf.neighbour_graph.lazy_graph`.
    strength : float
        Of the graph's penalty.
    a : numpy.ndarray
        ``(n_components, n_pixels)`` the images, as they are when the first is called.
    """
    xp = namespace_of(x)

    def of_a(traces: Float32) -> tuple[Float32, Float32]:
        gram = traces @ traces.T
        energy = strength * np.diag(gram)
        cross = to_host(times(x, xp.asarray(traces.T))).T + energy[:, None] * (smooth @ a.T).T
        return gram + np.diag(energy), cross

    def of_c(images: Float32) -> tuple[Float32, Float32]:
        rough = (images * (images - (smooth @ images.T).T)).sum(axis=1)
        cross = to_host(transposed_times(x, xp.asarray(images.T))).T
        return images @ images.T + np.diag(strength * np.maximum(rough, 0)), cross

    return of_a, of_c


def _cells(a: Float32, c: Float32, n_cells: int, n_background: int, cut: float) -> Initial:
    """Return footprints and traces of factors ``(n_components, n_pixels)`` and ``(n_components, n_frames)``."""
    if not a.size:
        return _nothing(a.shape[1], c.shape[1])
    peaks = a.max(axis=1)
    strength = np.linalg.norm(a, axis=1) * np.linalg.norm(c, axis=1)
    found = np.flatnonzero(strength > 0)
    # The number of equally bright pixels that would be as diffuse; the most diffuse components are the background's.
    area = a[found].sum(axis=1) ** 2 / (a[found] ** 2).sum(axis=1)
    surplus = min(n_background, max(0, len(found) - n_cells + n_background))
    found = found[np.argsort(area, kind="stable")][: len(found) - surplus]
    found = found[np.argsort(-strength[found], kind="stable")][:n_cells]
    scaled = a[found] / peaks[found, None]
    level = np.clip(
        SIGMAS * np.quantile(scaled, 0.75, axis=1, keepdims=True) / UPPER_QUARTILE, cut, max(cut, HIGHEST_CUT)
    )
    footprints = sparse.csr_array(np.where(scaled >= np.maximum(level, np.finfo(np.float32).tiny), scaled, 0))
    return footprints.astype(np.float32), np.asarray(c[found] * peaks[found, None], np.float32)


def _nothing(n_pixels: int, n_frames: int) -> Initial:
    return sparse.csr_array((0, n_pixels), dtype=np.float32), np.zeros((0, n_frames), np.float32)
