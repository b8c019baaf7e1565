"""Non-negative factorisation beside scikit-learn: CPU seconds and error after as many iterations from the same start.

    python benchmarks/nmf.py --rows 65536 --columns 2000 --components 50 --threads 1 --output nmf.json

Both take turns in one process, so that what else the machine does hits both; the ratio of a round is theirs over ours.
``--threads 1`` holds BLAS and compiled loops to one thread, 0 leaves them their defaults. The error is that of
:func:`gpucells.ops.nmf_rows.reconstruction_error` for both, which adds up in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sweeps", type=int, default=1, help="n_sweeps of ours")
    parser.add_argument("--threads", type=int, default=1, help="0: the libraries' own choice")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.threads:  # before NumPy and numba are imported, which read these once
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(options.threads)
    result = vars(options) | measure(options)
    text = json.dumps(result, indent=1, default=str)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return CPU and wall seconds of every round, and the errors at its end."""
    import numpy as np
    from sklearn.decomposition import NMF

    from gpucells.ops.nmf import nmf
    from gpucells.ops.nmf_rows import reconstruction_error, row_blocks

    warnings.simplefilter("ignore")  # that it did not converge
    rng = np.random.default_rng(0)
    n, m, k = options.rows, options.columns, options.components
    h_true = rng.gamma(0.3, 1, (k, m)).astype(np.float32)
    x = np.empty((n, m), np.float32)
    for rows, block in row_blocks(x):
        x[rows] = rng.gamma(0.3, 1, (len(block), k)).astype(np.float32) @ h_true
        x[rows] += 0.5 * rng.random(block.shape, np.float32)
    w, h = rng.random((n, k), np.float32), rng.random((k, m), np.float32)
    nmf(x[:64], w=w[:64], h=h, max_iterations=1)  # compiled

    def theirs() -> tuple[Any, Any]:
        model = NMF(k, init="custom", solver="cd", tol=0, max_iter=options.iterations)
        return model.fit_transform(x, W=w.copy(), H=h.copy()), model.components_

    def ours() -> tuple[Any, Any]:
        found = nmf(x, w=w, h=h, tol=0, max_iterations=options.iterations, n_sweeps=options.sweeps)
        return found.w, found.h

    rounds: dict[str, list[tuple[float, float]]] = {"scikit-learn": [], "gpucells": []}
    errors = {}
    for _ in range(options.rounds):
        for name, run in (("scikit-learn", theirs), ("gpucells", ours)):
            factors, *cost = timed(run)
            rounds[name].append((cost[0], cost[1]))
            errors[name] = reconstruction_error(x, *factors)
    pairs = list(zip(rounds["scikit-learn"], rounds["gpucells"], strict=True))
    return {
        "cpu_and_wall_s": rounds, "error": errors, "python": sys.version.split()[0],
        "cpu_ratio_median": statistics.median(a[0] / b[0] for a, b in pairs),
        "wall_ratio_median": statistics.median(a[1] / b[1] for a, b in pairs),
    }  # fmt: skip


def timed(run: Callable[[], tuple[Any, Any]]) -> tuple[tuple[Any, Any], float, float]:
    """Return what a call returns, its CPU seconds, all threads', and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return result, round(time.process_time() - cpu, 3), round(time.perf_counter() - wall, 3)


if __name__ == "__main__":
    main()
