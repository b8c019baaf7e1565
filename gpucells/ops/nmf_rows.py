"""A matrix that is to be factored, read a block of its rows at a time, so that no second copy of it is made.

A block of a float32 or float64 matrix is a view of it; any other type becomes float32 block by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numba
import numpy as np
from array_api_compat import is_cupy_array

from gpucells.device.arrays import namespace_of
from gpucells.errors import InputError, SettingsError

Loss = Literal["frobenius", "kullback-leibler"]

# Of X at once. On a CPU both products of a block find it in the cache or near it, and the sweep between them is long
# enough to be worth its threads; at 64 rows of 2000 OpenBLAS is 15 % slower.
BLOCK_BYTES = 2**25
DEVICE_BLOCK_BYTES = 2**28
# Where a block is a view and only products are made of it, on several threads: BLAS' threads wait for each other at the
# end of every product, and then spin for a while, in the way of the sweep. So as few products as can be.
THREADS_BLOCK_BYTES = 2**31
FEWEST_ROWS = 256  # what a block adds up, (n_components, n_columns), is small beside what it multiplies
SMALLEST = float(np.finfo(np.float32).eps)  # of a divisor, as scikit-learn's multiplicative updates have it


def float_type(x: Any) -> Any:
    """Return the type that factors of ``x`` have: float64 for float64, otherwise float32."""
    return np.float64 if x.dtype == np.float64 else np.float32


def row_blocks(x: Any, only_products: bool = False) -> Iterator[tuple[slice, Any]]:
    """Yield the rows of a matrix and what stands in them, as floats, a block at a time.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)`` of any real type; NumPy or CuPy.
    only_products : bool
        Nothing of a block's size is made of it, so that one that is a view may be large.
    """
    n_bytes = DEVICE_BLOCK_BYTES if is_cupy_array(x) else BLOCK_BYTES
    if only_products and numba.get_num_threads() > 1 and x.dtype == float_type(x):
        n_bytes = max(n_bytes, THREADS_BLOCK_BYTES)
    length = max(FEWEST_ROWS, n_bytes // max(1, x.shape[1] * np.dtype(float_type(x)).itemsize))
    for start in range(0, x.shape[0], length):
        rows = slice(start, min(start + length, x.shape[0]))
        yield rows, x[rows].astype(float_type(x), copy=False)


def checked_mean(x: Any) -> float:
    """Return the mean of a matrix, 0 for one without samples.

    Raises
    ------
    InputError
        A value that is negative, NaN or infinite.
    """
    total = 0.0
    for rows, block in row_blocks(x):
        lowest = float(block.min()) if block.size else 0.0
        some = float(block.sum(dtype=np.float64))
        if not (math.isfinite(some) and lowest >= 0):  # a NaN or an infinity is in the sum as well
            raise InputError(
                f"rows {rows.start} to {rows.stop} of the matrix have a smallest value of {lowest:g} and a sum of "
                f"{some:g}",
                "give values that are finite and not negative",
            )
        total += some
    return total / max(1, int(x.size))


def reconstruction_error(x: Any, w: Any, h: Any, loss: Loss = "frobenius") -> float:
    r"""Return how far a matrix is from the product of its factors, as scikit-learn's ``reconstruction_err_``.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)``, not negative; NumPy or CuPy.
    w, h : array
        ``(n_rows, n_components)`` and ``(n_components, n_columns)``, where ``x`` is.
    loss : {"frobenius", "kullback-leibler"}
        :math:`D = \frac12 \sum (x - wh)^2` or :math:`D = \sum x \log(x / wh) - x + wh`.

    Returns
    -------
    float
        :math:`\sqrt{2 D}`, in the units of ``x`` for the Frobenius norm.
    """
    check_loss(loss)
    xp, total = namespace_of(x), 0.0
    for rows, block in row_blocks(x):
        model = w[rows] @ h
        if loss == "frobenius":
            model -= block
            total += 0.5 * float((model * model).sum(dtype=np.float64))
        else:
            total += float((model - block).sum(dtype=np.float64))
            lit = block > 0
            ratio = xp.where(lit, block, 1) / xp.where(lit, xp.maximum(model, SMALLEST), 1)
            total += float((block * xp.log(ratio)).sum(dtype=np.float64))
    return math.sqrt(max(0.0, 2 * total))


def check_loss(loss: str) -> None:
    """Refuse a loss that is not known.

    Raises
    ------
    SettingsError
        Its name.
    """
    if loss not in ("frobenius", "kullback-leibler"):
        raise SettingsError(f"loss = {loss!r} is unknown", "use 'frobenius' or 'kullback-leibler'")
