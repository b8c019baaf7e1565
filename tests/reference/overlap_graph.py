"""Which footprints meet which nodes of a field on which row of the image, entry by entry."""

from __future__ import annotations

from typing import Any


def node_pairs(images: Any, hats: Any) -> list[tuple[int, int, int, int]]:
    """Return for each pixel and footprint there ``(row, cell, node above, node below)`` of the left column of nodes.

    Parameters
    ----------
    images : array
        ``(n_cells, height, width)``.
    hats : Bilinear
        On that image.
    """
    n_cells, height, width = images.shape
    pairs = []
    for y in range(height):
        for x in range(width):
            above = n_cells + int(hats.row_node[y]) * hats.n_columns + int(hats.column_node[x])
            pairs += [(y, cell, above, above + hats.n_columns) for cell in range(n_cells) if images[cell, y, x]]
    return pairs
