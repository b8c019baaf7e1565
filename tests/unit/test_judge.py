"""What may call itself a cell, and what is one cell twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.echoes import find_echoes as slow_find_echoes
from reference.planted import footprints, transients
from reference.windows import cut_windows
from scipy import ndimage, sparse

from gpucells.candidates.footprints import window_side
from gpucells.candidates.judge import (
    ECHO,
    LOW_NORMAL,
    LOW_QUANTILE,
    Events,
    effective_snr,
    find_echoes,
    judge,
    merge_duplicates,
)
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.difference_noise import difference_noise

SHAPE, RADIUS = (40, 40), 4.0
ERROR = 0.15
RNG = np.random.default_rng


def snr_of(*cells: tuple[tuple[float, float], Any]) -> Any:
    images = footprints(SHAPE, [centre for centre, _ in cells])
    return effective_snr(images, np.array([trace for _, trace in cells], np.float32), ERROR)


def test_a_dim_cell_scores_high_and_a_fragment_of_a_bright_neighbour_low() -> None:
    rng = RNG(0)
    bright, dim = transients(rng, 1, 800, 100)[0], transients(rng, 1, 800, 14)[0]
    noise = rng.normal(size=(3, 800))
    fragment = 0.12 * bright + noise[1]
    snr = snr_of(((20, 20), bright + noise[0]), ((20, 24), fragment), ((20, 17), dim + noise[2]))
    assert fragment.max() > 10  # as bright as the dim cell: the noise alone would let it pass
    assert snr[0] > 50
    assert snr[1] < 3
    assert snr[2] > 5


def test_noise_and_swings_both_ways_score_low_and_a_cell_its_height() -> None:
    rng = RNG(1)
    noise = rng.normal(size=(3, 2000))
    wave = 12 * np.sin(np.arange(2000) / 15) + noise[1]
    cell = transients(rng, 1, 2000, 20)[0] + noise[2]
    snr = snr_of(((5, 5), noise[0]), ((5, 30), wave), ((30, 30), cell))
    assert snr[0] < 4
    assert snr[1] < 4
    assert 15 < snr[2] < 40


def test_snr_does_not_depend_on_the_unit_of_traces_and_needs_no_cell() -> None:
    rng = RNG(2)
    images = footprints(SHAPE, [(10, 10), (12, 13)])
    traces = (transients(rng, 2, 500, 20) + rng.normal(size=(2, 500))).astype(np.float32)
    first = effective_snr(images, traces, ERROR)
    np.testing.assert_allclose(effective_snr(images, 1000 * traces + 77, ERROR), first, rtol=1e-3)
    np.testing.assert_allclose(effective_snr(sparse.csr_array(images * 3), traces, ERROR), first, rtol=1e-3)
    assert effective_snr(images[:0], traces[:0], ERROR).shape == (0,)
    assert np.isfinite(effective_snr(images, np.zeros_like(traces), ERROR)).all()


def case(images: sparse.csr_array, heights: Any, seed: int = 3) -> tuple[Any, Any]:
    rng = RNG(seed)
    traces = np.concatenate([transients(rng, 1, 800, height) for height in heights]) + rng.normal(
        size=(len(heights), 800)
    )
    return sparse.csr_array(images).astype(np.float32), traces.astype(np.float32)


def test_the_reason_says_what_is_wrong() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pictures = [
        np.exp(-((y - 8) ** 2 + (x - 8) ** 2) / 8),  # a cell
        np.exp(-((y - 30) ** 2 + (x - 8) ** 2) / 8),  # silent
        (np.abs(y - 8) + np.abs(x - 30) <= 1) * 1.0,  # 5 pixels
        np.exp(-((y - 30) ** 2) / 2 - (x - 25) ** 2 / 200),  # a vessel
        np.zeros(SHAPE),
    ]
    images = sparse.csr_array(np.array([np.where(p < 0.05, 0, p).ravel() for p in pictures]))
    cells, traces = case(images, [20, 0.01, 20, 20, 20])
    settings = ExtractSettings(min_size=0.2)
    verdict = judge(cells, np.ones(1600, np.float32), traces, SHAPE, RADIUS, settings)
    assert verdict.reasons[0] == ""
    for reason, word in zip(verdict.reasons[1:], ["weak", "small", "elongated", "small"], strict=True):
        assert word in reason
    np.testing.assert_array_equal(verdict.kept, [True, False, False, False, False])
    assert all(len(column) == 5 for column in verdict.quality.values())
    assert verdict.quality["snr"][0] > 10 > verdict.quality["snr"][1]
    lax = judge(cells, np.ones(1600, np.float32), traces, SHAPE, RADIUS, ExtractSettings(dendrite_aware=True))
    np.testing.assert_array_equal(lax.kept, [True, False, True, True, False])


def test_a_lower_bar_lets_weaker_ones_pass_and_noise_is_the_unit() -> None:
    cells, traces = case(footprints(SHAPE, [(10, 10), (30, 30)]), [4, 40])
    noise = np.ones(1600, np.float32)
    snr = judge(cells, noise, traces, SHAPE, RADIUS, ExtractSettings()).quality["snr"]
    settings = ExtractSettings(min_snr=1.2 * float(snr[0]))
    np.testing.assert_array_equal(judge(cells, noise, traces, SHAPE, RADIUS, settings).kept, [False, True])
    np.testing.assert_array_equal(judge(cells, noise, traces, SHAPE, RADIUS, settings, 0.6).kept, [True, True])


def test_judging_nothing() -> None:
    none = sparse.csr_array((0, 1600), dtype=np.float32)
    verdict = judge(none, np.ones(1600, np.float32), np.zeros((0, 50), np.float32), SHAPE, RADIUS, ExtractSettings())
    assert verdict.kept.shape == (0,)
    assert verdict.kept.dtype == bool


def merged(images: sparse.csr_array, traces: Any, limit: float = 0.8) -> Any:
    return merge_duplicates(
        sparse.csr_array(images).astype(np.float32), traces.astype(np.float32), SHAPE, RADIUS, limit
    )


def test_a_split_cell_becomes_one_and_its_neighbours_stay() -> None:
    rng = RNG(4)
    whole = footprints(SHAPE, [(20, 20), (20, 27), (8, 8)]).toarray().reshape(3, *SHAPE)
    left, right = whole[0].copy(), whole[0].copy()
    left[:, 20:] = 0
    right[:, :20] = 0
    right /= right.max()
    pieces = sparse.csr_array(np.array([left / left.max(), whole[1], right, whole[2]]).reshape(4, -1))
    traces = transients(rng, 3, 800, 25)
    traces = traces[[0, 1, 0, 2]] * np.array([[0.7], [1], [1], [1]]) + rng.normal(size=(4, 800))
    images, found, label = merged(pieces, traces)
    assert images.shape[0] == len(found) == 3
    assert label[0] == label[2]
    assert len(set(label)) == 3
    one = images.toarray()[label[0]]
    assert one.max() == pytest.approx(1)
    assert one @ whole[0].ravel() / np.linalg.norm(one) / np.linalg.norm(whole[0]) > 0.97
    np.testing.assert_array_equal(found[label[0]], traces[2].astype(np.float32))  # the stronger piece's
    again = merged(images, found)
    np.testing.assert_array_equal(again[2], np.arange(3))
    np.testing.assert_array_equal(again[0].toarray(), images.toarray())


def test_two_with_one_footprint_are_one_whatever_their_traces_say() -> None:
    """Least squares shares one cell's light out between them, so that their transients are no copies."""
    rng = RNG(6)
    images = footprints(SHAPE, [(20, 20), (20, 20.3), (20, 23)])
    traces = transients(rng, 3, 800, 25) + rng.normal(size=(3, 800))
    assert merged(images, traces)[0].shape[0] == 3
    rows, found, label = merge_duplicates(images, traces.astype(np.float32), SHAPE, RADIUS, 0.8, same_shape=0.9)
    assert rows.shape[0] == len(found) == 2
    np.testing.assert_array_equal(label, [0, 0, 1])
    strongest = np.linalg.norm(traces[:2], axis=1).argmax()
    np.testing.assert_array_equal(found[0], traces[strongest].astype(np.float32))


