"""Boxes of pixels: which parts of an image are to be brought up to date."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def covered(boxes: NDArray[np.integer[Any]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which pixels lie in a box.

    Parameters
    ----------
    boxes : numpy.ndarray
        ``(n, 4)`` integers ``row0, row1, column0, column1``; may overlap, reach over the border, or be empty.
    shape : tuple of int
        ``(height, width)``.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` bool.
    """
    # Each box adds 1 at two of its corners and takes it back at the others.
    rows, columns = np.clip(boxes[:, :2], 0, shape[0]), np.clip(boxes[:, 2:], 0, shape[1])
    some = (rows[:, 0] < rows[:, 1]) & (columns[:, 0] < columns[:, 1])
    steps = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    for i in (0, 1):
        for j in (0, 1):
            np.add.at(steps, (rows[some, i], columns[some, j]), 1 if i == j else -1)
    return np.asarray(steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0)
