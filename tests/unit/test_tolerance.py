"""The measured tolerance lets float32 rounding pass and real errors fail."""

from __future__ import annotations

import numpy as np
import pytest
from tolerance import assert_as_accurate, error_ratio, ulp32


def test_limit_is_three_times_the_cpu_error_plus_eight_ulp() -> None:
    reference = np.array([1.0, 2.0, -4.0])
    cpu = reference + 1e-3
    allowed = 3e-3 + 8 * ulp32(reference)
    assert error_ratio(reference + allowed * 0.999, cpu, reference) < 1
    with pytest.raises(AssertionError, match="times what float32"):
        assert_as_accurate(reference + allowed * 1.001, cpu, reference)


def test_ulp_is_that_of_the_largest_value() -> None:
    assert ulp32(np.array([1.0, -4.0])) == 2.0**-21


def test_exact_cpu_still_allows_rounding() -> None:
    reference = np.array([1.0])
    assert_as_accurate(reference + 8 * ulp32(reference), reference, reference)
    with pytest.raises(AssertionError):
        assert_as_accurate(np.array([1 + 2e-6]), reference, reference)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_fails_unless_the_reference_is_so_too(bad: float) -> None:
    with pytest.raises(AssertionError):
        assert_as_accurate(np.array([1.0, bad]), np.ones(2), np.ones(2))
    assert error_ratio(np.array([1.0, bad]), np.array([1.0, bad]), np.array([1.0, bad])) == 0


def test_shapes_must_agree() -> None:
    with pytest.raises(AssertionError, match="is not"):
        assert_as_accurate(np.ones((2, 1)), np.ones(2), np.ones(2))
    assert error_ratio(np.ones(0), np.ones(0), np.ones(0)) == 0
