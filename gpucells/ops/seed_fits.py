"""The rank-one robust fit that a seed grows into: one image and one trace, many seeds at once.

Per seed, trace and image are estimated in turn by one-dimensional one-sided Huber regressions
(:mod:`gpucells.ops.robust_single`; Inan et al. 2021): of every frame on the image, of every pixel on the frames at
which the trace is active. The windows of a batch do not overlap, so the seeds of a batch are independent.

Where this differs from the original: the first image averages the frames at which the seed outshines its window,
weighted by how much, instead of correlating all frames after each was normalised (which gives noise the same say as
activity); the movie is in units of each pixel's noise; a component is grown from the seed.

A movie on a GPU goes to :mod:`gpucells.ops.seed_passes`; seeds and fits are the host's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of, to_host
from gpucells.ops.robust_single import fit_problems, start_problems
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

ROUNDS = 6  # alternations of trace and image; most seeds settle in three
IMAGE_STEPS, IMAGE_TOLERANCE = 4, 0.01  # of the image's fit in a round: the next round moves the trace anyway
SETTLED = 0.1  # relative L1 change of image and trace below which a fit is done (the original's figure)
DOMINANCE = 4  # power of how much a seed outshines its window, by which a frame counts for the first image
FIRST_EDGE = 0.4  # share of the maximum that the first image keeps
EDGE = 0.1  # share of the maximum that counts as support (the original's figure)
BLANK = 2  # px around a refused seed that are emptied, so that it is not met again


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _trace_step(movie, r0, c0, s, support, n_support, kappas, x, free, n_newton):  # type: ignore[no-untyped-def]
    """Newton steps of every frame's one-dimensional robust problem, from ``x``; returns the noise of the trace.

    The noise is that of the last step before it is cut off at zero: of a trace that is zero most of the time, the
    median second difference is zero as well.
    """
    height, width, n_frames = movie.shape
    side = s.shape[1]
    samples, values = np.empty(n_support, np.int64), np.empty(n_support, np.float32)
    for i in range(n_support):
        u, v = support[i] // side, support[i] % side
        samples[i] = (r0 + u) * width + c0 + v
        values[i] = s[u, v]
    rows = movie.reshape(height * width, n_frames)
    fit_problems(rows, samples, values, kappas[:n_frames], n_newton, np.float32(0), x, free[:n_frames])
    return _noise(free[:n_frames])


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _noise(x):  # type: ignore[no-untyped-def]
    """Noise of a trace from the median of its absolute second differences (blind to slow transients)."""
    if len(x) < 3:
        return np.float32(0)
    d = np.empty(len(x) - 2, np.float32)
    for t in range(len(d)):
        d[t] = abs(x[t] - np.float32(2) * x[t + 1] + x[t + 2])
    return np.median(d) / np.float32(0.6745 * 2.449490)


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _image_step(movie, r0, c0, inside, x, active, kappas, s, free):  # type: ignore[no-untyped-def]
    """Every pixel's one-dimensional robust problem over the active frames; returns the image's maximum."""
    side = s.shape[0]
    pixels = np.empty(side * side, np.int64)
    n = 0
    for u in range(side):
        for v in range(side):
            y, z = r0 + u, c0 + v
            s[u, v] = 0
            if 0 <= y < movie.shape[0] and 0 <= z < movie.shape[1] and inside[y, z]:
                pixels[n] = u * side + v
                n += 1
    frames = np.empty((len(active), n), np.float32)
    for i in range(n):
        row = movie[r0 + pixels[i] // side, c0 + pixels[i] % side]
        for j in range(len(active)):
            frames[j, i] = row[active[j]]
    samples, shape, image = np.empty(len(active), np.int64), np.empty(len(active), np.float32), np.empty(n, np.float32)
    for j in range(len(active)):
        samples[j], shape[j] = j, x[active[j]]
    start_problems(frames, samples, shape, image)
    fit_problems(
        frames, samples, shape, kappas[:n], np.int64(IMAGE_STEPS), np.float32(IMAGE_TOLERANCE), image, free[:n]
    )
    for i in range(n):
        s[pixels[i] // side, pixels[i] % side] = image[i]
    return s.max()


@numba.njit(cache=True)
def _keep_seed_component(s, centre, queue, mark):  # type: ignore[no-untyped-def]
    """Zero what is not connected (4 neighbours, above EDGE of the maximum) to the seed's pixel; returns the support."""
    side = s.shape[0]
    peak = s.max()
    mark[:] = False
    u, v = centre, centre
    for i in range(-1, 2):  # the seed's pixel may be a hole between bright ones
        for j in range(-1, 2):
            if s[centre + i, centre + j] > s[u, v]:
                u, v = centre + i, centre + j
    n = 0
    if s[u, v] > EDGE * peak:
        queue[0] = u * side + v
        mark[u, v] = True
        n = 1
    at = 0
    while at < n:
        u, v = queue[at] // side, queue[at] % side
        at += 1
        for i, j in ((u - 1, v), (u + 1, v), (u, v - 1), (u, v + 1)):
            if 0 <= i < side and 0 <= j < side and not mark[i, j] and s[i, j] > EDGE * peak:
                mark[i, j] = True
                queue[n] = i * side + j
                n += 1
    for i in range(side):
        for j in range(side):
            if not mark[i, j]:
                s[i, j] = 0
    return n


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _first_image(movie, r0, c0, inside, half, x, s, active):  # type: ignore[no-untyped-def]
    """Image of the frames at which the seed outshines its surroundings."""
    n_frames = len(x)
    side = s.shape[0]
    peak = x.max()
    level = max(np.float32(0.3) * peak, np.float32(3) * _noise(x))
    n_active = 0
    for t in range(n_frames):
        if x[t] >= min(level, peak):
            active[n_active] = t
            n_active += 1
    brightest = np.full(n_active, np.float32(1e-6))
    for u in range(side):
        for v in range(side):
            y, z = r0 + u, c0 + v
            if 0 <= y < movie.shape[0] and 0 <= z < movie.shape[1] and inside[y, z]:
                row = movie[y, z]
                for i in range(n_active):
                    brightest[i] = max(brightest[i], row[active[i]])
    for i in range(n_active):
        share = min(x[active[i]] / brightest[i], np.float32(1))
        brightest[i] = share**DOMINANCE * x[active[i]]
    for u in range(side):
        for v in range(side):
            y, z = r0 + u, c0 + v
            s[u, v] = 0
            if 0 <= y < movie.shape[0] and 0 <= z < movie.shape[1] and inside[y, z]:
                row = movie[y, z]
                total = np.float32(0)
                for i in range(n_active):
                    total += brightest[i] * row[active[i]]
                s[u, v] = max(total, np.float32(0))
    return n_active


