"""A result with everything a result may have, of any size, for formats and round trips."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from gpucells.model.cells import Cells


def many_cells(
    n_cells: int = 6, n_frames: int = 50, image_shape: tuple[int, int] = (20, 31), seed: int = 0, **changes: Any
) -> Cells:
    """Make cells on a field that is not square, the last third of them rejected, each footprint lopsided.

    Footprints are blots of a few pixels at known places, brighter to the lower right; traces decay after events.
    """
    rng = np.random.default_rng(seed)
    height, width = image_shape
    rows, columns, weights = [], [], []
    for k in range(n_cells):
        top, left = rng.integers(0, height - 3), rng.integers(0, width - 4)
        y, x = np.mgrid[top : top + 3, left : left + 4]
        weight = 0.2 + (y - top) * 0.2 + (x - left) * 0.1 + rng.random(y.shape) * 0.05
        rows.append(np.full(y.size, k))
        columns.append((y * width + x).ravel())
        weights.append((weight / weight.max()).ravel())
    entries = np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))
    spikes = rng.random((n_cells, n_frames), np.float32)
    spikes *= rng.random((n_cells, n_frames), np.float32) < 0.02
    denoised = np.empty_like(spikes)
    level = np.zeros(n_cells, np.float32)
    for t in range(n_frames):
        level = level * np.float32(0.9) + spikes[:, t]
        denoised[:, t] = level
    noise = rng.standard_normal((n_cells, n_frames), np.float32) * np.float32(0.1)
    accepted = np.arange(n_cells) < n_cells - n_cells // 3
    traces = denoised + noise
    denoised[~accepted] = np.nan
    spikes[~accepted] = np.nan
    images = {name: rng.random(image_shape, np.float32) for name in ("mean", "max", "correlation", "noise")}
    values = {
        "footprints": sparse.csr_array(entries, shape=(n_cells, height * width)),
        "traces": traces,
        "image_shape": image_shape,
        "f0": (1 + rng.random(n_cells)).astype(np.float32),
        "accepted": accepted,
        "rejection": tuple("" if kept else "snr 1.2 below 3" for kept in accepted),
        "quality": {"snr": rng.random(n_cells, np.float32), "area_px": np.full(n_cells, 12, np.float32)},
        "denoised": denoised,
        "spikes": spikes,
        "background_images": rng.random((2, *image_shape), np.float32),
        "background_traces": rng.random((2, n_frames), np.float32),
        "summary_images": images,
        "frame_rate_hz": 12.5,
        "pixel_size_um": 2.0,
        "method": "cnmf",
        "settings": {"n_cells": "auto", "ar_order": 1},
    }
    return Cells(**(values | changes))  # type: ignore[arg-type]
