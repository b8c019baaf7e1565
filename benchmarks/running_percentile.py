"""CPU seconds of the running quantile beside SciPy's and pandas', taken in turns in one process.

    python benchmarks/running_percentile.py [--frames 20000] [--traces 200] [--rounds 3]

The smallest of some rounds counts. SciPy mirrors a trace at its ends and returns a sample, pandas and ours clip the
window and go between two samples; inside the trace all agree, which is checked. SciPy's filter of two
dimensions is timed on a few traces, once, and scaled up. The table goes to the screen, in
Markdown. Set NUMBA_NUM_THREADS=1: CPU seconds of all threads are counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from gpucells.ops.running_percentile import running_percentile

WINDOWS = (500, 1000, 2000, 5000)
FEW = 4  # traces for SciPy's slow one
QUANTILE, STEP = 0.1, 10


def calls(traces: Any, window: int) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name; pandas only where it is installed."""
    known: dict[str, Callable[[], Any]] = {
        "gpucells": lambda: running_percentile(traces, QUANTILE, window),
        f"gpucells, every {STEP} frames": lambda: running_percentile(traces, QUANTILE, window, STEP),
        "scipy.ndimage.percentile_filter, trace by trace": lambda: np.array(
            [ndimage.percentile_filter(row, 100 * QUANTILE, window) for row in traces]
        ),
    }
    if importlib.util.find_spec("pandas"):
        import pandas as pd

        known["pandas rolling quantile"] = lambda: (
            pd.DataFrame(traces.T).rolling(window, center=True, min_periods=1).quantile(QUANTILE).to_numpy().T
        )
    return known


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def agree(traces: Any, window: int) -> None:
    """Stop where, inside a trace, another tool's answer is farther off than the next sample in order."""
    found = {name: call() for name, call in calls(traces[:2], window).items()}
    ours = found["gpucells"]
    inside = slice(window, -window)
    gap = np.quantile(traces, QUANTILE + 2 / window) - np.quantile(traces, QUANTILE - 2 / window)
    for name, theirs in found.items():
        if window * 2 < traces.shape[1] and np.abs(theirs - ours)[:, inside].max() > 20 * gap:
            sys.exit(f"{name}: differs by {np.abs(theirs - ours)[:, inside].max()} at a window of {window}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--traces", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    traces = rng.normal(0, 1, (options.traces, options.frames)) + rng.exponential(0.5, (options.traces, options.frames))
    traces = traces.astype(np.float32)
    running_percentile(traces[:1], QUANTILE, 3)  # compiled
    print(f"{options.traces} traces of {options.frames} frames, CPU seconds, and how many times ours\n")
    names = [*calls(traces, WINDOWS[0]), "the same, (1, window)"]
    print("| window | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for window in WINDOWS:
        agree(traces, window)
        best: dict[str, float] = {}
        for _ in range(options.rounds):
            for name, call in calls(traces, window).items():
                best[name] = min(best.get(name, np.inf), seconds(call))
        few = seconds(lambda w=window: ndimage.percentile_filter(traces[:FEW], 100 * QUANTILE, (1, w)))
        best["in two dimensions"] = few * len(traces) / len(traces[:FEW])
        row = [f"{value:.3g} ({value / best['gpucells']:.2g})" for value in best.values()]
        print(f"| {window} | " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
