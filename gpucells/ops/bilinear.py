"""Bilinear hats on an image: a smooth field from its values at the nodes of a grid.

The hat of a node is 1 there, falls linearly to 0 at the neighbouring nodes, and is a product of one factor along rows
and one along columns; all hats add up to 1. A row of the image lies between two rows of nodes, so that on it a field
is what a single row of nodes would give: two entries a pixel instead of four, which is what the solvers work with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


@dataclass(frozen=True)
class Bilinear:
    """Hats on a box of an image.

    Parameters
    ----------
    row_node, column_node : numpy.ndarray
        ``(height,)`` and ``(width,)`` int32, the node before each row and column of the box.
    row_share, column_share : numpy.ndarray
        ``(height,)`` and ``(width,)`` float32, 0 to 1: weight of the node after; the node before has the rest.
    n_rows, n_columns : int
        Nodes along each axis of the whole grid; node ``(i, j)`` is component ``i * n_columns + j``. 0 for no hats.
    """

    row_node: Int32
    row_share: Float32
    column_node: Int32
    column_share: Float32
    n_rows: int
    n_columns: int

    @classmethod
    def between(
        cls, rows: slice, columns: slice, row_nodes: NDArray[np.float64], column_nodes: NDArray[np.float64]
    ) -> Bilinear:
        """Place the rows and columns of a box between evenly spaced nodes (px), at least two an axis, or none."""
        row_node, row_share = place(np.arange(rows.start, rows.stop), row_nodes)
        column_node, column_share = place(np.arange(columns.start, columns.stop), column_nodes)
        return cls(row_node, row_share, column_node, column_share, len(row_nodes), len(column_nodes))

    @classmethod
    def none(cls, height: int, width: int) -> Bilinear:
        """No hats at all."""
        return cls.between(slice(0, height), slice(0, width), np.zeros(0), np.zeros(0))

    @property
    def n_nodes(self) -> int:
        """Number of nodes of the whole grid."""
        return self.n_rows * self.n_columns

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` of the box."""
        return len(self.row_node), len(self.column_node)

    def axes(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Return the factors along rows ``(n_rows, height)`` and columns ``(n_columns, width)``, float32."""
        return (
            _factors(self.row_node, self.row_share, self.n_rows),
            _factors(self.column_node, self.column_share, self.n_columns),
        )

    def images(self) -> sparse.csr_array:
        """Return all hats ``(n_nodes, n_pixels)`` float32; those that miss the box are empty rows."""
        if self.n_nodes == 0:
            return sparse.csr_array((0, len(self.row_node) * len(self.column_node)), dtype=np.float32)
        images = sparse.csr_array(sparse.kron(*self.axes(), format="csr")).astype(np.float32)
        images.eliminate_zeros()
        return images


def place(positions: NDArray[Any], nodes: NDArray[np.float64]) -> tuple[Int32, Float32]:
    """Return the node before each position, and the weight of the node after it.

    Parameters
    ----------
    positions : numpy.ndarray
        ``(n,)``; those beyond the nodes count as the outermost node.
    nodes : numpy.ndarray
        Evenly spaced, at least two; or none, and all is 0.
    """
    if len(nodes) == 0:
        return np.zeros(len(positions), np.int32), np.zeros(len(positions), np.float32)
    at = (positions - nodes[0]) / (nodes[1] - nodes[0])
    before = np.clip(np.floor(at), 0, len(nodes) - 2)
    return before.astype(np.int32), np.clip(at - before, 0, 1).astype(np.float32)


def _factors(node: Int32, share: Float32, n_nodes: int) -> sparse.csr_array:
    at = np.arange(len(node))
    rows, columns = np.concatenate([node, node + 1]), np.concatenate([at, at])
    values = np.concatenate([1 - share, share])
    return sparse.csr_array((values, (rows, columns)), shape=(n_nodes, len(node)), dtype=np.float32)