def test_cells_that_fire_together_far_apart_and_neighbours_that_do_not_stay_two() -> None:
    rng = RNG(5)
    trace = transients(rng, 1, 800, 25)[0]
    together = np.array([trace, trace]) + rng.normal(size=(2, 800))
    assert merged(footprints(SHAPE, [(8, 8), (30, 30)]), together)[0].shape[0] == 2
    apart = transients(rng, 2, 800, 25) + rng.normal(size=(2, 800))
    assert merged(footprints(SHAPE, [(20, 20), (20, 22)]), apart)[0].shape[0] == 2
    assert merged(footprints(SHAPE, [(20, 20), (20, 22)]), together)[0].shape[0] == 1
    noise = rng.normal(size=(2, 800))
    assert merged(footprints(SHAPE, [(20, 20), (20, 20)]), noise)[0].shape[0] == 2  # no events, nothing to compare


def test_a_chain_is_one_cell_and_the_order_does_not_matter() -> None:
    rng = RNG(6)
    images = footprints(SHAPE, [(20, 12), (20, 17), (20, 22), (5, 35)])
    traces = np.array([transients(rng, 1, 800, 25)[0]] * 3 + [transients(rng, 1, 800, 25)[0]])
    traces = traces + rng.normal(size=(4, 800))
    first = merged(images, traces)
    assert first[0].shape[0] == 2
    order = np.array([3, 1, 2, 0])
    second = merged(images[order], traces[order])
    assert second[0].shape[0] == 2
    big, other = first[0].toarray()[first[2][0]], second[0].toarray()[second[2][3]]
    np.testing.assert_allclose(big, other, atol=1e-6)


