"""Seeds: where cells may be.

The movie here is the one that cells are looked for in: smoothed, its background removed, every pixel in units of its
own noise, ``(height, width, n_frames)``.

Seed image (Inan et al. 2021): the brightness of a pixel's 5 x 5 neighbours, without itself, at the frame at which the
pixel is brightest. A pixel that is bright alone scores nothing, and one that is never above zero is no seed.

A movie on a GPU goes to ``kernels/seeds.cu``; the image is the host's, as seeds are picked there.
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

BLOCK = 128  # frames whose maximum is taken at once
REACH = 2  # the neighbourhood is 5 x 5 px, as in the paper
WARPS = 8  # of a block of the CUDA kernel: 256 threads

SEED_PIXELS = Kernel(
    "seeds.cu",
    "seed_pixels",
    (
        Array("movie", "float32", ("height", "width", "n_frames")), Array("inside", "bool", ("height", "width")),
        Array("pixels", "int64", ("n_pixels",)), Scalar("n_pixels"), Scalar("height"), Scalar("width"),
        Scalar("n_frames"), Array("values", "float32", ("n_pixels",), written=True),
    ),
    threads=32 * WARPS, registers=48, defines=(Define("WARPS", (WARPS,)), Define("REACH", (REACH,))),
)  # fmt: skip


@numba.njit(cache=True, fastmath=True)
def _brightest(trace):  # type: ignore[no-untyped-def]
    """Largest value and the first frame that has it; block by block, since only a maximum alone is vectorised."""
    n_frames = len(trace)
    top = trace[0]
    at = 0
    for t0 in range(0, n_frames, BLOCK):
        part = trace[t0 : min(t0 + BLOCK, n_frames)]
        highest = part[0]
        for t in range(len(part)):
            highest = max(highest, part[t])
        if highest > top:
            top = highest
            at = t0
    for t in range(at, n_frames):
        if trace[t] == top:
            return top, t
    return top, 0


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _seed_values(movie, inside, pixels, values, begin, end):  # type: ignore[no-untyped-def]
    height, width = inside.shape
    for k in range(begin, end):
        y, x = pixels[k] // width, pixels[k] % width
        top, best = _brightest(movie[y, x])
        if top <= 0:  # emptied: its first frame would be as good as any
            continue
        total = np.float32(0)
        count = 0
        for i in range(max(0, y - REACH), min(height, y + REACH + 1)):
            for j in range(max(0, x - REACH), min(width, x + REACH + 1)):
                if inside[i, j] and (i != y or j != x):
                    total += movie[i, j, best]
                    count += 1
        if count:
            values[k] = total / count


def seed_image(movie: Float32, inside: NDArray[np.bool_]) -> Float32:
    """Compute the seed image ``(height, width)`` float32; movie and mask as :func:`update_seed_image` takes them."""
    height, width, _ = movie.shape
    image = np.zeros((height, width), np.float32)
    update_seed_image(movie, inside, image, np.array([(0, height, 0, width)]))
    return image


def update_seed_image(
    movie: Float32, inside: NDArray[np.bool_], image: Float32, boxes: NDArray[np.integer[Any]]
) -> None:
    """Bring parts of a seed image up to date, in place.

    Parameters
    ----------
    movie : numpy.ndarray
        ``(height, width, n_frames)`` float32 in units of the noise.
    inside : numpy.ndarray
        ``(height, width)`` bool, the pixels that count.
    image : numpy.ndarray
        ``(height, width)`` float32 in units of the noise, on the host also where the movie is not.
    boxes : numpy.ndarray
        ``(n, 4)`` integers ``row0, row1, column0, column1``; may overlap, reach over the border, or be empty.
    """
    among, within = to_host(inside), covered(boxes, image.shape)  # a pixel counts once, in however many it lies
    pixels = np.flatnonzero(within & among)
    image[within] = 0
    if is_cupy_array(movie):
        image.put(pixels, _values_cuda(movie, among, pixels))
        return
    values = np.zeros(len(pixels), np.float32)
    each_share(len(pixels), lambda begin, end: _seed_values(movie, among, pixels, values, begin, end))
    image.put(pixels, values)


def _values_cuda(movie: Any, inside: NDArray[np.bool_], pixels: NDArray[np.int64]) -> Float32:
    xp = namespace_of(movie)
    values = xp.empty(len(pixels), np.float32)
    SEED_PIXELS.launch(
        (-(-len(pixels) // WARPS),), (32, WARPS), movie=movie, inside=xp.asarray(inside, bool),
        pixels=xp.asarray(pixels, np.int64), values=values,
    )  # fmt: skip
    return to_host(values)


def pick_seeds(image: Float32, threshold: float, min_pixels: int, distance: int) -> NDArray[np.int64]:
    """Pick the local maxima above a threshold that are far enough apart to be fitted at once.

    Of equally bright pixels the first in row order wins. Whether a pixel is picked depends on nothing farther than
    ``distance + min_pixels`` from it (the size of a bright spot there decides whether it competes), so tiles agree.

    Parameters
    ----------
    image : numpy.ndarray
        ``(height, width)`` float32 seed image.
    threshold : float
        Seeds are brighter, in the image's units.
    min_pixels : int
        Pixels above the threshold that a seed must be connected to (8 neighbours), itself included.
    distance : int
        Two seeds are farther apart than this along rows or along columns (px).

    Returns
    -------
    numpy.ndarray
        ``(n_seeds, 2)`` row and column, brightest first.
    """
    above = image > threshold
    labels, n_labels = ndimage.label(above, structure=np.ones((3, 3)))
    if n_labels == 0:
        return np.zeros((0, 2), np.int64)
    large = np.bincount(labels.ravel()) >= min_pixels
    candidates = np.flatnonzero(above & large[labels])
    order = _brightest_first(image.ravel(), candidates)
    rank = np.zeros(image.size, np.int32)  # brightness without ties: windows that overlap would be fitted at once
    rank[order] = np.arange(len(order), 0, -1)
    highest = ndimage.maximum_filter(rank.reshape(image.shape), size=2 * distance + 1, mode="constant").ravel()
    return np.stack(np.unravel_index(order[rank[order] == highest[order]], image.shape), axis=1).astype(np.int64)


def _brightest_first(image: Float32, pixels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Sort pixels by brightness, equal ones by number: as one integer each, which is a third of a stable argsort."""
    bits = (image[pixels] + np.float32(0)).view(np.int32).astype(np.int64)  # + 0: -0 is not below 0
    rising = np.where(
        bits < 0, bits ^ 0x7FFFFFFF, bits
    )  # floats sort as integers of their bits, negative ones reversed
    return np.sort((-rising << 32) | pixels) & 0xFFFFFFFF
