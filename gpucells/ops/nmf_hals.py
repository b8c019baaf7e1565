r"""One sweep of coordinate descent over a non-negative factor (HALS; Cichocki & Phan 2009).

A factor :math:`F` (n_components, n_items), its fellow's Gram matrix :math:`G` and the cross products :math:`B` with the
matrix make, item by item, a quadratic problem :math:`\min_{f \ge 0} \frac12 f^T G f - b^T f`. A sweep solves it for
one component after the other:

.. math:: f_t \leftarrow \max(0, f_t - (G_t f - b_t) / G_{tt})

Items know nothing of each other. Factors on a GPU go to ``kernels/nmf_hals.cu``, all others to numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import NDArray

from gpucells.device.arrays import namespace_of
from gpucells.device.kernels import Array, Define, Kernel, Scalar
from gpucells.errors import SettingsError
from gpucells.ops.row_blocks import each_share

LANES = 64  # items at once on a CPU: a tile of 50 components takes 12.5 KiB, well within a first-level cache
THREADS = 128  # a block of the CUDA kernel
SHARED_BYTES = 48 << 10  # that any device gives a block without being asked

NMF_HALS = Kernel(
    "nmf_hals.cu",
    "nmf_hals",
    (
        Array("factor", "T_FACTOR", ("n_components", "n_columns"), written=True), Scalar("n_components"),
        Scalar("n_columns"), Scalar("first"), Array("gram", "T_FACTOR", ("n_components", "n_components")),
        Array("cross", "T_FACTOR", ("n_components", "n_items")), Scalar("n_items"),
        Array("order", "int64", ("n_components",)), Scalar("n_sweeps"), Scalar("items_a_block"),
        Array("violation", "T_FACTOR", ("n_items",), written=True),
    ),
    threads=THREADS, registers=64, defines=(Define("T_FACTOR", ("float32", "float64")),),
)  # fmt: skip


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _sweep(factor, first, gram, cross, order, n_sweeps, violation, begin, end):  # type: ignore[no-untyped-def]
    n_components, n_items = cross.shape
    tile = np.zeros((n_components, LANES), factor.dtype)
    gradient = np.empty(LANES, factor.dtype)
    whole = n_components - n_components % 4
    zero = gram.dtype.type(0)
    for part in range(begin, end):
        item = part * LANES
        n = min(LANES, n_items - item)
        for t in range(n_components):
            for i in range(n):
                tile[t, i] = factor[t, first + item + i]
            for i in range(n, LANES):
                tile[t, i] = zero
        moved = 0.0
        for sweep in range(n_sweeps):
            for t in order:
                of_t = gram[t]
                for i in range(n):
                    gradient[i] = -cross[t, item + i]
                for i in range(n, LANES):
                    gradient[i] = zero
                for r in range(0, whole, 4):  # four at a time: the gradient is fetched and stored a quarter as often
                    g0, g1, g2, g3 = of_t[r], of_t[r + 1], of_t[r + 2], of_t[r + 3]
                    f0, f1, f2, f3 = tile[r], tile[r + 1], tile[r + 2], tile[r + 3]
                    for i in range(LANES):
                        gradient[i] += g0 * f0[i] + g1 * f1[i] + g2 * f2[i] + g3 * f3[i]
                for r in range(whole, n_components):
                    g0, f0 = of_t[r], tile[r]
                    for i in range(LANES):
                        gradient[i] += g0 * f0[i]
                inverse = 1 / of_t[t] if of_t[t] > 0 else zero
                f0, total = tile[t], zero
                for i in range(LANES):
                    slope = gradient[i]
                    total += abs(slope) if f0[i] > 0 else max(zero, -slope)
                    f0[i] = max(zero, f0[i] - slope * inverse)
                if sweep == 0:
                    moved += total
        violation[part] = moved
        for t in range(n_components):
            for i in range(n):
                factor[t, first + item + i] = tile[t, i]


def sweep_factor(
    factor: Any, gram: Any, cross: Any, *, first: int = 0, order: NDArray[np.int64] | None = None, n_sweeps: int = 1
) -> Any:
    """Improve some items of a factor in place.

    Parameters
    ----------
    factor : array
        ``(n_components, n_columns)`` float32 or float64 in C order, not negative; NumPy or CuPy. Changed.
    gram : array
        ``(n_components, n_components)`` of the same type; with what is to be added to its diagonal.
    cross : array
        ``(n_components, n_items)`` of the same type: of columns ``first`` to ``first + n_items`` of the factor.
    first : int
        See ``cross``.
    order : numpy.ndarray, optional
        ``(n_components,)`` the components in the order in which they have their turn; 0, 1, … where not given.
    n_sweeps : int
        How often each has one.

    Returns
    -------
    scalar
        Sum of the absolute projected gradient that each coordinate had in the first sweep when its turn came, float64;
        of the array's library, so that a GPU need not be waited for.

    Raises
    ------
    SettingsError
        More components than a GPU's block has shared memory for: 4096 of float32, 2048 of float64.
    """
    turns = np.arange(len(factor)) if order is None else order
    gram, cross = (namespace_of(factor).ascontiguousarray(a) for a in (gram, cross))
    if is_cupy_array(factor):
        return _sweep_cuda(factor, gram, cross, first, turns, n_sweeps)
    n_parts = -(-cross.shape[1] // LANES)
    violation = np.zeros(n_parts)
    arguments = (factor, first, gram, cross, turns, n_sweeps, violation)
    each_share(n_parts, lambda begin, end: _sweep(*arguments, begin, end))
    return violation.sum()


def _sweep_cuda(factor: Any, gram: Any, cross: Any, first: int, order: NDArray[np.int64], n_sweeps: int) -> Any:
    xp = namespace_of(factor)
    n_components, n_items = cross.shape
    violation = xp.zeros(n_items, factor.dtype)
    item_bytes = max(1, n_components) * factor.dtype.itemsize
    # An item's values, and two rows of the Gram matrix; a bank of shared memory more, so that rows start in others.
    items = min(THREADS, SHARED_BYTES // item_bytes - 3)
    if items < 1:
        raise SettingsError(
            f"{n_components} components need {4 * item_bytes} bytes of a GPU's shared memory for each item; "
            f"it has {SHARED_BYTES}",
            "use fewer components, or the CPU",
        )
    grid = -(-n_items // items) if n_components else 0
    NMF_HALS.launch(
        (grid,), (THREADS,), shared_bytes=(items + 3) * item_bytes, factor=factor, first=first, gram=gram, cross=cross,
        order=xp.asarray(order, np.int64), n_sweeps=n_sweeps, items_a_block=items, violation=violation,
    )  # fmt: skip
    return violation.sum(dtype=np.float64)
