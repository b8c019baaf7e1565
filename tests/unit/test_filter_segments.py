"""Segments of filters and events by threshold, against loops that do what the words say."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from gpucells.postprocess.filter_segments import filter_segments
from gpucells.postprocess.threshold_events import standardised, threshold_events, without_decay


def slow_smoothing(image: np.ndarray, sigma: float) -> np.ndarray:
    reach = max(5, int(np.ceil(3 * sigma)))
    kernel = np.array([[np.exp(-(a * a + b * b) / (2 * sigma**2)) for b in range(-reach, reach + 1)]
                       for a in range(-reach, reach + 1)])  # fmt: skip
    kernel /= kernel.sum()
    out = np.zeros_like(image)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            for a in range(-reach, reach + 1):
                for b in range(-reach, reach + 1):
                    y, x = np.clip(i + a, 0, image.shape[0] - 1), np.clip(j + b, 0, image.shape[1] - 1)
                    out[i, j] += image[y, x] * kernel[a + reach, b + reach]
    return out


def slow_regions(lit: np.ndarray) -> list[np.ndarray]:
    seen, found = np.zeros_like(lit), []
    for column, row in zip(*np.nonzero(lit.T), strict=True):
        start = (row, column)
        if seen[start]:
            continue
        region, queue = np.zeros_like(lit), deque([start])
        seen[start] = True
        while queue:
            i, j = queue.popleft()
            region[i, j] = True
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if 0 <= a < lit.shape[0] and 0 <= b < lit.shape[1] and lit[a, b] and not seen[a, b]:
                    seen[a, b] = True
                    queue.append((a, b))
        found.append(region)
    return found


@pytest.mark.parametrize(("sigma", "least", "most"), [(1.5, 4, np.inf), (0.0, 2, 6)])
def test_segments_are_those_of_the_loops(sigma: float, least: float, most: float) -> None:
    images = np.random.default_rng(0).normal(size=(3, 14, 21))
    images[0, 3:7, 4:8] += 4
    images[0, 9:12, 14:18] += 4
    images[2, 5:8, 10:14] += 3
    images[1, 11:, :3] += 4  # at a corner
    images[2] *= 3
    segments, source, centres = filter_segments(images, sigma, 1.0, (least, most))
    expected = []
    for k, image in enumerate(images):
        of = image if sigma else images  # without smoothing CellSort takes all filters' mean and deviation
        standard = (image - of.mean()) / of.std()
        lit = (slow_smoothing(standard, sigma) if sigma else standard) > 1.0
        expected += [(k, r) for r in slow_regions(lit) if least <= r.sum() <= most]
    assert len(expected) == len(segments) > 2
    for k, (number, region) in enumerate(expected):
        assert source[k] == number
        np.testing.assert_allclose(segments[k], np.where(region, images[number] / images.std(), 0), rtol=1e-5)
        np.testing.assert_allclose(centres[k], np.argwhere(region).mean(axis=0))


def test_segments_of_nothing() -> None:
    segments, source, centres = filter_segments(np.zeros((2, 4, 5), np.float32), 1.0, 2.0, (1, np.inf))
    assert segments.shape == (0, 4, 5)
    assert source.shape == (0,)
    assert centres.shape == (0, 2)
    assert filter_segments(np.zeros((0, 4, 5), np.float32), 1.0, 2.0, (1, np.inf))[0].shape == (0, 4, 5)


def test_events_are_those_of_the_loop() -> None:
    traces = np.round(np.random.default_rng(1).normal(size=(3, 60)), 1)  # rounded, so that some are equal
    traces[1, 5:8] = 3.0
    traces[2, 0], traces[2, -1] = 4.0, 4.0
    found = threshold_events(traces, 1.0)
    for k in range(3):
        for t in range(60):
            before = traces[k, t - 1] if t else -np.inf
            after = traces[k, t + 1] if t < 59 else -np.inf
            assert found[k, t] == (traces[k, t] >= 1.0 and traces[k, t] > before and traces[k, t] >= after)
    assert found[1, 5:8].tolist() == [True, False, False]
    assert not threshold_events(np.full((1, 3), np.nan), 0.0).any()


def test_taking_the_decay_out_leaves_the_spikes() -> None:
    t = np.arange(200) * 0.05
    trace = np.where(t >= 2, np.exp(-(t - 2) / 0.8), 0)[None]
    free = without_decay(trace, 0.05, 0.8)
    assert np.argmax(free) == 40
    assert np.abs(np.delete(free[0], 40)).max() < 0.05 * free.max()
    np.testing.assert_allclose(free[0, 1:], trace[0, 1:] / 0.8 + np.diff(trace[0]) / 0.05)
    falling = without_decay(np.array([[9.0, 5.0, 3.0]]), 1.0, 2.0)
    np.testing.assert_allclose(falling, [[4.5 - 4, 2.5 - 4, 1.5 - 2]])  # the first slope is the second's
    assert without_decay(np.ones((2, 1)), 1.0, 2.0).tolist() == [[0.5], [0.5]]


def test_standardised_traces_have_mean_0_and_deviation_1() -> None:
    made = standardised(np.stack([np.arange(9.0), np.ones(9)]))
    assert made[0].mean() == pytest.approx(0, abs=1e-12)
    assert made[0].std(ddof=1) == pytest.approx(1)
    assert standardised(np.ones((2, 1))).tolist() == [[0], [0]]
    assert (made[1] == 0).all()
    assert standardised(np.zeros((0, 4))).shape == (0, 4)
