"""From the low-rank backgrounds of parts of an image to one of the image.

The parts' images, put side by side, times their traces are one matrix; its singular value decomposition costs no pass
over the movie, since the images enter through their Gram matrices alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Float32 = NDArray[np.float32]


def join_backgrounds(
    images: list[Float32], traces: list[Float32], n: int | str, smallest_part: int
) -> tuple[list[Float32], Float32]:
    """Bring backgrounds of parts of an image to one set of traces.

    Parameters
    ----------
    images : list of numpy.ndarray
        ``(n_i, n_pixels_i)`` in units of the noise, of parts that have no pixel in common.
    traces : list of numpy.ndarray
        ``(n_i, n_frames)``.
    n : int or "auto"
        How many to keep; auto: as many as stand out of the noise of the smallest part.
    smallest_part : int
        Pixels of it.

    Returns
    -------
    images : list of numpy.ndarray
        ``(n_background, n_pixels_i)`` float32.
    traces : numpy.ndarray
        ``(n_background, n_frames)`` float32, orthonormal.
    """
    n_frames = traces[0].shape[1]
    # The image of all parts has as many pixels; its Gram matrix has a block for each part.
    roots = [_root(image @ image.T) for image in images]
    stacked = np.concatenate([root @ trace for root, trace in zip(roots, traces, strict=True)])
    if len(stacked) == 0:
        return [image[:0] for image in images], np.zeros((0, n_frames), np.float32)
    _, strength, rows = linalg.svd(stacked, full_matrices=False)
    above = strength > np.sqrt(smallest_part) + np.sqrt(n_frames)
    kept = int(above.sum()) if n == "auto" else int(n)
    common = rows[: max(1, kept)].astype(np.float32)
    return [
        np.asarray((common @ trace.T) @ image, np.float32) for image, trace in zip(images, traces, strict=True)
    ], common


def _root(gram: Float32) -> Float32:
    values, vectors = linalg.eigh(gram)
    return np.asarray(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T, np.float32)
