"""Means with a fixed coefficient are exactly linear in the movie; solved traces scale with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.planted import footprints

import gpucells

SHAPE, N_FRAMES = (16, 20), 40
CELLS = footprints(SHAPE, [(5, 5), (7, 9), (11, 15)])


def movies(seed: int) -> np.ndarray:
    """Whole numbers, of which single precision holds sums and small multiples exactly."""
    return np.random.default_rng(seed).integers(0, 500, (N_FRAMES, *SHAPE)).astype(np.float32)


def traces_of(movie: Any, **chosen: Any) -> Any:
    return gpucells.apply_footprints(movie, CELLS, method="roi", settings=chosen)


@pytest.mark.parametrize("kind", ["mean", "weighted_mean"])
@settings(max_examples=8, deadline=None)
@given(
    seeds=st.tuples(st.integers(0, 999), st.integers(1000, 1999)),
    factor=st.sampled_from([0.5, 2.0, 3.0, 16.0]),
    coefficient=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_means_are_linear(kind: str, seeds: tuple[int, int], factor: float, coefficient: float) -> None:
    one, other = (movies(seed) for seed in seeds)
    chosen = {"traces": kind, "neuropil_coefficient": coefficient}
    a, b, both, more = (traces_of(movie, **chosen) for movie in (one, other, one + other, factor * one))
    np.testing.assert_allclose(both.traces, a.traces + b.traces, atol=1e-3)
    np.testing.assert_allclose(both.f0, a.f0 + b.f0, rtol=1e-6)
    np.testing.assert_allclose(more.traces, factor * a.traces, atol=1e-3 * max(1, factor))


@pytest.mark.parametrize("kind", ["mean", "weighted_mean"])
def test_a_constant_changes_no_trace(kind: str) -> None:
    movie = movies(0)
    one, other = (traces_of(m, traces=kind) for m in (movie, movie + 1000))
    np.testing.assert_allclose(other.traces, one.traces, atol=2e-3)
    np.testing.assert_allclose(other.f0, one.f0 + 1000, rtol=1e-6)


@pytest.mark.parametrize("kind", ["robust", "least_squares"])
def test_solved_traces_scale_with_the_movie(kind: str) -> None:
    movie = movies(3)
    one, other = (traces_of(m, traces=kind) for m in (movie, 4 * movie))
    np.testing.assert_allclose(other.traces, 4 * one.traces, atol=0.02 * np.abs(one.traces).max())


@pytest.mark.parametrize("kind", ["robust", "least_squares", "mean"])
def test_the_order_of_footprints_does_not_matter(kind: str) -> None:
    movie = movies(4)
    turned = gpucells.apply_footprints(movie, CELLS[[2, 0, 1]], method="roi", settings={"traces": kind})
    np.testing.assert_allclose(turned.traces, traces_of(movie, traces=kind).traces[[2, 0, 1]], atol=0.5)
