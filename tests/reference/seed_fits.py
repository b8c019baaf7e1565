"""The rank-one fit of a seed and its subtraction, in float64, seed by seed, with whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from gpucells.ops.robust_single import BLOCK, CURVATURE_FLOOR
from gpucells.ops.seed_fits import BLANK, DOMINANCE, EDGE, FIRST_EDGE, IMAGE_STEPS, IMAGE_TOLERANCE, ROUNDS, SETTLED


def noise_of(trace: Any) -> float:
    """Noise from the median absolute second difference."""
    return float(np.median(np.abs(np.diff(trace, 2)))) / (0.6745 * 2.449490) if len(trace) >= 3 else 0.0


def newton(data: Any, shape: Any, kappa: float, steps: int, tolerance: float, x: Any) -> tuple[Any, Any]:
    """Steps of the one-sided Huber fit of ``shape`` in each column, ``BLOCK`` columns settling together."""
    least = 1e-20 + CURVATURE_FLOOR * (shape**2).sum()
    x, free = x.copy(), np.zeros_like(x)
    for first in range(0, len(x), BLOCK):
        block = slice(first, first + BLOCK)
        for _ in range(steps):
            residual = data[:, block] - shape[:, None] * x[block]
            slope = shape @ np.minimum(residual, kappa)
            free[block] = x[block] + slope / np.maximum(shape**2 @ (residual < kappa), least)
            new = np.maximum(free[block], 0)
            change, size = np.abs(new - x[block]).sum(), np.abs(x[block]).sum()
            x[block] = new
            if change <= tolerance * size:
                break
    return x, free


def keep_component(image: Any) -> Any:
    """Zero what is not connected to the brightest of the 3 x 3 px in the middle."""
    labels, _ = ndimage.label(image > EDGE * image.max())
    half = len(image) // 2
    middle = (slice(half - 1, half + 2),) * 2
    start = np.unravel_index(np.argmax(image[middle]), (3, 3))
    label = labels[middle][start]
    return np.where((labels == label) & (label > 0), image, 0)


def fit_seed(movie: Any, inside: Any, seed: Any, half: int, kappa: float) -> tuple[Any, Any, int]:
    """Return image ``(side, side)``, trace and area of one seed; an area of 0 where the fit failed."""
    window = [slice(at, at + 2 * half + 1) for at in seed]  # of the padded movie
    live = np.pad(inside, half)[tuple(window)]
    data = np.pad(movie.astype(float), ((half, half), (half, half), (0, 0)))[tuple(window)]
    middle = (slice(half - 1, half + 2),) * 2
    mean = data[middle][live[middle]].mean(axis=0)
    bright = mean >= min(max(0.3 * mean.max(), 3 * noise_of(mean)), mean.max())
    share = np.minimum(mean[bright] / np.maximum(data[live][:, bright].max(axis=0), 1e-6), 1)
    image = np.where(live, np.maximum(data[..., bright] @ (share**DOMINANCE * mean[bright]), 0), 0)
    failed = np.zeros_like(image), np.zeros_like(mean), 0
    if image.max() <= 0:
        return failed
    image /= image.max()
    image[image < FIRST_EDGE] = 0
    trace, old_image, old_trace = np.maximum(mean, 0), np.zeros_like(image), np.zeros_like(mean)
    for turn in range(ROUNDS):
        image = keep_component(image)
        if not image.any():
            return failed
        on = image > 0
        trace, free = newton(data[on], image[on], kappa, 3 if turn == 0 else 2, 0, trace)
        active = trace > min(3 * 1.4142 * noise_of(free), 0.5 * trace.max())
        if not active.any():
            return failed
        frames, x = data[live][:, active].T, trace[active]
        start = np.maximum(x @ frames / (x**2).sum(), 0)
        image = np.zeros_like(image)
        image[live] = newton(frames, x, kappa, IMAGE_STEPS, IMAGE_TOLERANCE, start)[0]
        peak = image.max()
        if peak <= 0:
            return failed
        image, trace = keep_component(image / peak), trace * peak
        moved = [np.abs(image - old_image).sum() / image.sum(), np.abs(trace - old_trace).sum() / trace.sum()]
        old_image, old_trace = image, trace
        if max(moved) < SETTLED:
            break
    return image, trace, int((image > 0).sum())


def subtract_seed(movie: Any, inside: Any, seed: Any, image: Any, refused: bool, grow: int) -> None:
    """Subtract one image's projection from a float64 movie, in place."""
    half, (height, width, _) = len(image) // 2, movie.shape
    placed = np.zeros((height + 2 * half, width + 2 * half))
    placed[seed[0] : seed[0] + 2 * half + 1, seed[1] : seed[1] + 2 * half + 1] = image
    window = (placed[half : half + height, half : half + width] > 0) * 0
    window[max(0, seed[0] - half) : seed[0] + half + 1, max(0, seed[1] - half) : seed[1] + half + 1] = 1
    placed = placed[half : half + height, half : half + width]
    free = np.tensordot(placed, movie, 2) / (1e-6 + (placed**2).sum())
    trace = np.maximum(free, 0)
    active = trace > min(3 * 1.4142 * noise_of(free), 0.5 * free.max())
    near = ndimage.binary_dilation(placed > 0, np.ones((2 * grow + 1, 2 * grow + 1))) if grow else placed > 0
    share = movie[..., active] @ trace[active] / (1e-6 + (trace[active] ** 2).sum())
    share = np.where(near & inside & (window > 0), np.maximum(share, 0), 0)
    movie -= share[..., None] * trace
    if refused:
        rows, columns = (slice(max(0, at - BLANK), at + BLANK + 1) for at in seed)
        movie[rows, columns] = 0
