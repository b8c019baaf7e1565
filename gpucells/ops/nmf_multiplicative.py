r"""Multiplicative updates of non-negative factors (Lee & Seung 2001).

With :math:`W^T` as ``w`` (n_components, n_rows), so that both factors have their components first:

.. math:: W^T \leftarrow W^T \frac{H X^T}{H H^T W^T + l_1 + l_2 W^T}, \qquad
          W^T \leftarrow W^T \frac{H (X / WH)^T}{H 1 + l_1 + l_2 W^T}

for the Frobenius norm and the Kullback-Leibler divergence, and the same for :math:`H`. Products and one elementwise
pass: libraries do it all, so both devices run the same lines. A pass over the matrix updates both factors: what a
block of rows adds to the numerator of :math:`H` is known as soon as the rows' own factor is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpucells.device.arrays import namespace_of
from gpucells.ops.nmf_rows import SMALLEST, Loss, row_blocks

VANISHED = float(np.finfo(np.float64).eps)  # below, a value of the Kullback-Leibler updates is 0 (as scikit-learn)

Penalty = tuple[float, float]


def multiplicative_pass(
    x: Any, w: Any, h: Any, loss: Loss, of_w: Penalty, of_h: Penalty, fixed_h: bool = False
) -> None:
    """Update the factors in place, first W, then H.

    Parameters
    ----------
    x : array
        ``(n_rows, n_columns)``, finite and not negative; NumPy or CuPy.
    w, h : array
        ``(n_components, n_rows)`` and ``(n_components, n_columns)``, of the type of a block of ``x``.
    loss : {"frobenius", "kullback-leibler"}
        What goes down.
    of_w, of_h : tuple of float
        Factors of a value's size and of half its square in the objective.
    fixed_h : bool
        Leave H alone.
    """
    kullback = loss == "kullback-leibler"
    xp = namespace_of(x)
    gram, sums = h @ h.T, h.sum(axis=1)[:, None]
    numerator = xp.zeros_like(h)
    for rows, block in row_blocks(x):
        some = w[:, rows]
        if kullback:
            some = _scaled(xp, some, h @ _quotient(xp, block, some, h).T, sums, of_w, VANISHED)
        else:
            some = _scaled(xp, some, h @ block.T, gram @ some, of_w, 0.0)
        w[:, rows] = some
        if not fixed_h:
            numerator += some @ (_quotient(xp, block, some, h) if kullback else block)
    if not fixed_h:
        divisor = w.sum(axis=1)[:, None] if kullback else (w @ w.T) @ h
        h[...] = _scaled(xp, h, numerator, divisor, of_h, VANISHED if kullback else 0.0)


def _quotient(xp: Any, block: Any, some: Any, h: Any) -> Any:
    model = some.T @ h
    xp.maximum(model, SMALLEST, out=model)
    return xp.divide(block, model, out=model)


def _scaled(xp: Any, factor: Any, numerator: Any, divisor: Any, penalty: Penalty, vanished: float) -> Any:
    if penalty[0] > 0:
        divisor = divisor + penalty[0]
    if penalty[1] > 0:
        divisor = divisor + penalty[1] * factor
    updated = xp.divide(numerator, xp.where(divisor == 0, SMALLEST, divisor), out=numerator)
    updated *= factor
    return xp.where(updated < vanished, 0, updated) if vanished else updated