@numba.njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _moved(now, old):  # type: ignore[no-untyped-def]
    """Relative L1 change of what is at least 0; ``old`` becomes ``now``."""
    change, size = np.float32(0), np.float32(1e-6)
    for i in range(len(now)):
        change += abs(now[i] - old[i])
        size += now[i]
        old[i] = now[i]
    return change / size


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _fit_one(movie, inside, r0, c0, half, kappa, s, x):  # type: ignore[no-untyped-def]
    """Alternate trace and image of one seed, in place; returns the pixels of the support, 0 where nothing is left."""
    n_frames = movie.shape[2]
    side = 2 * half + 1
    kappas = np.full(max(n_frames, side * side), np.float32(kappa))
    free = np.empty(len(kappas), np.float32)
    active = np.empty(n_frames, np.int64)
    queue = np.empty(side * side, np.int64)
    mark = np.zeros((side, side), np.bool_)
    old_s = np.zeros(side * side, np.float32)
    old_x = np.zeros(n_frames, np.float32)
    x[:] = 0
    count = np.float32(0)
    for u in range(half - 1, half + 2):
        for v in range(half - 1, half + 2):
            y, z = r0 + u, c0 + v
            if 0 <= y < movie.shape[0] and 0 <= z < movie.shape[1] and inside[y, z]:
                row = movie[y, z]
                for t in range(n_frames):
                    x[t] += row[t]
                count += 1
    for t in range(n_frames):
        x[t] /= max(count, np.float32(1))
    _first_image(movie, r0, c0, inside, half, x, s, active)
    peak = s.max()
    if peak <= 0:
        return 0
    s /= peak
    for u in range(side):  # the first image only says where: its brighter part
        for v in range(side):
            if s[u, v] < np.float32(FIRST_EDGE):
                s[u, v] = 0
    for t in range(n_frames):
        x[t] = max(x[t], np.float32(0))
    n_support = 0
    for turn in range(ROUNDS):
        n_support = _keep_seed_component(s, half, queue, mark)
        if n_support == 0:
            return 0
        noise = _trace_step(movie, r0, c0, s, queue, n_support, kappas, x, free, 3 if turn == 0 else 2)
        peak = x.max()
        level = min(np.float32(3 * 1.4142) * noise, np.float32(0.5) * peak)
        n_active = 0
        for t in range(n_frames):
            if x[t] > level:
                active[n_active] = t
                n_active += 1
        if n_active == 0:
            return 0
        peak = _image_step(movie, r0, c0, inside, x, active[:n_active], kappas, s, free)
        if peak <= 0:
            return 0
        s /= peak
        x *= peak
        n_support = _keep_seed_component(s, half, queue, mark)
        moved_s, moved_x = _moved(s.ravel(), old_s), _moved(x, old_x)
        if moved_s < SETTLED and moved_x < SETTLED:
            break
    return n_support


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _subtract_one(movie, inside, r0, c0, s, grow):  # type: ignore[no-untyped-def]
    """Subtract the plain projection on one image: trace, then image on the grown support, both at least 0."""
    n_frames = movie.shape[2]
    side = s.shape[0]
    energy = np.float32(1e-6)
    x = np.zeros(n_frames, np.float32)
    for u in range(side):
        for v in range(side):
            a = s[u, v]
            if a > 0:
                row = movie[r0 + u, c0 + v]
                energy += a * a
                for t in range(n_frames):
                    x[t] += a * row[t]
    for t in range(n_frames):
        x[t] /= energy
    level = min(np.float32(3 * 1.4142) * _noise(x), np.float32(0.5) * x.max())
    active, n_active = np.empty(n_frames, np.int64), 0
    total = np.float32(1e-6)
    for t in range(n_frames):
        x[t] = max(x[t], np.float32(0))
        if x[t] > level:
            active[n_active] = t
            n_active += 1
            total += x[t] * x[t]
    for u in range(side):
        for v in range(side):
            y, z = r0 + u, c0 + v
            if y < 0 or z < 0 or y >= movie.shape[0] or z >= movie.shape[1] or not inside[y, z]:
                continue
            near = False
            for i in range(max(0, u - grow), min(side, u + grow + 1)):
                for j in range(max(0, v - grow), min(side, v + grow + 1)):
                    near |= s[i, j] > 0
            if not near:
                continue
            row = movie[y, z]
            a = np.float32(0)
            for i in range(n_active):
                a += row[active[i]] * x[active[i]]
            a /= total
            if a > 0:
                for t in range(n_frames):
                    row[t] -= a * x[t]


