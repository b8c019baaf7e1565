"""A second hearing for candidates whose transients are too weak: over a background whose nodes are closer.

What the background does between two nodes no field of theirs can follow; it stays in the traces as slow error, swings
them down, and the judge takes a cell for a vessel. Whether it does depends on where the cell lies between the nodes.
Over closer nodes this error is less, or another; what a vessel or a leak does stays.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.candidates.judge import WEAK, Verdict
from gpucells.methods.extract.background import HatGrid
from gpucells.ops.bilinear import Bilinear, place

CLOSER = 1.25  # times as many intervals an axis, at least one more: other nodes, at hardly more variance


def closer_nodes(nodes: Bilinear) -> tuple[Bilinear, sparse.csr_array]:
    """Place nodes a fifth closer together on the same box.

    Parameters
    ----------
    nodes : Bilinear
        At least two an axis.

    Returns
    -------
    closer : Bilinear
        On the same pixels.
    at_closer : scipy.sparse.csr_array
        ``(n_nodes, n_closer)`` float32, what each hat of ``nodes`` is at the closer ones.
    """
    rows, columns = _more(nodes.n_rows), _more(nodes.n_columns)
    row_node, row_share = _replace(nodes.row_node, nodes.row_share, nodes.n_rows, rows)
    column_node, column_share = _replace(nodes.column_node, nodes.column_share, nodes.n_columns, columns)
    closer = Bilinear(row_node, row_share, column_node, column_share, rows, columns)
    return closer, _grid(nodes).at_nodes_of(_grid(closer))


def _more(n_nodes: int) -> int:
    return int(np.ceil((n_nodes - 1) * CLOSER)) + 1


def _replace(
    node: NDArray[np.int32], share: NDArray[np.float32], n_nodes: int, n_closer: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    return place(node + share.astype(float), np.linspace(0, n_nodes - 1, n_closer))


def _grid(nodes: Bilinear) -> HatGrid:
    """Return the nodes over the whole image, whose side is 1."""
    return HatGrid(np.linspace(0, 1, nodes.n_rows), np.linspace(0, 1, nodes.n_columns))


def is_weak(verdict: Verdict) -> bool:
    """Say whether any candidate was found too weak."""
    return any(WEAK in reason for reason in verdict.reasons)


def acquit(first: Verdict, second: Verdict) -> Verdict:
    """Keep whoever was too weak the first time and has nothing against it the second; measures are the first ones."""
    reasons = [
        "" if WEAK in before and not after else before
        for before, after in zip(first.reasons, second.reasons, strict=True)
    ]
    return dataclasses.replace(first, reasons=reasons)
