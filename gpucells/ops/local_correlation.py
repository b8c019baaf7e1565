"""Correlation of every pixel with its eight neighbours: cells show, shot noise does not.

With a threshold it is the image that CNMF-E finds cells in (Zhou et al. 2018): what is not above some
noises counts as 0.

Movies on a GPU go to ``kernels/local_correlation.cu``, all others to numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import ndimage

from gpucells.device.arrays import namespace_of, to_host
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.ops.pixel_boxes import covered
from gpucells.ops.row_blocks import each_share

Float32 = NDArray[np.float32]

WARPS, STRIP = 8, 4  # of the CUDA kernel: strips a block, pixels of a row a strip, which a warp works on
# A NaN has to stay one where a threshold is compared with, so only what leaves it alone is allowed.
SAFE = {"reassoc", "nsz", "arcp", "contract"}
LARGEST = np.float32(3.4028235e38)  # finite number of single precision
AFTER = ((0, 1), (1, -1), (1, 0), (1, 1))  # rows and columns to the neighbours that it multiplies a pixel with

LOCAL_CORRELATION = Kernel(
    "local_correlation.cu",
    "local_correlation",
    (
        Array("movie", "float32", ("height", "width", "n_frames")), Array("mean", "float32", ("height", "width")),
        Scalar("threshold", "float32"), Array("strips", "int64", ("n_strips",)), Scalar("n_strips"),
        Scalar("height"), Scalar("width"), Scalar("n_frames"),
        Array("total", "float32", ("height", "width"), written=True),
        Array("squares", "float32", ("height", "width"), written=True),
        Array("products", "float32", (len(AFTER), "height", "width"), written=True),
    ),
    threads=32 * WARPS, registers=112, defines=(Define("WARPS", (WARPS,)), Define("STRIP", (STRIP,))),
)  # fmt: skip


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _moments(movie, mean, threshold, wanted, rest, norm, begin, end):  # type: ignore[no-untyped-def]
    """Mean of every pixel about the given one, and the norm of what varies."""
    _, width, n_frames = movie.shape
    for y in range(begin, end):
        for x in range(width):
            if not wanted[y, x]:
                continue
            trace, m = movie[y, x], mean[y, x]
            total, squares = np.float32(0), np.float32(0)
            for t in range(n_frames):
                value = trace[t] - m
                value = np.float32(0) if value <= threshold else value
                total += value
                squares += value * value
            rest[y, x] = total / np.float32(n_frames)
            norm[y, x] = np.sqrt(max(squares - total * rest[y, x], np.float32(0)))


@numba.njit(cache=True, fastmath=SAFE, error_model="numpy", nogil=True)
def _correlate(movie, mean, threshold, wanted, rest, norm, image, begin, end):  # type: ignore[no-untyped-def]
    height, width, n_frames = movie.shape
    for y in range(begin, end):
        for x in range(width):
            if not wanted[y, x]:
                continue
            total = np.float32(0)
            count = 0
            for i in range(max(0, y - 1), min(height, y + 2)):
                for j in range(max(0, x - 1), min(width, x + 2)):
                    if (i != y or j != x) and norm[i, j] > 0:
                        product = np.float32(0)
                        a, b, m, k = movie[y, x], movie[i, j], mean[y, x], mean[i, j]
                        for t in range(n_frames):
                            one, other = a[t] - m, b[t] - k
                            one = np.float32(0) if one <= threshold else one
                            product += one * (np.float32(0) if other <= threshold else other)
                        product -= np.float32(n_frames) * rest[y, x] * rest[i, j]
                        total += product / (norm[y, x] * norm[i, j] + np.float32(1e-20))
                        count += 1
            image[y, x] = total / count if count and norm[y, x] > 0 else 0


def local_correlation(movie: Float32, mean: Float32 | None = None, threshold: float | None = None) -> Float32:
    """Compute the local correlation image.

    Parameters
    ----------
    movie : array
        ``(height, width, n_frames)`` float32, NumPy's or CuPy's.
    mean : numpy.ndarray, optional
        ``(height, width)`` about what each pixel's mean is, taken off every sample as it is read: single precision
        would drown the fluctuations in it. Not needed where the movie's baseline is near 0.
    threshold : float, optional
        What is not above it counts as 0, once the mean is off (in the movie's units): transients are correlated and
        noise is not. All samples count as they are where not given.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` float32 in -1 to 1; 0 where a pixel is constant.
    """
    image = np.zeros(movie.shape[:2], np.float32)
    everywhere = np.array([(0, movie.shape[0], 0, movie.shape[1])])
    update_local_correlation(movie, image, everywhere, mean, threshold)
    return image


def update_local_correlation(
    movie: Float32,
    image: Float32,
    boxes: NDArray[np.integer[Any]],
    mean: Float32 | None = None,
    threshold: float | None = None,
) -> None:
    """Bring parts of a local correlation image up to date, in place.

    Parameters
    ----------
    movie, mean, threshold
        As :func:`local_correlation` takes them.
    image : numpy.ndarray
        ``(height, width)`` float32, on the host also where the movie is not.
    boxes : numpy.ndarray
        ``(n, 4)`` integers ``row0, row1, column0, column1``; may overlap, reach over the border, or be empty. A pixel's
        value depends on its neighbours too: a change of the movie reaches one pixel farther than itself.
    """
    among = covered(boxes, image.shape)
    if not among.any():
        return
    around = ndimage.binary_dilation(among, np.ones((3, 3), bool))
    about = np.zeros(movie.shape[:2], np.float32) if mean is None else np.ascontiguousarray(mean, np.float32)
    level = -LARGEST if threshold is None else np.float32(threshold)
    if is_cupy_array(movie):
        image[among] = _correlate_cuda(movie, about, level, around)[among]
        return
    rest, norm = np.zeros(movie.shape[:2], np.float32), np.zeros(movie.shape[:2], np.float32)
    each_share(len(movie), lambda begin, end: _moments(movie, about, level, around, rest, norm, begin, end))
    each_share(len(movie), lambda begin, end: _correlate(movie, about, level, among, rest, norm, image, begin, end))


def _correlate_cuda(movie: Any, about: Float32, level: np.float32, wanted: NDArray[np.bool_]) -> Float32:
    """Multiply on the device; what is left is arithmetic on a few images."""
    xp, (height, width, n_frames) = namespace_of(movie), movie.shape
    total, squares = xp.zeros((height, width), np.float32), xp.zeros((height, width), np.float32)
    products = xp.zeros((len(AFTER), height, width), np.float32)
    strips = _strips(wanted)
    LOCAL_CORRELATION.launch(
        (-(-len(strips) // WARPS),), (32, WARPS), movie=movie, mean=xp.asarray(about), threshold=level,
        strips=xp.asarray(strips), total=total, squares=squares, products=products,
    )  # fmt: skip
    mean: Float32 = np.divide(to_host(total), max(n_frames, 1), dtype=np.float32)
    norm = np.sqrt(np.maximum(to_host(squares) - np.float32(n_frames) * mean**2, 0))
    return _mean_of_neighbours(to_host(products), mean, norm, n_frames)


def _strips(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of the strips of a row with a wanted pixel, those below each other next to each other."""
    height, width = wanted.shape
    across = -(-width // STRIP)
    padded: NDArray[np.bool_] = np.zeros((-(-height // WARPS), WARPS, across, STRIP), np.bool_)
    padded.reshape(-1, across * STRIP)[:height, :width] = wanted
    down, across_at, row = np.nonzero(np.swapaxes(padded.any(axis=3), 1, 2))
    return np.asarray((down * WARPS + row) * across + across_at, np.int64)


def _mean_of_neighbours(products: Float32, mean: Float32, norm: Float32, n_frames: int) -> Float32:
    """Turn products into correlations, and average those that each pixel is part of."""
    (height, width), varies = mean.shape, norm > 0
    total, count = np.zeros_like(mean), np.zeros_like(mean)
    for (down, right), product in zip(AFTER, products, strict=True):
        one = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        other = slice(down, height), slice(max(0, right), width - max(0, -right))
        covariance = product[one] - np.float32(n_frames) * mean[one] * mean[other]
        share = covariance / (norm[one] * norm[other] + np.float32(1e-20))
        for mine, its in ((one, other), (other, one)):
            total[mine] += np.where(varies[its], share, 0)
            count[mine] += varies[its]
    return np.where((count > 0) & varies, total / np.maximum(count, 1), 0).astype(np.float32)