@dataclass(frozen=True)
class SeedFits:
    """Rank-one fits of a batch of seeds.

    Parameters
    ----------
    seeds : numpy.ndarray
        ``(n, 2)`` row and column.
    images : numpy.ndarray
        ``(n, side, side)`` float32, maximum 1, centred on the seed, zero where the fit failed.
    traces : numpy.ndarray
        ``(n, n_frames)`` float32, zero where the fit failed.
    areas : numpy.ndarray
        ``(n,)`` pixels of the support; 0 where the fit failed.
    """

    seeds: NDArray[np.int64]
    images: Float32
    traces: Float32
    areas: NDArray[np.int64]


def fit_seeds(movie: Float32, inside: NDArray[np.bool_], seeds: NDArray[np.int64], half: int, kappa: float) -> SeedFits:
    """Fit one image and one trace around each seed by alternating one-dimensional robust regressions.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32 in units of the noise.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    seeds : numpy.ndarray
        ``(n, 2)`` row and column of pixels that count; their windows of ``2 half + 1`` px must not overlap if the
        fits are to be subtracted.
    half : int
        Half the side of a window (px), at least 2.
    kappa : float
        Where the one-sided Huber loss turns linear, in units of the noise.

    Returns
    -------
    SeedFits
    """
    side, n, n_frames = 2 * half + 1, len(seeds), movie.shape[2]
    images, traces = np.zeros((n, side, side), np.float32), np.zeros((n, n_frames), np.float32)
    fits = SeedFits(seeds, images, traces, np.zeros(n, np.int64))
    if is_cupy_array(movie) and n:
        from gpucells.ops.seed_passes import fit_on_device

        images[:], traces[:], fits.areas[:] = fit_on_device(movie, to_host(inside), seeds, half, kappa)
    elif n:
        corners = (seeds - half).tolist()

        def fit(first: int, last: int) -> None:
            for i in range(first, last):
                fits.areas[i] = _fit_one(
                    movie, inside, corners[i][0], corners[i][1], half, np.float32(kappa), images[i], traces[i]
                )

        each_share(n, fit)
    fits.images[fits.areas == 0] = 0
    fits.traces[fits.areas == 0] = 0
    return fits


