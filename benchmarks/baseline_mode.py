"""Which quantile is the baseline at: estimates of a trace's mode, on simulated traces with a known baseline.

    python benchmarks/baseline_mode.py [--repeats 4]

Error is the root mean square of running quantile less true baseline, over the noise; the median, mean and 90th
percentile over all traces go to the screen, in Markdown, with the median by noise and by drift (in sizes of an event).
``whole`` estimates the mode of the trace, ``first`` that of its first window, ``flat`` that of the trace less its
running median.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
from scipy import fft, optimize

from gpucells.ops.running_percentile import running_percentile
from gpucells.postprocess.dff import mode

EVENTS = ((0.003, 20), (0.01, 20), (0.03, 20), (0.05, 20), (0.02, 5))  # a frame, and decay in frames
NOISE, DRIFT, FRAMES = (0.1, 0.3, 1.0), (0.0, 1.0, 3.0), (2_000, 10_000)


def half_sample_mode(samples: Any) -> float:
    """Return the mode of Bickel and Fruehwirth 2006: the densest half of the densest half of ..."""
    ordered = np.sort(samples)
    while len(ordered) > 2:
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        first = int(np.argmin(widths))
        ordered = ordered[first : first + half]
    return float(ordered.mean())


def diffusion_mode(samples: Any, bins: int = 1024) -> float:
    """Return the peak of a Gaussian kernel density of the width of Botev, Grotowski and Kroese 2010 (section 5)."""
    low, high = float(samples.min()), float(samples.max())
    low, high, n = low - (high - low) / 10, high + (high - low) / 10, len(samples)
    coefficients = fft.dct(np.histogram(samples, bins, (low, high))[0] / n)
    square, order = (coefficients[1:] / 2) ** 2, np.arange(1, bins) ** 2.0

    def norm(s: int, t: float) -> float:  # squared norm of the density's s-th derivative, smoothed by t
        return float(2 * np.pi ** (2 * s) * np.sum(order**s * square * np.exp(-order * np.pi**2 * t)))

    def difference(t: float) -> float:
        f = norm(7, t)
        for s in range(6, 1, -1):
            odd = np.prod(np.arange(1, 2 * s, 2)) / np.sqrt(2 * np.pi)
            f = norm(s, (2 * odd * (1 + 0.5 ** (s + 0.5)) / 3 / n / f) ** (2 / (3 + 2 * s)))
        return float(t - (2 * n * np.sqrt(np.pi) * f) ** (-2 / 5))

    try:
        width = optimize.brentq(difference, 0, 0.1)
    except ValueError:  # no root: the width for normal samples
        width = 0.28 * n ** (-2 / 5)
    density = fft.idct(coefficients * np.exp(-(np.arange(bins) ** 2) * np.pi**2 * width / 2))
    return low + (int(np.argmax(density)) + 0.5) * (high - low) / bins


ESTIMATES = {"kernel, Silverman": mode, "kernel, Botev": diffusion_mode, "half-sample": half_sample_mode}


def simulated(rng: Any, n: int, rate: float, decay: int, noise: float, drift: float) -> tuple[Any, Any]:
    """Return a trace and its true baseline: it bleaches, and swings once."""
    events = (rng.random(n) < rate) * rng.lognormal(0, 0.4, n)
    calcium = np.convolve(events, np.exp(-np.arange(6 * decay) / decay))[:n]
    t = np.arange(n) / n
    baseline = 1 + drift * (np.exp(-3 * t) + 0.3 * np.sin(6 * t + rng.uniform(0, 6)))
    return (calcium + baseline + rng.normal(0, noise, n)).astype(np.float32), baseline


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    rng, errors, spent = np.random.default_rng(1), defaultdict(list), defaultdict(list)
    conditions = []
    for n, (rate, decay), noise, drift, _ in itertools.product(FRAMES, EVENTS, NOISE, DRIFT, range(options.repeats)):
        conditions.append((noise, drift))
        trace, baseline = simulated(rng, n, rate, decay, noise, drift)
        window = min(1000, n // 2)
        flat = trace - running_percentile(trace[None], 0.5, window)[0]
        quantiles = {f"quantile {q}": q for q in (0.08, 0.2, 0.5)}
        for (of, samples), (name, estimate) in itertools.product(
            {"whole": trace, "first": trace[:window], "flat": flat}.items(), ESTIMATES.items()
        ):
            start = time.process_time()
            quantiles[f"{name}, {of}"] = float(np.mean(samples <= estimate(samples)))
            spent[f"{name}, {of}"].append(time.process_time() - start)
        for name, quantile in quantiles.items():
            found = running_percentile(trace[None], quantile, window)[0]
            errors[name].append(np.sqrt(np.mean((found - baseline) ** 2)) / noise)
    kinds = np.array(conditions)
    print("| estimate | median | mean | 90 % | noise .1, .3, 1 | drift 0, 1, 3 | ms |\n|---|---|---|---|---|---|---|")
    for name, values in sorted(errors.items(), key=lambda item: float(np.median(item[1]))):
        e = np.array(values)
        by = [[f"{np.median(e[kinds[:, k] == v]):.2f}" for v in level] for k, level in enumerate((NOISE, DRIFT))]
        cost = f"{1e3 * np.mean(spent[name]):.2f}" if name in spent else ""
        row = [name, *(f"{v:.3f}" for v in (np.median(e), e.mean(), np.quantile(e, 0.9))), *map(", ".join, by), cost]
        print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
