"""Deconvolution beside the package oasis-deconv: CPU seconds, one thread, taken in turn in one process.

    pip install oasis-deconv
    export NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python benchmarks/deconvolution.py --traces 1000 --frames 20000

Both get the same traces, coefficients and noise. Ours runs once before, so that compilation is not in the ratio; how
long that took is printed (with an empty NUMBA_CACHE_DIR it is a first run). The other is called once a trace, as its
interface wants; it is run on a part of the traces (``--peer-traces``) and its time is scaled up.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import lfilter

from gpucells.ops.oasis import deconvolve

NOISE, RATE = 0.3, 0.01
#: Name, order, what we are called with, what the other is called with; without a baseline, traces have none.
MODES: tuple[tuple[str, int, dict[str, Any], dict[str, Any]], ...] = (
    ("constrained", 1, {}, {"penalty": 1}),
    ("constrained, baseline 0", 1, {"baseline": 0.0}, {"penalty": 1, "b": 0.0}),
    ("fewest spikes", 1, {"s_min": 0}, {"penalty": 0}),
    ("constrained", 2, {}, {"penalty": 1}),
    ("constrained, baseline 0", 2, {"baseline": 0.0}, {"penalty": 1, "b": 0.0}),
)


def simulated(n: int, n_frames: int, order: int, baseline: float) -> tuple[Any, Any]:
    rng = np.random.default_rng(order)
    roots = np.stack([rng.uniform(0.9, 0.98, n), rng.uniform(0.3, 0.7, n)], axis=1)[:, :order]
    coefficients = roots if order == 1 else np.stack([roots.sum(axis=1), -roots.prod(axis=1)], axis=1)
    traces = np.empty((n, n_frames), np.float32)
    for trace, g in zip(traces, coefficients, strict=True):
        calcium = lfilter([1.0], np.r_[1.0, -g], rng.poisson(RATE, n_frames).astype(float))
        trace[:] = calcium + baseline + NOISE * rng.normal(size=n_frames)
    return traces, coefficients


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peer(traces: Any, call: Callable[[Any, int], Any]) -> None:
    for i, y in enumerate(traces):
        call(y.astype(float), i)


def peers() -> dict[str, Callable[..., Any]]:
    """The other package's functions by mode: all it offers for a penalty that is given is the bare algorithm."""
    try:
        from oasis.functions import deconvolve as other
        from oasis.oasis_methods import oasisAR1, oasisAR2
    except ImportError:
        print("oasis-deconv is not installed: only our own times")
        return {}
    return {"whole": other, "AR1": oasisAR1, "AR2": oasisAR2}


def compare(name: str, order: int, n: int, rows: int, data: tuple[Any, Any], ours: Any, theirs: Any) -> None:
    traces, coefficients = data
    own = lambda: deconvolve(traces, order, coefficients=coefficients, noise=NOISE, **ours)  # noqa: E731
    first = seconds(lambda: deconvolve(traces[:1], order, coefficients=coefficients[:1], noise=NOISE, **ours))
    mine, other = [], []
    for _ in range(2):  # in turn; the faster of each
        mine.append(seconds(own))
        if theirs:
            other.append(seconds(lambda: peer(traces[:rows], theirs)) * n / rows)
    text = f"order {order}, {name}: ours {min(mine):.2f} s (first call {first:.2f} s)"
    print(
        text + (f", oasis-deconv {min(other):.2f} s, ratio {min(other) / min(mine):.1f}" if other else ""), flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--peer-traces", type=int, default=50)
    chosen = parser.parse_args()
    n, rows = chosen.traces, min(chosen.peer_traces, chosen.traces)
    warnings.simplefilter("ignore")
    others = peers()
    for name, order, ours, theirs in MODES:
        data = simulated(n, chosen.frames, order, 0.0 if "baseline" in ours else 1.0)
        call = others and (lambda y, i, g=data[1], more=theirs: others["whole"](y, g=tuple(g[i]), sn=NOISE, **more))
        compare(name, order, n, rows, data, ours, call)
    for order in (1, 2):
        data = simulated(n, chosen.frames, order, 0.0)
        call = others and (lambda y, i, g=data[1], order=order: others[f"AR{order}"](y, *g[i], lam=1.0))
        compare("penalty 1, baseline 0", order, n, rows, data, {"penalty": 1.0, "baseline": 0.0}, call)


if __name__ == "__main__":
    main()
