r"""The temporal update: traces for given footprints and background.

With :math:`Q` the footprints and the background's images, all in units of the noise, and :math:`X` their traces,

.. math:: \min_X \tfrac12 \lVert Y - Q^\top X \rVert^2

depends on the movie through :math:`QY` alone. Block coordinate descent with exact steps (HALS) solves it frame by
frame, with or without a bound at 0. Deconvolution follows trace by trace: the least-squares trace of a cell is its
calcium plus noise, whatever the others do, since their light has been taken out jointly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gpucells.factorisation.settings import TraceSettings
from gpucells.factorisation.state import State
from gpucells.ops.dense_products import image_products
from gpucells.ops.hals import hals_traces
from gpucells.ops.oasis import Deconvolved, deconvolve

Float32 = NDArray[np.float32]

# The estimate from the autocovariance is too fast by its own factor. Fitted to so many events, the denoised traces of
# seven movies correlated with the truth by .001 to .005 more, and no less on any.
EVENTS = 10


@dataclass(frozen=True)
class LeastSquares:
    """What the movie says of footprints and background: all that their traces depend on.

    Parameters
    ----------
    products : numpy.ndarray
        ``(n_cells + n_background, n_frames)`` float32.
    gram : scipy.sparse.csr_array
        ``(n_cells + n_background, n_cells + n_background)`` float32.
    """

    products: Float32
    gram: sparse.csr_array

    @classmethod
    def of(cls, state: State) -> LeastSquares:
        """Of cells and global background together, on top of the ring's light."""
        whitened = state.whitened()
        products = np.concatenate([state.products, image_products(state.units.movie, state.images)])
        if state.ring is not None:
            products -= state.ring.products(whitened, state.images, state.light)
        return cls(products, gram_of(whitened, state.images))

    @classmethod
    def of_cells(cls, state: State) -> LeastSquares:
        """Of the cells alone, on top of the background as it is: no pass over the movie."""
        whitened = state.whitened()
        behind = np.asarray(whitened @ state.images.T, np.float32) @ state.field
        if state.ring is not None:
            behind += state.ring.products(whitened, state.images[:0], state.light)
        return cls(state.products - behind, gram_of(whitened, state.images[:0]))

    def solve(self, traces: Float32, field: Float32, lower: Float32 | float, n_sweeps: int) -> tuple[Float32, Float32]:
        """Solve cells and background together.

        Parameters
        ----------
        traces, field : numpy.ndarray
            ``(n_cells, n_frames)`` and ``(n_background, n_frames)``, where to begin.
        lower : numpy.ndarray or float
            Of the cells, ``(n_cells,)`` or one for all.
        n_sweeps : int
            Over all of them.
        """
        begin = np.ascontiguousarray(np.concatenate([traces, field]), np.float32)
        bounds = np.full(len(begin), -np.inf, np.float32)
        bounds[: len(traces)] = lower
        hals_traces(begin, self.products, self.gram, n_sweeps=n_sweeps, lower=bounds)
        return begin[: len(traces)], begin[len(traces) :]


def gram_of(whitened: sparse.csr_array, images: Float32) -> sparse.csr_array:
    """Products of footprints and background images with each other, all in units of the noise."""
    across = sparse.csr_array(whitened @ images.T)
    own = sparse.csr_array((images.astype(np.float64) @ images.T.astype(np.float64)).astype(np.float32))
    gram = sparse.block_array([[whitened @ whitened.T, across], [across.T, own]], format="csr")
    gram.sort_indices()
    return sparse.csr_array(gram, dtype=np.float32)


def deconvolved(traces: Float32, settings: TraceSettings, final: bool = False) -> Deconvolved:
    """Deconvolve traces as the settings say.

    Parameters
    ----------
    traces : numpy.ndarray
        ``(n_cells, n_frames)``.
    settings : TraceSettings
        Of the run.
    final : bool
        Whether the decay is fitted to the largest events as well.
    """
    n_events = EVENTS if settings.optimize_g is None else settings.optimize_g
    return deconvolve(
        traces, settings.ar_order, baseline_nonnegative=settings.baseline_nonnegative,
        penalty=settings.deconvolution_penalty, s_min=settings.s_min,
        optimize_g=n_events if final and settings.ar_order == 1 else 0,
        lags=settings.decay_lags, fudge=settings.decay_fudge,
    )  # fmt: skip