def subtract_seeds(
    movie: Float32, inside: NDArray[np.bool_], fits: SeedFits, refused: NDArray[np.bool_], grow: int = 2
) -> None:
    """Take fits out of the movie, in place; around a refused seed it is emptied, so that the seed is not met again.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32 that the fits are of; changed.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    fits : SeedFits
        In windows that do not overlap.
    refused : numpy.ndarray
        ``(n,)`` bool, the seeds whose 5 x 5 px are set to 0.
    grow : int
        Pixels around a fit's support, inside its window, that are fitted and subtracted as well.
    """
    half = fits.images.shape[1] // 2
    if is_cupy_array(movie):
        _subtract_cuda(movie, to_host(inside), fits, refused, grow)
        return
    corners = (fits.seeds - half).tolist()

    def subtract(first: int, last: int) -> None:
        for i in range(first, last):
            _subtract_one(movie, inside, corners[i][0], corners[i][1], fits.images[i], grow)

    each_share(len(corners), subtract)
    for row, column in fits.seeds[refused].tolist():
        movie[max(0, row - BLANK) : row + BLANK + 1, max(0, column - BLANK) : column + BLANK + 1] = 0


def _subtract_cuda(
    movie: Any, inside: NDArray[np.bool_], fits: SeedFits, refused: NDArray[np.bool_], grow: int
) -> None:
    from gpucells.ops.seed_passes import subtract_on_device

    if len(fits.seeds):
        subtract_on_device(movie, inside, fits.seeds, fits.images, grow)
    by = np.arange(-BLANK, BLANK + 1)
    rows, columns = fits.seeds[refused, :1, None] + by[:, None], fits.seeds[refused, 1:, None] + by
    there = (rows >= 0) & (rows < movie.shape[0]) & (columns >= 0) & (columns < movie.shape[1])
    if there.any():
        emptied = namespace_of(movie).asarray((rows * movie.shape[1] + columns)[there])
        movie.reshape(-1, movie.shape[2])[emptied] = 0
