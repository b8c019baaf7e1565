"""CPU time of the products with frames as a file keeps them, beside a plain conversion to float32, in one process.

    NUMBA_NUM_THREADS=1 python benchmarks/frame_products.py --frames 2048

150 cells of about 100 pixels on 128 x 128. All are timed in turn, several times; the least CPU seconds of each count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from scipy import sparse

from gpucells.ops.frame_products import accumulate, project

SIDE, N_CELLS, CELL_PIXELS = 128, 150, 100


@numba.njit(nogil=True)
def convert(frames, out):  # type: ignore[no-untyped-def]
    for t in range(len(frames)):
        seen, row = frames[t], out[t]
        for i in range(len(seen)):
            row[i] = np.float32(seen[i])


def discs(rng: np.random.Generator) -> sparse.csr_array:
    y, x = np.mgrid[:SIDE, :SIDE]
    at = rng.uniform(6, SIDE - 6, (N_CELLS, 2))
    images = [((y - cy) ** 2 + (x - cx) ** 2 <= CELL_PIXELS / np.pi).ravel() for cy, cx in at]
    return sparse.csr_array(np.array(images) * rng.random((N_CELLS, SIDE * SIDE))).astype("f4")


def least_seconds(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    least = dict.fromkeys(calls, np.inf)
    for _ in range(rounds + 1):  # the first compiles
        for name, call in calls.items():
            start = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - start)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images, n_pixels = discs(rng), SIDE * SIDE
    traces = rng.random((N_CELLS, options.frames), "f4")
    converted = np.empty((options.frames, n_pixels), "f4")
    background, weights = np.zeros((1, n_pixels)), np.ones((1, n_pixels), "f4")
    print(f"{images.nnz} entries, {options.frames} frames of {SIDE} x {SIDE}; ms of CPU, and times the conversion")
    for dtype in ("uint8", "uint16", "int16", "float32"):
        frames = rng.integers(0, 200, (options.frames, n_pixels)).astype(dtype)
        out, total, energy = np.zeros(images.nnz), np.zeros(n_pixels), np.zeros(n_pixels)
        support = images.indptr, images.indices, out
        one = {"row_traces": traces[:1], "row_out": background}
        calls = {
            "convert": lambda frames=frames: convert(frames, converted),
            "project": lambda frames=frames: project(frames, images),
            "project and a row": lambda frames=frames: project(frames, images, weights),
            "accumulate": lambda frames=frames, support=support: accumulate(frames, traces, *support),
            "accumulate and a row": lambda frames=frames, support=support, one=one: accumulate(
                frames, traces, *support, **one
            ),
            "accumulate and sums": lambda frames=frames, support=support, total=total, energy=energy: accumulate(
                frames, traces, *support, total=total, energy=energy
            ),
        }
        least = least_seconds(calls, options.rounds)
        print(dtype, *(f"{name} {1e3 * s:.2f} ({s / least['convert']:.2f})" for name, s in least.items()), sep="  ")


if __name__ == "__main__":
    main()
