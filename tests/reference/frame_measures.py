"""Slow float64 answers for noise, the spatial filter and the measures of traces and footprints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage


def noise_std(rows: Any) -> np.ndarray:
    """Take the periodogram by its definition: a sum of cosines and one of sines a frequency."""
    rows = np.asarray(rows, float)
    n = rows.shape[1]
    time = np.arange(n)
    powers = []
    for j in range(max(1, n // 4 - 1), n // 2):
        real, imaginary = rows @ np.cos(2 * np.pi * j * time / n), rows @ np.sin(2 * np.pi * j * time / n)
        powers.append((real**2 + imaginary**2) / n)
    return np.sqrt(np.mean(powers, axis=0))


def band_pass_mirrored(frame: Any, low: float, high: float, order: int = 4) -> np.ndarray:
    """Filter one frame continued by its mirror image to twice its size, which is then periodic without a seam."""
    frame = np.asarray(frame, float)
    height, width = frame.shape
    doubled = np.pad(frame, ((0, height), (0, width)), mode="symmetric")
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.fftfreq(2 * width))
    gain = np.ones_like(frequency)
    if math.isfinite(high):
        gain /= 1 + (frequency / high) ** (2 * order)
    if low > 0:
        gain *= 1 - 1 / (1 + (frequency / low) ** (2 * order))
    return np.fft.ifft2(np.fft.fft2(doubled) * gain).real[:height, :width]


def trace_snr(trace: Any) -> float:
    middle = [
        sorted([0.0 if t < 0 or t >= len(trace) else trace[t] for t in (s - 1, s, s + 1)])[1] for s in range(len(trace))
    ]
    return max(middle) / math.sqrt(2) / noise_std(np.asarray(trace)[None])[0]


def temporal_corruption(trace: Any) -> float:
    padded = [0.0, *trace, 0.0]
    middle = [sorted(padded[t : t + 3])[1] for t in range(len(trace))]
    active = [t for t in range(len(trace)) if middle[t] > 0.3 * max(middle)]
    return float(np.mean([abs(trace[t] - middle[t]) / max(trace[t], middle[t]) for t in active]))


def largest_body(image: Any, level: float) -> np.ndarray:
    labels, count = ndimage.label(image > level * image.max(), structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, count + 1))
    return labels == 1 + int(np.argmax(sizes))


def axis_ratio(body: Any) -> float:
    """Take the axes from the covariance of the pixels' positions, each pixel a unit square."""
    covariance = np.cov(np.argwhere(body).T, bias=True) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(covariance)
    return math.sqrt(large / small)


def corruption(image: Any) -> float:
    image = image / image.max()
    height, width = image.shape
    inside = image > 1e-3
    mean = image[inside].mean()
    local = overall = 0.0
    for y, x in np.argwhere(inside):
        around = np.mean(
            [
                image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                for i in range(y - 1, y + 3)
                for j in range(x - 1, x + 3)
            ]
        )
        local += (image[y, x] - around) ** 2 / max(0.01, around)
        overall += (image[y, x] - mean) ** 2 / max(0.01, mean)
    return local / overall
