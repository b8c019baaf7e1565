"""Sums over the rows of an image between two rows of a field's nodes, a block of frames at a time.

A row of the image sees one row of nodes, blended from the one above and the one below it. What its pixels sum up for
these (gradient, curvature) goes to both at the end of the row.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 128  # frames a block: long enough to fill the vector units, short enough that its arrays stay in the L2 cache


# Rows are passed as an array and a number: a view of its own would cost two atomic counts each time.
@numba.njit(cache=True, fastmath=True, error_model="numpy")
def add(a, what, out, k):  # type: ignore[no-untyped-def]
    """Add ``a`` times a block to row ``k`` of ``out``.

    Parameters
    ----------
    a : float
        Factor.
    what, out : numpy.ndarray
        ``(BLOCK,)`` and ``(n, BLOCK)`` float32.
    k : int
        Row of ``out``.
    """
    for f in range(BLOCK):
        out[k, f] += a * what[f]


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def add_row(a, what, i, out, k):  # type: ignore[no-untyped-def]
    """Add ``a`` times row ``i`` of ``what`` to row ``k`` of ``out``.

    Parameters
    ----------
    a : float
        Factor.
    what, out : numpy.ndarray
        ``(n, BLOCK)`` float32 each.
    i, k : int
        Rows.
    """
    for f in range(BLOCK):
        out[k, f] += a * what[i, f]


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def subtract_row(a, what, i, out):  # type: ignore[no-untyped-def]
    """Subtract ``a`` times row ``i`` of ``what`` from a block.

    Parameters
    ----------
    a : float
        Factor.
    what, out : numpy.ndarray
        ``(n, BLOCK)`` and ``(BLOCK,)`` float32.
    i : int
        Row of ``what``.
    """
    for f in range(BLOCK):
        out[f] -= a * what[i, f]


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def add_pixel(a, b, left, residual, share, pull, own, following):  # type: ignore[no-untyped-def]
    """Add one pixel to the sums of its row.

    Parameters
    ----------
    a, b : float
        What the pixel shows of the column of nodes on its left, and of the next one.
    left : int
        That column.
    residual, share : numpy.ndarray
        ``(BLOCK,)`` float32, clipped residual and the share of curvature that is left.
    pull, own, following : numpy.ndarray
        As in :func:`begin_row`.
    """
    add(a, residual, pull, left)
    add(b, residual, pull, left + 1)
    add(a * a, share, own, left)
    add(a * b, share, following, left)
    add(b * b, share, own, left + 1)


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def begin_row(y, n_cells, hats, x, level, pull, own, following, close):  # type: ignore[no-untyped-def]
    """Take the field's nodes as this row of the image sees them, and begin its sums.

    Parameters
    ----------
    y : int
        Row of the image.
    n_cells : int
        Components before the nodes.
    hats : tuple
        Of a :class:`~gpucells.ops.bilinear.Bilinear`: nodes and shares of rows and of columns, nodes a row.
    x : numpy.ndarray
        ``(n_components, BLOCK)`` float32, the nodes' values after the footprints'.
    level : numpy.ndarray
        ``(n_columns, BLOCK)`` float32, filled with the row's nodes.
    pull, own, following, close : numpy.ndarray
        ``(n, BLOCK)`` float32, emptied: gradient of each column of nodes; curvature of each, of each with the next one,
        of each footprint with each.
    """
    row_node, row_share, _, _, n_columns = hats
    above = n_cells + row_node[y] * n_columns
    v = row_share[y]
    for j in range(n_columns):
        for f in range(BLOCK):
            level[j, f] = (1 - v) * x[above + j, f] + v * x[above + n_columns + j, f]
    pull[:] = 0
    own[:] = 0
    following[:] = 0
    close[:] = 0


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def end_row(y, n_cells, hats, spread, pull, own, following, close, gradient, curvature):  # type: ignore[no-untyped-def]
    """Give what a row has summed to the nodes above and below it.

    Parameters
    ----------
    y, n_cells, hats, pull, own, following, close
        As in :func:`begin_row`.
    spread : tuple
        Of an :class:`~gpucells.ops.overlap_graph.OverlapGraph`: ``near_start``, ``near_slot``, ``near``, ``grid_slot``.
    gradient, curvature : numpy.ndarray
        ``(n_components, BLOCK)`` and ``(n_slots, BLOCK)`` float32, added to.
    """
    row_node, row_share, column_node, _, n_columns = hats
    near_start, near_slot, _, grid_slot = spread
    v = row_share[y]
    u = np.float32(1) - v
    i = row_node[y]
    above = n_cells + i * n_columns
    last = column_node[-1] + 1
    for j in range(column_node[0], last + 1):
        add_row(u, pull, j, gradient, above + j)
        add_row(v, pull, j, gradient, above + n_columns + j)
        add_row(u * u, own, j, curvature, grid_slot[i, j, 0])
        add_row(u * v, own, j, curvature, grid_slot[i, j, 1])
        add_row(v * v, own, j, curvature, grid_slot[i, j, 2])
        if j < last:
            add_row(u * u, following, j, curvature, grid_slot[i, j, 3])
            add_row(u * v, following, j, curvature, grid_slot[i, j, 4])
            add_row(u * v, following, j, curvature, grid_slot[i, j, 5])
            add_row(v * v, following, j, curvature, grid_slot[i, j, 6])
    for k in range(near_start[y], near_start[y + 1]):
        add_row(u, close, k - near_start[y], curvature, near_slot[k, 0])
        add_row(v, close, k - near_start[y], curvature, near_slot[k, 1])
