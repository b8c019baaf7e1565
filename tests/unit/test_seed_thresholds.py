"""Thresholds from the maxima of a movie and of its negative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from gpucells.candidates.seed_thresholds import Peaks, choose_thresholds, noise_peak
from gpucells.preprocess.zero_mean_gaussian import zero_mean_gaussian

SHAPE = (200, 200)
EVERYWHERE = np.ones(SHAPE, bool)


def peaks(corr: Any, pnr: Any, seed: int = 0, at: Any = None, opposite: Any = None) -> Peaks:
    corr, pnr = np.asarray(corr, np.float32), np.asarray(pnr, np.float32)
    order = np.argsort(-corr * pnr)
    where = np.random.default_rng(seed).integers(0, 200, (len(corr), 2)) if at is None else np.asarray(at)
    other = np.ones(len(corr), np.float32) if opposite is None else np.asarray(opposite, np.float32)
    return Peaks(where[order], corr[order], pnr[order], other[order])


def chance(n: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 0.5, n), rng.uniform(2, 6, n)


def with_cells(n_cells: int, n_chance: int = 200) -> Peaks:
    corr, pnr = chance(n_chance, 1)
    return peaks(np.append(np.full(n_cells, 0.9), corr), np.append(np.linspace(8, 20, n_cells), pnr))


def choose(own: Peaks, null: Peaks, **given: float) -> Any:
    return choose_thresholds(own, null, EVERYWHERE, 3.0, 4.0, **given)


def test_cells_are_told_from_chance() -> None:
    found = choose(with_cells(40), peaks(*chance(200, 2), seed=1))
    assert 40 <= found.n_passed <= 55
    assert found.n_null_passed + 3 <= 0.2 * found.n_passed
    assert found.warnings == ()


def test_the_correlation_parts_what_the_peak_does_not() -> None:
    rng = np.random.default_rng(5)
    corr, pnr = rng.uniform(0.1, 0.5, 300), rng.uniform(2, 12, 300)
    own = peaks(np.append(np.full(40, 0.9), corr[:150]), np.append(np.linspace(4, 12, 40), pnr[:150]))
    found = choose(own, peaks(corr[150:], pnr[150:], seed=1))
    assert 40 <= found.n_passed <= 55
    assert found.min_corr > 0.4
    assert found.min_pnr < 5


@pytest.mark.parametrize("n", [0, 2, 200])
def test_chance_alone_passes_nothing(n: int) -> None:
    found = choose(peaks(*chance(n, 1)), peaks(*chance(n, 2), seed=1))
    assert found.n_passed <= 1
    assert "stands out" in found.warnings[0]


def test_few_cells_pass_where_they_are_far_above_chance() -> None:
    found = choose(with_cells(3), peaks(*chance(200, 2), seed=1))
    assert found.n_passed == 3
    assert found.min_pnr == pytest.approx(7.5, abs=0.3)


def test_surrounds_do_not_count() -> None:
    corr, pnr = chance(200, 2)
    opposite = np.append(np.full(50, 4.0), np.ones(200))
    null = peaks(np.append(np.full(50, 0.9), corr), np.append(np.full(50, 15.0), pnr), 1, opposite=opposite)
    found = choose(with_cells(40), null)
    assert found.n_hidden == 50
    assert found.n_passed >= 40


def test_noise_is_reckoned_with_where_surrounds_hide_the_rest() -> None:
    null = peaks(*chance(200, 2), seed=1, opposite=np.full(200, 4.0))
    assert choose(with_cells(40), null).min_pnr >= 4.0


def test_a_part_that_fluctuates_more_is_set_apart_and_not_given_up() -> None:
    corr, pnr = chance(200, 2)
    rows = np.append(np.full(15, 5), np.random.default_rng(7).integers(15, 200, 200))
    columns = np.append(np.arange(15) * 5, np.random.default_rng(8).integers(0, 200, 200))
    null = peaks(
        np.append(np.full(15, 0.95), corr), np.append(np.full(15, 20.0), pnr), at=np.stack([rows, columns], axis=1)
    )
    cells = np.stack([20 + 3 * np.arange(60), 3 * np.arange(60) + 10], axis=1)
    own = peaks(
        np.append([0.95, 0.95], np.full(60, 0.9)), np.append([20, 40], np.linspace(8, 12, 60)),
        at=np.concatenate([[[6, 13], [6, 33]], cells]),
    )  # fmt: skip
    found = choose(own, null)
    assert found.min_pnr <= 8.0
    assert found.n_passed == 61  # of the two in that part the one that is bright enough
    assert found.least[6, 13] == pytest.approx(1.5 * 0.95 * 20)
    assert found.least[100, 100] == 0
    assert "fluctuates more" in found.reason
    assert not found.passed_by(np.full(SHAPE, 0.95), np.full(SHAPE, 20.0))[6, 13]


def test_given_ones_are_kept_and_the_other_is_chosen_for_them() -> None:
    own, null = with_cells(40), peaks(*chance(200, 2), seed=1)
    assert choose(own, null, min_corr=0.05).min_corr == 0.05
    found = choose(own, null, min_pnr=3.0)
    assert found.min_pnr == 3.0
    assert 40 <= found.n_passed <= 55
    both = choose(own, null, min_corr=0.0, min_pnr=0.0)
    assert (both.n_passed, both.reason) == (240, "given")


def test_noise_reaches_its_peak_about_once() -> None:
    radius, n_frames = 5.0, 60
    kernel = zero_mean_gaussian(radius / 2)
    above = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=(n_frames, 64, 64))
        filtered = np.stack([ndimage.correlate(frame, kernel, mode="wrap") for frame in noise])
        filtered /= np.sqrt((kernel**2).sum())
        level = noise_peak(noise.size, radius)
        above.append(sum(ndimage.label(frame > level)[1] for frame in filtered))
    assert 0 < sum(above) <= 8  # 3 are expected
    assert noise_peak(1, radius) == 1.0
