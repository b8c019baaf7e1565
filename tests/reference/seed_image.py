"""The seed image by its definition, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np


def seed_image(movie: Any, inside: Any) -> np.ndarray:
    """Average the 5 x 5 neighbours that count, without the pixel itself, at the pixel's brightest frame."""
    height, width, _ = movie.shape
    image = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            trace = movie[y, x]
            if not inside[y, x] or trace.max() <= 0:
                continue
            frame = movie[..., int(np.argmax(trace))]
            around = [
                frame[i, j]
                for i in range(y - 2, y + 3)
                for j in range(x - 2, x + 3)
                if 0 <= i < height and 0 <= j < width and inside[i, j] and (i, j) != (y, x)
            ]
            image[y, x] = np.mean(np.array(around, float)) if around else 0
    return image
