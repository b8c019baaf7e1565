"""A picture that says where cells may be: a lens's field of view, a region, without a vessel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucells.errors import InputError


def check_mask(picture: Any, image_shape: tuple[int, int], name: str = "mask") -> NDArray[np.bool_]:
    """Make a mask of a picture.

    Parameters
    ----------
    picture : array_like
        ``(height, width)`` or ``(1, height, width)``, any type; true where it is neither 0 nor NaN.
    image_shape : tuple of int
        ``(height, width)`` of the movie.
    name : str
        Of the picture, for the error.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` bool.

    Raises
    ------
    InputError
        Its shape is another, or nothing of it is true.
    """
    values = np.asarray(picture)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.shape != image_shape:
        raise InputError(
            f"{name} has the shape {values.shape}, but the movie is {image_shape[0]} x {image_shape[1]} px",
            "give one picture of the movie's size; cells may be where it is not 0",
        )
    inside = np.asarray(np.nan_to_num(values) != 0)
    if not inside.any():
        raise InputError(f"{name} is 0 everywhere", "cells may be where it is not 0")
    return inside