def test_merging_none_and_one() -> None:
    images = footprints(SHAPE, [(20, 20)])
    for n in (0, 1):
        found, traces, label = merged(images[:n], np.ones((n, 30)))
        assert found.shape[0] == len(traces) == len(label) == n


def test_echoes_are_those_of_every_pair_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = RNG(8)
    centres = rng.uniform(0, (150, 90), (60, 2))
    images = footprints((150, 90), centres)
    own = transients(rng, 4, 300, 60)[rng.integers(0, 4, 60)] * rng.uniform(0.2, 2, (60, 1))
    own += transients(rng, 60, 300, 12, rate=0.001) * (rng.random((60, 1)) < 0.5)
    traces = (own + rng.normal(size=own.shape)).astype(np.float32)
    events = Events.of(traces)
    heights = events.unit * (events.peak / np.ptp(events.unit, axis=1))[:, None]
    side, settings = window_side(RADIUS), ExtractSettings()
    corners, _ = cut_windows(images.toarray().reshape(60, 150, 90), side)
    pair = settings.echo_correlation, settings.min_snr, settings.neighbour_error
    wanted = slow_find_echoes(corners, side, heights, traces, ECHO, *pair)
    copies = slow_find_echoes(corners, side, heights, traces, ECHO, pair[0], np.inf, pair[2])
    assert wanted.sum() > 5
    assert copies.sum() - wanted.sum() > 3, "some are saved by events of their own"
    np.testing.assert_array_equal(find_echoes(images, traces, (150, 90), RADIUS, settings), wanted)
    monkeypatch.setattr("gpucells.candidates.judge.PAIRS_BYTES", 1)  # a pair at a time
    np.testing.assert_array_equal(find_echoes(images, traces, (150, 90), RADIUS, settings), wanted)


def echoes(*cells: tuple[tuple[float, float], Any], **settings: Any) -> list[bool]:
    """Cells at their places, with noise of 1 on top of their traces."""
    images = footprints(SHAPE, [centre for centre, _ in cells])
    traces = np.array([trace for _, trace in cells]) + RNG(11).normal(size=(len(cells), 800))
    found = find_echoes(images, traces.astype(np.float32), SHAPE, RADIUS, ExtractSettings(**settings))
    return [bool(echo) for echo in found]


def single(frame: int, height: float) -> Any:
    """One transient."""
    since = np.arange(800) - frame
    return np.where(since >= 0, height * 0.85 ** np.maximum(since, 0), 0)


