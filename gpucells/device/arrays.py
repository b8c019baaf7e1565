"""The one crossing between host and device: whose an array is, its libraries, copies from one side to the other."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray


def namespace_of(array: Any) -> Any:
    """Return ``cupy`` for an array on a GPU, ``numpy`` for everything else.

    Parameters
    ----------
    array : array
        NumPy's or CuPy's.
    """
    if not array_api_compat.is_cupy_array(array):
        return np
    import cupy

    return cupy


def fft_of(array: Any) -> Any:
    """Return the module of transforms for an array: ``cupyx.scipy.fft`` on a GPU, ``scipy.fft`` for everything else.

    They have the same functions, but for ``workers``, which only SciPy's take.

    Parameters
    ----------
    array : array
        NumPy's or CuPy's.
    """
    if not array_api_compat.is_cupy_array(array):
        from scipy import fft

        return fft
    from cupyx.scipy import fft

    return fft


def namespace_on(device: str) -> Any:
    """Return ``numpy`` for ``"cpu"``, ``cupy`` for ``"cuda:N"``."""
    if device == "cpu":
        return np
    import cupy

    return cupy


def empty(shape: tuple[int, ...], dtype: Any, device: str) -> Any:
    """Return an array to be filled.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    dtype : dtype
        Of the array.
    device : str
        ``"cpu"`` for NumPy's, ``"cuda:N"`` for CuPy's on the current device.
    """
    return namespace_on(device).empty(shape, dtype)


def to_host(array: Any) -> NDArray[Any]:
    """Return a NumPy array: the array itself where it is one, otherwise a copy from its device."""
    if not array_api_compat.is_cupy_array(array):
        return np.asarray(array)
    with array.device:
        host: NDArray[Any] = array.get()
    return host
