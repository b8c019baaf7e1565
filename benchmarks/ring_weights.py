"""CPU seconds of the ring model's weights beside a plain loop over blocks, taken in turns in one process.

    python benchmarks/ring_weights.py [--side 64] [--frames 1000] [--rounds 3]

The loop is CaImAn's formula with an intercept: a block's ring is gathered, its matrix multiplied and solved by
numpy.linalg.solve, in float64 and in float32. Differences are the worst of all weights to the float64 loop's, relative
to the largest weight. The floor counts each pair of blocks that some ring has once. Set NUMBA_NUM_THREADS,
OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to 1: CPU seconds of all threads are counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage, sparse

from gpucells.ops.ring_weights import ring_background, ring_offsets, ring_weights

RADII = (5, 9)
RIDGE = 1e-3
LIMIT = 5.0
NOISE = 0.6  # of a block, where the background has a standard deviation of 30


def movie(side: int, n_frames: int) -> Any:
    """A smooth background, a large offset, little noise."""
    rng = np.random.default_rng(0)
    images = ndimage.gaussian_filter(rng.normal(size=(12, side, side)), (0, 8, 8))
    images /= images.std(axis=(1, 2), keepdims=True)
    traces = ndimage.gaussian_filter1d(rng.normal(size=(12, n_frames)), 5, axis=1)
    blocks = 100 + 30 * np.einsum("khw,kt->hwt", images, traces)
    return (blocks + NOISE * rng.normal(size=blocks.shape)).astype(np.float32)


def loop(blocks: Any, offsets: Any, dtype: Any) -> Any:
    height, width, n_frames = blocks.shape
    traces = blocks.reshape(-1, n_frames) - blocks.reshape(-1, n_frames).mean(axis=1, keepdims=True, dtype=np.float64)
    traces = traces.astype(dtype)
    columns, values, start = [], [], [0]
    for i in range(len(traces)):
        y, x = i // width + offsets[:, 0], i % width + offsets[:, 1]
        ring = (y * width + x)[(y >= 0) & (y < height) & (x >= 0) & (x < width)]
        near = traces[ring]
        gram = near @ near.T
        gram[np.diag_indices(len(ring))] += RIDGE * np.trace(gram)
        values.append(np.linalg.solve(gram, near @ traces[i]))
        columns.append(ring)
        start.append(start[-1] + len(ring))
    return sparse.csr_array((np.concatenate(values), np.concatenate(columns), start), shape=(len(traces),) * 2)


def floor(blocks: Any, offsets: Any) -> str:
    """Say what has to be done at least: each pair once, each ring solved, the movie read."""
    lags = {tuple(a - b) for a in offsets for b in [*offsets, (0, 0)]}
    pairs, (height, width, n_frames) = (len(lags) + 1) // 2, blocks.shape
    products, solves = 2 * pairs * height * width * n_frames, height * width * len(offsets) ** 3 / 3
    return f"{products / 1e9:.2f} Gflop products, {solves / 1e9:.2f} Gflop solves, {blocks.nbytes / 1e6:.0f} MB read"


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    blocks = movie(options.side, options.frames)
    inside, noise = np.ones(blocks.shape[:2], bool), np.full(blocks.shape[:2], NOISE, np.float32)
    small = np.ascontiguousarray(blocks[:12, :12, :50])
    first = seconds(lambda: ring_background(ring_weights(small, inside[:12, :12], ring_offsets(1)), small))
    print(f"first call, compiled or loaded: {first:.2f} CPU s; {options.side}^2 blocks, {options.frames} frames\n")
    for radius in RADII:
        offsets = ring_offsets(radius)
        found = ring_weights(blocks, inside, offsets, RIDGE)
        calls: dict[str, Callable[[], Any]] = {
            "ring_weights": lambda o=offsets: ring_weights(blocks, inside, o, RIDGE),  # type: ignore[misc]
            "loop, float64": lambda o=offsets: loop(blocks, o, np.float64),  # type: ignore[misc]
            "loop, float32": lambda o=offsets: loop(blocks, o, np.float32),  # type: ignore[misc]
            "ring_weights with limit": lambda o=offsets: ring_weights(blocks, inside, o, RIDGE, LIMIT, noise),  # type: ignore[misc]
            "ring_background": lambda w=found: ring_background(w, blocks),  # type: ignore[misc]
        }
        best: dict[str, float] = {}
        for _ in range(options.rounds):
            for name, call in calls.items():
                best[name] = min(best.get(name, np.inf), seconds(call))
        exact = loop(blocks, offsets, np.float64)
        off = {
            "ring_weights": found.weights,
            "loop, float32": loop(blocks, offsets, np.float32),
        }
        print(f"radius {radius}, {len(offsets)} neighbours; floor {floor(blocks, offsets)}\n")
        print("| | CPU s | times ours | worst difference |\n|---|---|---|---|")
        for name, value in best.items():
            worst = f"{abs(off[name] - exact).max() / abs(exact).max():.1e}" if name in off else ""
            print(f"| {name} | {value:.3f} | {value / best['ring_weights']:.2f} | {worst} |")
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