def test_events_of_its_own_save_a_dim_cell_that_fires_with_a_bright_one() -> None:
    bright = transients(RNG(10), 1, 800, 100)[0]
    quiet = int(np.argmax(np.convolve(bright < 1, np.ones(40), "valid") == 40)) + 5  # in a silence of 40 frames
    copy = 0.2 * bright
    saved = copy + single(quiet, 20)
    r = Events.of(np.array([saved, bright], np.float32)).correlation(np.array([0]), np.array([1]))[0]
    assert r > 0.9, "it is still a copy by its correlation"
    assert echoes(((20, 20), bright), ((20, 24), copy)) == [False, True]
    assert echoes(((20, 20), bright), ((20, 24), saved)) == [False, False]
    assert echoes(((20, 20), bright), ((20, 24), copy + single(quiet, 4))) == [False, True]  # below min_snr
    assert echoes(((20, 20), bright), ((20, 24), copy + single(quiet, 4)), min_snr=1.0) == [False, False]


def test_events_of_its_own_below_a_share_of_the_neighbours_light_save_no_one() -> None:
    """While the bright one shines, its misfit in the dim one is as bright as a share of that."""
    bright = transients(RNG(10), 1, 800, 1000, rate=0.005)[0]
    peak = int(np.argmax(bright))
    during = 0.2 * bright + single(peak + 1, 20)
    assert echoes(((20, 20), bright), ((20, 24), during)) == [False, True]
    assert echoes(((20, 20), bright), ((20, 24), during), neighbour_error=0.0) == [False, False]


def test_a_copy_of_two_neighbours_is_an_echo_and_of_one_far_away_is_none() -> None:
    """Against one neighbour alone the other's transients would be its own."""
    first, second = transients(RNG(12), 2, 800, 100) * [[1], [0.8]]
    both = 0.25 * first + 0.2 * second
    left, right, middle = (6, 2), (6, 10), (6, 6)
    assert echoes((left, first), (right, second), (middle, both)) == [False, False, True]
    assert echoes((left, first), (middle, both)) == [False, False]
    assert echoes((left, first), ((38, 38), second), (middle, both)) == [False, False, False]
    assert echoes(((3, 3), first), ((38, 38), 0.25 * first)) == [False, False]


def test_only_dim_ones_are_echoes_and_only_above_the_correlation() -> None:
    bright = transients(RNG(10), 1, 800, 100)[0]
    assert echoes(((20, 20), bright), ((20, 24), 0.6 * bright)) == [False, False]
    assert echoes(((20, 20), bright), ((20, 24), 0.4 * bright)) == [False, True]
    weak = 0.05 * bright  # near the noise, so that little of it is an event
    assert echoes(((20, 20), bright), ((20, 24), weak), echo_correlation=0.5) == [False, True]
    assert echoes(((20, 20), bright), ((20, 24), weak), echo_correlation=0.99) == [False, False]


@pytest.mark.parametrize("n_cells", [0, 1, 2])
def test_echoes_among_few_and_silent_ones(n_cells: int) -> None:
    images = footprints(SHAPE, [(10, 10), (12, 13)])[:n_cells]
    for traces in (np.zeros((n_cells, 50), np.float32), np.ones((n_cells, 1), np.float32)):
        found = find_echoes(images, traces, SHAPE, RADIUS, ExtractSettings())
        np.testing.assert_array_equal(found, np.zeros(n_cells, bool))


@pytest.mark.parametrize("n_frames", [1, 2, 3, 200])
def test_the_peak_is_that_of_a_running_median(n_frames: int) -> None:
    rng = RNG(9)
    images = footprints(SHAPE, [(10, 10), (12, 13), (30, 30)])
    traces = rng.normal(size=(3, n_frames)).astype(np.float32)
    traces[:, -1] += 30  # at the end, as if it went on
    above = traces - np.median(traces, axis=1, keepdims=True)
    peaks = ndimage.median_filter(above, size=(1, 3)).max(axis=1)
    swing = -np.quantile(above, LOW_QUANTILE, axis=1) / LOW_NORMAL
    noise = np.maximum(np.maximum(difference_noise(above), swing), 1e-9)
    np.testing.assert_allclose(effective_snr(images, traces, 0), peaks / noise, rtol=1e-6)
