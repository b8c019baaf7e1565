"""Seeds: where cells may be.

The movie here is the one that cells are looked for in: smoothed, its background removed, every pixel in units of its
own noise, ``(height, width, n_frames)``.

Seed image (Inan et al. 2021): the brightness of a pixel's 5 x 5 neighbours, without itself, at the frame at which the
pixel is brightest. A pixel that is bright alone scores nothing.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]

REACH = 2  # the neighbourhood is 5 x 5 px, as in the paper


@numba.njit(cache=True, parallel=True, fastmath=True)
def _seed_image(movie, inside, rows0, rows1, columns0, columns1, image):  # type: ignore[no-untyped-def]
    height, width, n_frames = movie.shape
    for y in numba.prange(rows0, rows1):
        for x in range(columns0, columns1):
            image[y, x] = 0
            if not inside[y, x]:
                continue
            trace = movie[y, x]
            top = trace[0]
            for t in range(n_frames):
                top = max(top, trace[t])
            best = 0
            for t in range(n_frames):
                if trace[t] == top:
                    best = t
                    break
            total = np.float32(0)
            count = 0
            for i in range(max(0, y - REACH), min(height, y + REACH + 1)):
                for j in range(max(0, x - REACH), min(width, x + REACH + 1)):
                    if inside[i, j] and (i != y or j != x):
                        total += movie[i, j, best]
                        count += 1
            if count:
                image[y, x] = total / count


def seed_image(movie: Float32, inside: NDArray[np.bool_], image: Float32 | None = None,
               box: tuple[int, int, int, int] | None = None) -> Float32:
    """Compute the seed image, or only its pixels inside ``box = (row0, row1, column0, column1)`` of ``image``.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` float32, in units of the noise; ``image`` itself where it was given.
    """
    height, width, _ = movie.shape
    result = np.zeros((height, width), np.float32) if image is None else image
    r0, r1, c0, c1 = box or (0, height, 0, width)
    _seed_image(movie, inside, max(r0, 0), min(r1, height), max(c0, 0), min(c1, width), result)
    return result


def pick_seeds(image: Float32, threshold: float, min_pixels: int, distance: int) -> NDArray[np.int64]:
    """Pick the local maxima above a threshold that are far enough apart to be fitted at once.

    Whether a pixel is picked depends on nothing farther than ``distance`` from it, so tiles agree on it.

    Returns
    -------
    numpy.ndarray
        ``(n_seeds, 2)`` row and column, brightest first.
    """
    above = image > threshold
    labels, n_labels = ndimage.label(above, structure=np.ones((3, 3)))
    if n_labels == 0:
        return np.zeros((0, 2), np.int64)
    sizes = np.bincount(labels.ravel())
    candidate = np.where(above & (sizes[labels] >= min_pixels), image, 0)
    peak = (candidate > 0) & (candidate == ndimage.maximum_filter(candidate, size=2 * distance + 1))
    rows, columns = np.nonzero(peak)
    order = np.argsort(-image[rows, columns], kind="stable")
    return np.stack([rows[order], columns[order]], axis=1)
