r"""The background: a few images times a few traces, found in block means of what the cells leave.

Block means are small, and a block as wide as a cell averages the noise away but not light that is smooth in space. Of
the block means' principal components the background keeps those that

* are stronger than noise: an eigenvalue above :data:`ABOVE_EDGE` times :math:`(1 + \sqrt{n / T})^2`, the largest that
  the covariance of :math:`n` noisy blocks over :math:`T` frames has (Marchenko and Pastur 1967);
* are smooth: Moran's I, the correlation between neighbouring blocks, above :data:`SMOOTH`, and above what chance gives
  to few blocks. What cells leave, or a cell that is not found yet, stays in its block or spreads over two;
* are not more than a quarter of the blocks (:data:`MOST`): what is smooth over two blocks each way has no more.

Baselines are apart, so traces and images may have either sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage, sparse

Float32 = NDArray[np.float32]

ABOVE_EDGE, SMOOTH = 2.0, 0.4
CHANCE = 3.0  # deviations of chance that Moran's I must be above, where there are few blocks
MOST = 0.25  # components of a tile, as a share of its blocks: what is smooth over two blocks each way has no more
ABOVE_NEIGHBOURS = 2.0  # noises of a block mean: what is brighter is a transient while cells are looked for
LOCAL = 9  # blocks an axis, from which on three are a small part of it
FEWEST_BLOCKS = 4  # an axis, as far as the image has pixels: fewer cannot tell smooth from not


@dataclass(frozen=True)
class Blocks:
    """An image cut into blocks about as wide as a cell.

    Parameters
    ----------
    shape : tuple of int
        Blocks down and across.
    means : scipy.sparse.csr_array
        ``(n_blocks, n_pixels)``: sums over a block's pixels over the root of their number, so that noise stays 1.
    """

    shape: tuple[int, int]
    means: sparse.csr_array

    @classmethod
    def of(cls, inside: NDArray[np.bool_], radius_px: float) -> Blocks:
        """Cut an image of ``(height, width)`` pixels that count or do not."""
        n_rows, n_columns = (max(min(FEWEST_BLOCKS, n), round(n / (2 * radius_px))) for n in inside.shape)
        row = np.arange(inside.shape[0]) * n_rows // inside.shape[0]
        column = np.arange(inside.shape[1]) * n_columns // inside.shape[1]
        block = (row[:, None] * n_columns + column).ravel()
        pixels = np.flatnonzero(inside)
        counts = np.bincount(block[pixels], minlength=n_rows * n_columns)
        weights = (1 / np.sqrt(np.maximum(counts, 1)))[block[pixels]].astype(np.float32)
        means = sparse.csr_array((weights, (block[pixels], pixels)), shape=(n_rows * n_columns, inside.size))
        return cls((n_rows, n_columns), means)

    def without_transients(self, means: Float32) -> Float32:
        """Cut off what a block has above its neighbours: transients of cells that are not known yet.

        Parameters
        ----------
        means : numpy.ndarray
            ``(n_blocks, n_frames)`` float32 in units of their noise.

        Returns
        -------
        numpy.ndarray
            ``(n_blocks, n_frames)`` float32, at most :data:`ABOVE_NEIGHBOURS` above the median of the three by three
            blocks around each. Unchanged where those are a large part of the image.
        """
        if min(self.shape) < LOCAL:
            return means
        root = np.asarray(self.means.sum(axis=1))[:, None]  # of the number of a block's pixels
        light = (means - np.median(means, axis=1, keepdims=True)) / np.maximum(root, 1)
        around = ndimage.median_filter(light.reshape(*self.shape, -1), (3, 3, 1), mode="nearest").reshape(means.shape)
        above = (light - around) * root
        return np.asarray(means - np.maximum(above - ABOVE_NEIGHBOURS, 0), np.float32)

    def smooth(self, images: Float32, inside: NDArray[np.bool_]) -> Float32:
        """Take everything out of images that is as small as a cell: where no cell is known yet, it may be one's light.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, n_pixels)`` float32.
        inside : numpy.ndarray
            ``(height, width)`` bool, the pixels that count; the others become 0.
        """
        if len(images) == 0:
            return images
        counts = np.asarray(self.means.sum(axis=1)).ravel()
        values = (self.means @ images.T / np.maximum(counts, 1e-6)[:, None]).T.reshape(-1, *self.shape)
        values = ndimage.median_filter(values, (1, 3, 3), mode="nearest")
        scale = [n / m for n, m in zip(inside.shape, self.shape, strict=True)]
        wide = [ndimage.zoom(v, scale, order=1, mode="nearest", grid_mode=True) for v in values]
        return np.asarray(np.stack(wide) * inside, np.float32).reshape(images.shape)


def principal_traces(means: Float32, shape: tuple[int, int], n: int | str) -> Float32:
    """Traces of the background that block means hold.

    Parameters
    ----------
    means : numpy.ndarray
        ``(n_blocks, n_frames)`` float32 in units of their noise, without the cells.
    shape : tuple of int
        Blocks down and across.
    n : int or "auto"
        How many to keep.

    Returns
    -------
    numpy.ndarray
        ``(n_background, n_frames)`` float32, orthonormal, mean 0; at least one where there are blocks that vary.
    """
    centred = means - means.mean(axis=1, keepdims=True)
    n_blocks, n_frames = centred.shape
    values, vectors = linalg.eigh(centred @ centred.T / n_frames)
    values, vectors = values[::-1], vectors[:, ::-1]
    wanted = max(1, round(MOST * n_blocks)) if n == "auto" else int(n)
    most = min(wanted, n_blocks, n_frames - 1, int((values > 1e-6 * max(values[0], 1e-6)).sum()))
    if n == "auto" and most:
        limit = ABOVE_EDGE * (1 + np.sqrt(n_blocks / n_frames)) ** 2
        smooth = max(SMOOTH, CHANCE / np.sqrt(_n_pairs(shape)))
        good = [values[i] > limit and _moran(vectors[:, i].reshape(shape)) > smooth for i in range(most)]
        most = max(1, int(np.argmin([*good, False])))
    traces = vectors[:, :most].T @ centred
    return np.asarray(traces / np.sqrt(values[:most, None] * n_frames), np.float32)


def _n_pairs(shape: tuple[int, int]) -> int:
    """Return how many pairs of neighbours there are: Moran's I of chance has a deviation of 1 over the root of that."""
    return max(1, 2 * shape[0] * shape[1] - shape[0] - shape[1])


def _moran(image: NDArray[np.floating]) -> float:
    """Correlation between neighbours of an image whose mean is taken for 0."""
    pairs = [(image[1:], image[:-1]), (image[:, 1:], image[:, :-1])]
    product = sum(float((a * b).sum()) for a, b in pairs)
    power = sum(float((a**2).sum() + (b**2).sum()) / 2 for a, b in pairs)
    return product / max(power, 1e-20)
