"""What the scores must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gpucells.postprocess.match import match_cells, score_cells
from gpucells.postprocess.scores import Scores

SHAPE = (14, 14)
FIGURES = ["precision", "recall", "f1", "trace_r_median", "trace_r_all", "footprint_cosine", "area_ratio", "crosstalk"]


def random_cells(seed: int, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = rng.uniform(2, 12, (n, 2, 1, 1))
    images = np.exp(-((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) / 6)
    return np.where(images > 0.05, images, 0).reshape(n, -1), rng.standard_normal((n, 200))


def perturbed(footprints: np.ndarray, traces: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + 1)
    keep = np.sort(rng.permutation(len(traces))[: rng.integers(1, len(traces) + 1)])
    blurred = footprints[keep] + 0.3 * np.abs(rng.standard_normal(footprints[keep].shape))
    return blurred, traces[keep] + rng.uniform(0, 1.5) * rng.standard_normal(traces[keep].shape)


def assert_same(one: Scores, other: Scores) -> None:
    for name in FIGURES:
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=2e-5, nan_ok=True), name


@given(st.integers(0, 10**6))
def test_scores_do_not_depend_on_order_scale_or_offset(seed: int) -> None:
    true_footprints, true_traces = random_cells(seed)
    footprints, traces = perturbed(true_footprints, true_traces, seed)
    plain = score_cells(footprints, traces, true_footprints, true_traces, SHAPE)
    rng = np.random.default_rng(seed)
    found, true = rng.permutation(len(traces)), rng.permutation(len(true_traces))
    size = rng.uniform(0.1, 50, (len(traces), 1))
    changed = score_cells(
        sparse.csr_array(3 * footprints[found]),
        (size * traces + 10 * size)[found],
        true_footprints[true],
        (0.01 * true_traces - 4)[true],
        SHAPE,
    )
    assert_same(plain, changed)
    assert {(found[i], true[j]) for i, j in changed.pairs} == {tuple(pair) for pair in plain.pairs}


@given(st.integers(0, 10**6))
def test_scores_do_not_depend_on_the_order_of_pixels_and_frames(seed: int) -> None:
    true_footprints, true_traces = random_cells(seed)
    footprints, traces = perturbed(true_footprints, true_traces, seed)
    rng = np.random.default_rng(seed)
    pixels, frames = rng.permutation(footprints.shape[1]), rng.permutation(traces.shape[1])
    plain = score_cells(footprints, traces, true_footprints, true_traces, SHAPE)
    changed = score_cells(
        footprints[:, pixels], traces[:, frames], true_footprints[:, pixels], true_traces[:, frames], SHAPE
    )
    assert_same(plain, changed)


@given(st.integers(0, 10**6))
def test_counts_add_up(seed: int) -> None:
    true_footprints, true_traces = random_cells(seed)
    footprints, traces = perturbed(true_footprints, true_traces, seed)
    snr = np.random.default_rng(seed).uniform(0, 30, len(true_traces))
    scores = score_cells(footprints, traces, true_footprints, true_traces, SHAPE, snr=snr)
    assert scores.matched + len(scores.missed) == scores.truth == (snr >= 5).sum()
    assert scores.matched + len(scores.false) + scores.ignored == scores.found
    assert set(scores.duplicate) <= set(scores.false)
    assert scores.f1 <= max(scores.precision, scores.recall) + 1e-12
    assert (scores.pair_cosine >= 0.5).all()
    assert (scores.pair_trace_r >= 0.5).all()


@given(st.integers(0, 10**6))
def test_matching_is_symmetric(seed: int) -> None:
    class Side:
        def __init__(self, footprints: np.ndarray, traces: np.ndarray) -> None:
            self.footprints, self.traces = footprints, traces

    first = Side(*random_cells(seed))
    second = Side(*perturbed(first.footprints, first.traces, seed))
    forward, backward = match_cells(first, second), match_cells(second, first)
    assert {(i, j) for i, j in forward.pairs} == {(i, j) for j, i in backward.pairs}
    assert list(forward.only_first) == list(backward.only_second)
