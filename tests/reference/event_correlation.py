"""The correlation of footprints with the movie at the cells' events, on dense arrays, a cell at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage


def event_correlation(
    movie: Any, images: Any, traces: Any, noise: Any, background: Any, field: Any, offset: Any, seen: Any
) -> np.ndarray:
    """Average the residual over each cell's events; ``seen`` is ``(n_cells, n_pixels)``, the pixels that count."""
    model = (images / noise).T @ traces + background.T @ field + offset[:, None]
    result = []
    for cell, (image, pixels) in enumerate(zip(images, seen, strict=True)):
        above = traces[cell] - np.median(traces[cell])
        middle = ndimage.median_filter(above, 3, mode="constant")
        weight = np.where(middle > 0.3 * middle.max(), above, 0)
        if not weight.any() or pixels.sum() < 2:
            result.append(0.0)
            continue
        left = (movie - model)[pixels] @ weight / (weight @ weight) * noise[pixels]
        shown = image[pixels] + left
        flat = np.ptp(shown) == 0 or np.ptp(image[pixels]) == 0
        result.append(0.0 if flat else float(np.corrcoef(shown, image[pixels])[0, 1]))
    return np.array(result)
