"""The scoring protocol on cases small enough to know the answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from gpucells.errors import InputError
from gpucells.io.cells_file import save_cells
from gpucells.io.truth_file import save_truth
from gpucells.model.cells import Cells
from gpucells.model.truth import Truth, largest_overlap
from gpucells.postprocess.match import compare, match_cells, score_cells
from gpucells.postprocess.pairing import zscored

SHAPE = (12, 40)
N_FRAMES = 300


def squares(lefts: list[int], side: int = 6) -> sparse.csr_array:
    images = np.zeros((len(lefts), *SHAPE), dtype=np.float32)
    for image, left in zip(images, lefts, strict=True):
        image[3 : 3 + side, left : left + side] = 1
    return sparse.csr_array(images.reshape(len(lefts), -1))


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, N_FRAMES)).astype(np.float32)


@pytest.fixture
def truth() -> Truth:
    """Four cells: two overlapping by half (cosine .5), two alone."""
    footprints, traces = squares([0, 3, 15, 30]), noise(4)
    return Truth(
        footprints=footprints,
        traces=traces,
        image_shape=SHAPE,
        spikes=np.zeros_like(traces),
        snr=np.array([7, 15, 30, 40], dtype=np.float32),
        max_overlap=largest_overlap(footprints),
        at_border=np.zeros(4, dtype=bool),
    )


def score(truth: Truth, footprints: sparse.csr_array, traces: np.ndarray, **changes):
    known = {"at_border": truth.at_border, "snr": truth.snr, "max_overlap": truth.max_overlap} | changes
    return score_cells(footprints, traces, truth.footprints, truth.traces, SHAPE, **known)


def test_the_truth_itself_is_perfect(truth: Truth) -> None:
    scores = score(truth, truth.footprints, truth.traces)
    assert (scores.found, scores.truth, scores.matched, scores.duplicates) == (4, 4, 4, 0)
    assert scores.precision == scores.recall == scores.f1 == 1
    figures = [scores.trace_r_median, scores.trace_r_p10, scores.trace_r_all, scores.footprint_cosine]
    np.testing.assert_allclose(figures, 1, atol=1e-5)
    assert scores.crosstalk == pytest.approx(0, abs=1e-4)
    assert scores.area_ratio == 1
    assert scores.recall_by_snr == {"5-10": 1, "10-20": 1, ">20": 1}


def test_order_does_not_matter(truth: Truth) -> None:
    order = [2, 0, 3, 1]
    scores = score(truth, truth.footprints[order], truth.traces[order])
    assert scores.f1 == 1
    assert {tuple(pair) for pair in scores.pairs} == {(0, 2), (1, 0), (2, 3), (3, 1)}


def test_right_place_wrong_trace_does_not_count(truth: Truth) -> None:
    swapped = truth.traces[[0, 1, 3, 2]]
    scores = score(truth, truth.footprints, swapped)
    assert scores.matched == 2
    assert scores.precision == scores.recall == 0.5
    assert list(scores.missed) == [2, 3]
    assert list(scores.false) == [2, 3]
    assert scores.duplicates == 0


def test_missed_cell_lowers_recall_and_mean_trace_correlation(truth: Truth) -> None:
    scores = score(truth, truth.footprints[:3], truth.traces[:3])
    assert (scores.precision, scores.recall) == (1, 0.75)
    assert list(scores.missed) == [3]
    assert scores.trace_r_all == pytest.approx(0.75, abs=1e-5)
    assert scores.recall_by_snr == {"5-10": 1, "10-20": 1, ">20": 0.5}
    # footprints that share half their pixels have a cosine of .5
    assert scores.recall_by_overlap["<.3"] == 0.5
    assert scores.recall_by_overlap[".3-.6"] == 1
    assert np.isnan(scores.recall_by_overlap[">.6"])


def test_duplicate_is_false_and_named(truth: Truth) -> None:
    footprints = sparse.vstack([truth.footprints, squares([16])])
    traces = np.concatenate([truth.traces, truth.traces[2:3] + 0.5 * noise(1, seed=1)])
    scores = score(truth, sparse.csr_array(footprints), traces)
    assert list(scores.duplicate) == list(scores.false) == [4]
    assert scores.precision == 0.8
    assert scores.recall == 1


def test_false_cell_elsewhere_is_no_duplicate(truth: Truth) -> None:
    footprints = sparse.csr_array(sparse.vstack([truth.footprints, squares([23])]))
    scores = score(truth, footprints, np.concatenate([truth.traces, truth.traces[2:3]]))
    assert list(scores.false) == [4]
    assert scores.duplicates == 0


@pytest.mark.parametrize("why", ["at_border", "snr"])
def test_ignored_cell_is_neither_missed_nor_false(truth: Truth, why: str) -> None:
    change = {"at_border": np.arange(4) == 3} if why == "at_border" else {"snr": np.array([7, 15, 30, 4.9])}
    found = score(truth, truth.footprints, np.concatenate([truth.traces[:3], noise(1, seed=2)]), **change)
    assert (found.truth, found.matched, found.ignored) == (3, 3, 1)
    assert found.f1 == 1
    assert list(found.excused) == [3]
    missing = score(truth, truth.footprints[:3], truth.traces[:3], **change)
    assert (missing.truth, missing.f1, missing.ignored) == (3, 1, 0)


def test_silent_twin_does_not_take_the_found_cell(truth: Truth) -> None:
    footprints = sparse.csr_array(sparse.vstack([truth.footprints, truth.footprints[3:]]))
    traces = np.concatenate([truth.traces, np.zeros((1, N_FRAMES), np.float32)])
    scores = score_cells(truth.footprints, truth.traces, footprints, traces, SHAPE, snr=np.array([7, 15, 30, 40, 0]))
    assert (scores.truth, scores.matched, scores.f1) == (4, 4, 1)


def test_crosstalk_is_the_share_of_the_neighbour(truth: Truth) -> None:
    clean = zscored(truth.traces)
    traces = clean.copy()
    traces[0] += 0.25 * clean[1]
    scores = score(truth, truth.footprints, traces)
    # cell 0 has .25 / 1.25 on its neighbour, the other three nothing
    assert scores.crosstalk == pytest.approx(0.2 / 4, abs=1e-3)
    assert scores.crosstalk_median == pytest.approx(0, abs=1e-3)


def test_area_ratio_counts_pixels_above_a_fifth(truth: Truth) -> None:
    faint_skirt = truth.footprints.toarray() + 0.1 * squares([0, 3, 15, 30], side=8).toarray()
    assert score(truth, sparse.csr_array(faint_skirt), truth.traces).area_ratio == 1
    assert score(truth, squares([0, 3, 15, 30], side=8), truth.traces).area_ratio == pytest.approx(64 / 36)


def test_frames_that_no_trace_of_a_side_has_do_not_count(truth: Truth) -> None:
    traces = truth.traces + 0.3 * noise(4, seed=9)
    known = np.arange(N_FRAMES) % 3 > 0
    whole = score_cells(truth.footprints, traces[:, known], truth.footprints, truth.traces[:, known], SHAPE)
    gaps = np.where(known, traces, np.nan)
    scores = score_cells(truth.footprints, gaps, truth.footprints, truth.traces, SHAPE)
    np.testing.assert_allclose(scores.pair_trace_r, whole.pair_trace_r)
    assert scores.crosstalk == pytest.approx(whole.crosstalk)
    nothing = score_cells(truth.footprints[:0], gaps[:0], truth.footprints, truth.traces, SHAPE)
    assert len(nothing.missed) == 4


@pytest.mark.parametrize("broken", [np.nan, 0.0, 7.3, np.inf])
def test_dead_traces_match_nothing(truth: Truth, broken: float) -> None:
    traces = truth.traces.copy()
    traces[1] = broken
    scores = score(truth, truth.footprints, traces)
    assert list(scores.missed) == [1]
    assert np.isfinite(scores.crosstalk)


def test_single_missing_samples_are_bridged(truth: Truth) -> None:
    traces = truth.traces.copy()
    traces[:, 5] = np.nan
    assert score(truth, truth.footprints, traces).trace_r_median > 0.98


def test_nothing_found_and_nothing_to_find(truth: Truth) -> None:
    nothing = score(truth, truth.footprints[:0], truth.traces[:0])
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.trace_r_all) == (0, 0, 0, 0)
    assert np.isnan(nothing.trace_r_median)
    empty = score_cells(truth.footprints, truth.traces, truth.footprints[:0], truth.traces[:0], SHAPE)
    assert (empty.truth, empty.matched, len(empty.false)) == (0, 0, 4)
    assert "cells found / true" in nothing.table()


def test_wrong_shapes_are_refused(truth: Truth) -> None:
    with pytest.raises(InputError, match="pixels"):
        score_cells(truth.footprints, truth.traces, truth.footprints, truth.traces, (12, 41))
    with pytest.raises(InputError, match="299 and 300 frames"):
        score(truth, truth.footprints, truth.traces[:, 1:])
    with pytest.raises(InputError, match="footprints, but 3 traces"):
        score(truth, truth.footprints, truth.traces[:3])
    with pytest.raises(InputError, match="4 true cells"):
        score(truth, truth.footprints, truth.traces, snr=np.ones(3))


def test_match_cells_pairs_two_results(truth: Truth) -> None:
    first, second = cells(truth, [0, 1, 2]), cells(truth, [3, 2, 0])
    match = match_cells(first, second)
    assert {tuple(pair) for pair in match.pairs} == {(0, 2), (2, 1)}
    assert (list(match.only_first), list(match.only_second)) == ([1], [0])
    np.testing.assert_allclose(match.cosine, 1)


def test_compare_scores_the_accepted_or_all(truth: Truth) -> None:
    result = cells(truth, [0, 1, 2, 3], rejected=[3])
    assert compare(result, truth).recall == 0.75
    assert compare(result, truth, which="all").recall == 1
    assert compare(result, cells(truth, [0, 1, 2])).f1 == 1
    with pytest.raises(InputError, match="not a result"):
        compare(truth, truth)


def test_compare_reads_files(truth: Truth, tmp_path: Path) -> None:
    save_cells(cells(truth, [0, 1, 2]), tmp_path / "cells.h5")
    save_truth(tmp_path / "movie.h5", truth)
    assert compare(tmp_path / "cells.h5", str(tmp_path / "movie.h5")).recall == 0.75
    assert compare(tmp_path / "cells.h5", tmp_path / "cells.h5").f1 == 1
    with pytest.raises(InputError, match="not a result"):
        compare(tmp_path / "movie.h5", truth)


def test_figures_go_to_json(truth: Truth) -> None:
    figures = json.loads(json.dumps(score(truth, truth.footprints[:3], truth.traces[:3]).as_dict(lists=True)))
    assert figures["recall"] == 0.75
    assert figures["recall_by_overlap"][">.6"] is None
    assert figures["missed"] == [3]


def cells(truth: Truth, which: list[int], rejected: list[int] | None = None) -> Cells:
    accepted = ~np.isin(which, rejected or [])
    return Cells(
        footprints=sparse.csr_array(truth.footprints[which]),
        traces=truth.traces[which],
        image_shape=SHAPE,
        f0=np.ones(len(which), np.float32),
        accepted=accepted,
        rejection=tuple("" if ok else "small" for ok in accepted),
    )
