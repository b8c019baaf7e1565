"""Tolerances that are measured, not chosen.

A float32 body may differ from the float64 reference by three times what the float32 CPU body differs, plus eight units
in the last place of the largest reference value. The first term follows the conditioning of the problem at hand; the
second keeps the test meaningful where the CPU body happens to be exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FACTOR = 3.0
#: Of every comparison since somebody emptied it: what evidence from a GPU keeps the largest of.
ratios: list[float] = []
ULPS = 8.0


def ulp32(reference: NDArray[np.float64]) -> float:
    """One float32 unit in the last place of the largest value of ``reference``."""
    largest = float(np.max(np.abs(reference), initial=0.0))
    return float(np.spacing(np.float32(largest)))


def error_ratio(gpu32: ArrayLike, cpu32: ArrayLike, reference64: ArrayLike) -> float:
    """Error of ``gpu32`` as a share of what is allowed; at most 1 passes.

    NaN counts as an error unless the reference has one at the same place.
    """
    reference = np.asarray(reference64, dtype=np.float64)
    if reference.size == 0:
        return 0.0
    allowed = FACTOR * _largest_error(cpu32, reference) + ULPS * ulp32(reference[np.isfinite(reference)])
    return _largest_error(gpu32, reference) / allowed


def assert_as_accurate(gpu32: ArrayLike, cpu32: ArrayLike, reference64: ArrayLike, name: str = "result") -> float:
    """Check ``max|gpu32 - ref64| <= 3 max|cpu32 - ref64| + 8 ulp`` and return the ratio of the two sides."""
    assert np.shape(gpu32) == np.shape(reference64), f"{name}: {np.shape(gpu32)} is not {np.shape(reference64)}"
    ratio = error_ratio(gpu32, cpu32, reference64)
    ratios.append(ratio)
    assert ratio <= 1.0, f"{name}: error is {ratio:.3g} times what float32 on the CPU allows"
    return ratio


def _largest_error(values: ArrayLike, reference: NDArray[np.float64]) -> float:
    got = np.asarray(values, dtype=np.float64)
    same = (got == reference) | (np.isnan(got) & np.isnan(reference))  # also equal infinities, whose difference is NaN
    error = np.abs(np.where(same, 0.0, got) - np.where(same, 0.0, reference))
    return float(np.max(np.where(np.isnan(error), np.inf, error), initial=0.0))
