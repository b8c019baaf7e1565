"""CPU time and exactness of CNMF's spatial update, beside a loop of scikit-learn's LassoLars over the pixels.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/spatial_update.py

A movie of 128 x 128 x 2000 samples with 40 cells and a slow background, made from a fixed seed. Regressors are the true
traces with some error, standardised, as is the penalty of CaImAn: half the pixel's noise. Supports are the true ones,
grown by 3 px; every pixel has the background. Ours counts all from the movie on: the products, the Gram matrix, the
solution of every pixel; theirs only the loop, over those pixels that a cell may have. Both are timed in turn in one
process, and the least CPU seconds count; one pixel in so many is solved by both, and the loop's time is that share of
the whole (``--every 1`` solves all).
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from scipy import ndimage, sparse

from gpucells.ops.frame_products import accumulate
from gpucells.ops.masked_lasso import masked_lasso

SIDE, N_FRAMES, N_CELLS, NOISE = 128, 2000, 40, 1.0


def simulated() -> tuple[Any, Any, Any]:
    """Movie ``(n_frames, n_pixels)`` float32 without its mean, regressors of standard deviation 1, support as CSR."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    at = rng.uniform(8, SIDE - 8, (N_CELLS, 2))
    images = np.array([np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18) for cy, cx in at])
    images[images < 0.1] = 0
    events = (rng.random((N_CELLS, N_FRAMES)) < 0.01) * rng.uniform(2, 6, (N_CELLS, N_FRAMES))
    kernel = np.exp(-np.arange(100) / 18)
    traces = np.array([np.convolve(row, kernel)[:N_FRAMES] for row in events])
    slow = ndimage.gaussian_filter1d(rng.normal(size=N_FRAMES), 60)
    slow *= 1 / slow.std()
    background = 1 + 0.5 * np.sin(y / 30) * np.cos(x / 40)
    movie = np.tensordot(traces.T, images, 1) + slow[:, None, None] * background
    movie += rng.normal(0, NOISE, movie.shape)
    movie -= movie.mean(0)
    seen = np.concatenate([traces + rng.normal(0, 0.1, traces.shape), slow[None]])
    seen = (seen - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True)
    masks = np.array([ndimage.binary_dilation(image > 0, iterations=3) for image in images])
    support = sparse.csr_array(np.concatenate([masks.reshape(N_CELLS, -1), np.ones((1, SIDE * SIDE), bool)]))
    return movie.reshape(N_FRAMES, -1).astype("f4"), seen.astype("f4"), support


def ours(movie: Any, traces: Any, support: Any, penalty: Any) -> Any:
    products = np.zeros(support.nnz)
    accumulate(movie, traces, support.indptr, support.indices, products)
    exact = traces.astype("f8")
    return masked_lasso(products, exact @ exact.T, penalty, support.indptr, support.indices)


def theirs(movie: Any, traces: Any, of_pixel: Any, pixels: Any, alpha: float) -> list[Any]:
    from sklearn.linear_model import LassoLars

    found = []
    for p in pixels:
        solver = LassoLars(alpha, positive=True, fit_intercept=False)
        found.append(solver.fit(traces[of_pixel[p]].T, movie[:, p]).coef_)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=8, help="solve one pixel in so many by both")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    try:
        import sklearn
    except ImportError:
        raise SystemExit("scikit-learn, the peer, is not installed: pip install scikit-learn") from None
    warnings.simplefilter("ignore")  # LARS says where it stops early
    movie, traces, support = simulated()
    columns = support.tocsc()
    of_pixel = np.split(columns.indices, columns.indptr[1:-1])
    of_cells = np.flatnonzero(np.diff(columns.indptr) > 1)
    pixels = of_cells[:: options.every]
    lam = 0.5 * NOISE  # times T / T: alpha is CaImAn's 0.5 sn / T, and ours is T alpha
    penalty = np.full(SIDE * SIDE, lam)
    double = movie[:, pixels].astype("f8"), traces.astype("f8")
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    ours(movie, traces, support, penalty)  # compiled
    for _ in range(options.rounds):
        start = time.process_time()
        found = ours(movie, traces, support, penalty)
        middle = time.process_time()
        peers = theirs(movie, traces, of_pixel, pixels, lam / N_FRAMES)
        seconds["ours"].append(middle - start)
        seconds["theirs"].append((time.process_time() - middle) * len(of_cells) / len(pixels))
    images = sparse.csr_array((found, support.indices, support.indptr), shape=support.shape).tocsc()

    def objective(i: int, w: Any) -> float:
        rest = double[0][:, i] - w @ double[1][of_pixel[pixels[i]]]
        return float(0.5 * rest @ rest + lam * w.sum())

    mine = np.array([
        objective(i, images[:, [p]].toarray().ravel()[of_pixel[p]].astype("f8")) for i, p in enumerate(pixels)
    ])  # fmt: skip
    peer = np.array([objective(i, w) for i, w in enumerate(peers)])
    excess = mine / peer - 1
    best = {name: min(values) for name, values in seconds.items()}
    print(f"scikit-learn {sklearn.__version__}; {support.nnz} entries, {len(pixels)} of {len(of_cells)} pixels by both")
    print(f"CPU seconds: ours {best['ours']:.3f}, loop {best['theirs']:.2f}, ratio {best['theirs'] / best['ours']:.0f}")
    print(f"objective over theirs - 1: worst {excess.max():.1e}, best {excess.min():.1e}, "
          f"worse than 1e-9 in {(excess > 1e-9).sum()}, better than 1e-6 in {(excess < -1e-6).sum()}")  # fmt: skip


if __name__ == "__main__":
    main()
