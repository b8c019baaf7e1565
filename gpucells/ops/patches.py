"""Footprints as small windows: what is done to their shape is done there, never on the whole frame."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Patches:
    """One window a cell.

    Parameters
    ----------
    corners : numpy.ndarray
        ``(n_cells, 2)`` row and column of each window's first pixel; may lie outside the frame.
    images : numpy.ndarray
        ``(n_cells, side, side)`` float32.
    image_shape : tuple of int
        ``(height, width)`` of the frame.
    """

    corners: NDArray[np.int64]
    images: Float32
    image_shape: tuple[int, int]

    @property
    def side(self) -> int:
        """Side of a window (px)."""
        return int(self.images.shape[1])

    @classmethod
    def of(cls, footprints: sparse.csr_array, image_shape: tuple[int, int], side: int) -> Patches:
        """Cut ``(n_cells, n_pixels)`` footprints into windows centred on their centroids; what does not fit is lost."""
        n_cells, width = footprints.shape[0], image_shape[1]
        corners = np.empty((n_cells, 2), np.int64)
        images = np.zeros((n_cells, side, side), np.float32)
        for cell in range(n_cells):
            some = slice(footprints.indptr[cell], footprints.indptr[cell + 1])
            rows, columns = np.divmod(footprints.indices[some], width)
            values = footprints.data[some]
            total = max(float(values.sum()), 1e-12)
            centre = np.rint([rows @ values / total, columns @ values / total]).astype(np.int64)
            corners[cell] = centre - side // 2
            u, v = rows - corners[cell, 0], columns - corners[cell, 1]
            fits = (u >= 0) & (u < side) & (v >= 0) & (v < side)
            images[cell, u[fits], v[fits]] = values[fits]
        return cls(corners, images, image_shape)

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the frame's pixel of every window pixel, ``(n_cells, side, side)``, and which of them exist."""
        offsets = np.arange(self.side)
        rows = self.corners[:, 0, None, None] + offsets[:, None]
        columns = self.corners[:, 1, None, None] + offsets[None, :]
        height, width = self.image_shape
        exist = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return np.where(exist, rows * width + columns, 0), exist

    def to_sparse(self, stored: NDArray[np.bool_] | None = None) -> sparse.csr_array:
        """Return ``(n_cells, n_pixels)``.

        Parameters
        ----------
        stored : numpy.ndarray, optional
            ``(n_cells, side, side)`` bool, the window pixels that get an entry; those other than 0 where not given.
        """
        pixels, exist = self.pixels()
        keep = exist & ((self.images != 0) if stored is None else stored)
        counts = keep.sum(axis=(1, 2))
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        shape = (len(self.images), self.image_shape[0] * self.image_shape[1])
        return sparse.csr_array((self.images[keep], pixels[keep].astype(np.int32), indptr), shape=shape)

    def read(self, frame: NDArray[np.float32]) -> Float32:
        """Return every window of a ``(height * width,)`` picture, 0 outside the frame."""
        pixels, exist = self.pixels()
        return np.where(exist, frame[pixels], np.float32(0))

    def replaced(self, images: Float32) -> Patches:
        """Return the same windows with other images."""
        return Patches(self.corners, np.ascontiguousarray(images, np.float32), self.image_shape)


def disk(radius: float) -> NDArray[np.bool_]:
    """Return a filled circle ``(side, side)``, ``side`` odd, of the pixels within ``radius`` + .3 (px) of its centre.

    The .3 rounds the small ones: 2 px without it is a diamond.
    """
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.hypot(y, x) <= radius + 0.3)


def grow(masks: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Dilate each of ``(n_cells, side, side)`` masks by a disk."""
    if len(masks) == 0:
        return masks
    return np.asarray(ndimage.binary_dilation(masks, structure=disk(radius)[None]))


@numba.njit(cache=True, parallel=True)
def _keep_peak_component(images):  # type: ignore[no-untyped-def]
    side = images.shape[1]
    for k in numba.prange(len(images)):
        image = images[k]
        at = image.argmax()
        if image[at // side, at % side] <= 0:
            continue
        mark = np.zeros((side, side), np.bool_)
        queue = np.empty(side * side, np.int64)
        queue[0] = at
        mark[at // side, at % side] = True
        first, last = 0, 1
        while first < last:
            u, v = queue[first] // side, queue[first] % side
            first += 1
            for i in range(max(0, u - 1), min(side, u + 2)):
                for j in range(max(0, v - 1), min(side, v + 2)):
                    if not mark[i, j] and image[i, j] > 0:
                        mark[i, j] = True
                        queue[last] = i * side + j
                        last += 1
        for i in range(side):
            for j in range(side):
                if not mark[i, j]:
                    image[i, j] = 0


def keep_peak_component(images: Float32) -> None:
    """Zero, in place, what is not connected (8 neighbours, above 0) to each image's brightest pixel."""
    if len(images):
        _keep_peak_component(images)
