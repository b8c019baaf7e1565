"""Which pixels behave alike: the graph of ``graph_nmf``, of eight neighbours a pixel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray
from scipy import sparse

from gpucells.device.arrays import to_host

Affinity = Literal["heat", "cosine", "binary"]

NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # rows and columns to those neighbours that come later
BAND_BYTES, DEVICE_BAND_BYTES = 2**22, 2**27  # of the movie at once


def affinities(
    x: Any, image_shape: tuple[int, int], kind: Affinity, width: float, threshold: float
) -> sparse.csr_array:
    """Return what each pixel and its eight neighbours have in common.

    Parameters
    ----------
    x : array
        ``(n_pixels, n_frames)``, pixels in C order; NumPy or CuPy.
    image_shape : tuple of int
        ``(height, width)``.
    kind : {"heat", "cosine", "binary"}
        For traces of correlation r: ``exp(-2 (1 - r) / width)``, r, or 1.
    width : float
        Of the heat kernel, in squared distances of standardised traces with norm 1.
    threshold : float
        Affinities (of ``binary``: correlations) that are not above it are none.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_pixels, n_pixels)`` float64, symmetric, not negative where the threshold is not.
    """
    numbers = np.arange(len(x)).reshape(image_shape)
    entries = []
    for (down, right), alike in zip(NEIGHBOURS, _correlations(x, image_shape), strict=True):
        one = numbers[: image_shape[0] - down, max(0, -right) : image_shape[1] - max(0, right)]
        weight = np.exp(-2 * (1 - alike) / width) if kind == "heat" else alike
        weight = np.where(weight > threshold, 1.0 if kind == "binary" else weight, 0.0)
        entries.append((one.ravel(), (one + down * image_shape[1] + right).ravel(), weight.ravel()))
    rows, columns, weights = (np.concatenate(part) for part in zip(*entries, strict=True))
    half = sparse.csr_array((weights, (rows, columns)), shape=(len(x), len(x)))
    return sparse.csr_array(half + half.T)


def _correlations(x: Any, image_shape: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Return the correlation of each pixel with its later neighbour in each direction, 0 where one is constant."""
    height, width = image_shape
    images = x.reshape(height, width, x.shape[1])
    n_frames = max(1, x.shape[1])
    found = [np.zeros((height - down, width - abs(right))) for down, right in NEIGHBOURS]
    means, norms = np.zeros(image_shape), np.zeros(image_shape)
    n_bytes = DEVICE_BAND_BYTES if is_cupy_array(x) else BAND_BYTES
    length = max(1, n_bytes // max(1, 4 * width * n_frames))
    for start in range(0, height, length):
        band = images[start : start + length + 1]
        rows = slice(start, start + len(band))
        means[rows] = to_host(band.sum(axis=2, dtype=np.float64) / n_frames)
        norms[rows] = np.sqrt(np.maximum(to_host((band * band).sum(axis=2)) - n_frames * means[rows] ** 2, 0))
        for (down, right), out in zip(NEIGHBOURS, found, strict=True):
            one = band[: len(band) - down, max(0, -right) : width - max(0, right)]
            other = band[down:, max(0, right) : width - max(0, -right)]
            sums = to_host((one * other).sum(axis=2))[:length]
            out[start : start + len(sums)] = sums
    for (down, right), products in zip(NEIGHBOURS, found, strict=True):
        one = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        other = (slice(down, height), slice(max(0, right), width - max(0, -right)))
        norm = norms[one] * norms[other]
        products[...] = np.where(
            norm > 0, (products - n_frames * means[one] * means[other]) / np.where(norm > 0, norm, 1), 0
        )
    return found


def lazy_graph(affinities: sparse.csr_array) -> sparse.csr_array:
    """Return the mean of each pixel and its neighbours, symmetric and with no negative eigenvalue.

    That makes each sweep over the images lower the objective, though all of a component's pixels move at once.

    Parameters
    ----------
    affinities : scipy.sparse.csr_array
        ``(n_pixels, n_pixels)`` symmetric, not negative. A pixel without any is on its own.
    """
    degree = np.asarray(affinities.sum(axis=1)).ravel()
    root = np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 0)
    spread = sparse.diags_array(root)
    own = sparse.diags_array(np.where(degree > 0, 0.5, 1.0))
    return sparse.csr_array(0.5 * (spread @ affinities @ spread) + own).astype(np.float32)
