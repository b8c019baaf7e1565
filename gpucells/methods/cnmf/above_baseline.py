"""What a movie shows above each pixel's baseline, smoothed: the non-negative matrix that NMF starts from.

The one array of the movie's size that this makes is its result: a strip of the image is smoothed and lowered at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of
from gpucells.ops.row_blocks import each_block

STRIP_BYTES, DEVICE_STRIP_BYTES = 2**22, 2**27  # of the movie at once; some four times as much is held meanwhile
TRUNCATE = 2.0  # standard deviations at which the Gaussian ends: three taps at .5


def above_baseline(
    movie: Any, image_shape: tuple[int, int], percentile: float, smooth_px: float, smooth_frames: float
) -> Any:
    """Smooth a movie in space and time, take off each pixel's baseline, and clip at 0.

    Parameters
    ----------
    movie : array
        ``(n_pixels, n_frames)`` float32, pixels in C order; NumPy or CuPy. Samples that are not finite count as 0.
    image_shape : tuple of int
        ``(height, width)``; beyond its borders the image is mirrored, and so is time.
    percentile : float
        Of a pixel's smoothed trace: its baseline, 0 to 100.
    smooth_px, smooth_frames : float
        Standard deviations of a Gaussian that ends at twice them; 0 leaves the direction alone.

    Returns
    -------
    array
        ``(n_pixels, n_frames)`` float32, beside the movie; in units of its own root mean square, so that settings do
        not depend on the movie's units. All 0 for a movie that does not change.
    """
    xp, (height, width) = namespace_of(movie), image_shape
    out = xp.empty(movie.shape, np.float32)
    if movie.size == 0:
        return out
    images, filled = movie.reshape(height, width, -1), out.reshape(height, width, -1)
    in_space, in_time = _gaussian(smooth_px), _gaussian(smooth_frames)
    squares = np.zeros(height)

    def fill(rows: slice) -> None:
        margin = len(in_space) - 1
        block = xp.take(images, xp.asarray(_mirrored(rows.start - margin, rows.stop + margin, height)), axis=0)
        block = xp.where(xp.isfinite(block), block, xp.float32(0))
        block = _smoothed(xp, block, in_space, 0)
        block = _smoothed(xp, _wider(block, margin, 1), in_space, 1)
        block = _smoothed(xp, _wider(block, len(in_time) - 1, 2), in_time, 2)
        block -= xp.percentile(block, percentile, axis=2, keepdims=True).astype(np.float32)
        filled[rows] = xp.maximum(block, 0, out=block)
        squares[rows.start] = float((block * block).sum(dtype=np.float64))

    n_bytes = DEVICE_STRIP_BYTES if is_cupy_array(movie) else STRIP_BYTES
    length = max(1, n_bytes // (4 * width * movie.shape[1]))
    if is_cupy_array(movie):
        for start in range(0, height, length):
            fill(slice(start, min(start + length, height)))
    else:
        each_block(images, fill, length)
    scale = math.sqrt(squares.sum() / movie.size)
    if scale > 0:
        out /= np.float32(scale)
    return out


def _gaussian(width: float) -> NDArray[np.float32]:
    """Return one half of a Gaussian that adds up to 1, its middle first."""
    at = np.arange(int(TRUNCATE * width + 0.5) + 1)
    half = np.exp(-0.5 * (at / width) ** 2) if width > 0 else np.ones(1)
    return np.asarray(half / (2 * half.sum() - half[0]), np.float32)


def _mirrored(start: int, stop: int, n: int) -> NDArray[np.int64]:
    """Return the numbers from ``start`` to ``stop``, those outside 0 to n mirrored at the ends: 1 0 | 0 1 2 | 2 1."""
    around = np.arange(start, stop) % (2 * n)
    return np.asarray(np.minimum(around, 2 * n - 1 - around), np.int64)


def _wider(block: Any, margin: int, axis: int) -> Any:
    n = block.shape[axis]
    xp = namespace_of(block)
    return xp.take(block, xp.asarray(_mirrored(-margin, n + margin, n)), axis=axis) if margin else block


def _smoothed(xp: Any, block: Any, half: NDArray[np.float32], axis: int) -> Any:
    """Return a block filtered along one axis, without the margin that the filter needs on either side."""
    margin = len(half) - 1
    n = block.shape[axis] - 2 * margin
    moved = xp.moveaxis(block, axis, 0)
    out = half[0] * moved[margin : margin + n]
    for apart in range(1, margin + 1):
        out += half[apart] * (moved[margin - apart : margin - apart + n] + moved[margin + apart : margin + apart + n])
    return xp.moveaxis(out, 0, axis)
