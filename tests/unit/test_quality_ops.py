"""Measures of traces and footprints."""

from __future__ import annotations

import numpy as np
import pytest
from reference import frame_measures
from scipy import signal, sparse

import gpucells.ops.trace_quality as module
from gpucells.errors import InputError
from gpucells.ops.footprint_shape import footprint_shape
from gpucells.ops.trace_quality import median3, temporal_corruption, trace_snr

RNG = np.random.default_rng(11)
HEIGHT, WIDTH = 40, 50


def blobs(n_cells: int = 12) -> np.ndarray:
    """Ragged ellipses, some at the border, some with islands."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images = []
    for _ in range(n_cells):
        cy, cx, sy, sx = RNG.uniform(0, HEIGHT), RNG.uniform(0, WIDTH), *RNG.uniform(1, 5, 2)
        image = np.exp(-((y - cy) ** 2 / sy**2 + (x - cx) ** 2 / sx**2) / 2) * RNG.uniform(0.6, 1.4, y.shape)
        image[image < 0.05] = 0
        island = RNG.integers(3, 36, 2)
        image[island[0] : island[0] + 2, island[1] : island[1] + 2] += 0.5
        images.append(7 * image)
    return np.array(images, np.float32)


def as_rows(images: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(images.reshape(len(images), -1))


def transients(n_cells: int = 6, n_frames: int = 300) -> np.ndarray:
    spikes = RNG.random((n_cells, n_frames)) < 0.03
    traces = signal.lfilter([10], [1, -0.9], spikes.astype(float)) + RNG.normal(0, 1, spikes.shape)
    return traces.astype(np.float32)


def test_traces_agree_with_the_definition() -> None:
    traces = transients()
    np.testing.assert_allclose(trace_snr(traces), [frame_measures.trace_snr(t) for t in traces], rtol=1e-5)
    wanted = [frame_measures.temporal_corruption(t) for t in traces]
    np.testing.assert_allclose(temporal_corruption(traces), wanted, rtol=1e-4)


def test_median3_is_scipys() -> None:
    trace = RNG.normal(0, 1, 20).astype(np.float32)
    np.testing.assert_array_equal(median3(trace), signal.medfilt(trace, 3))
    np.testing.assert_array_equal(median3(trace[:1]), [0])


def test_trace_measures_do_not_depend_on_scale_or_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = transients()
    snr, corruption = trace_snr(traces), temporal_corruption(traces)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(trace_snr(100 * traces), snr, rtol=1e-5)
    np.testing.assert_allclose(temporal_corruption(100 * traces), corruption, rtol=1e-5)


def test_given_noise_and_flat_traces() -> None:
    traces = np.zeros((2, 20), np.float32)
    traces[1, 5:9] = 4
    np.testing.assert_allclose(trace_snr(traces, np.ones(2, np.float32)), [0, 4 / np.sqrt(2)], rtol=1e-6)
    np.testing.assert_array_equal(trace_snr(traces * 0), [0, 0])
    np.testing.assert_array_equal(temporal_corruption(traces), [0, 0])
    assert trace_snr(traces[:0]).shape == (0,)
    with pytest.raises(InputError, match="n_cells"):
        trace_snr(traces[0])


def test_spikes_of_one_frame_are_corrupt() -> None:
    smooth = np.tile(signal.windows.hann(50), 4)[None].astype(np.float32)
    ragged = smooth * (1 + 0.8 * (np.arange(200) % 2))
    assert temporal_corruption(smooth)[0] < 0.02
    assert temporal_corruption(ragged.astype(np.float32))[0] > 0.1


def test_footprints_agree_with_the_definition() -> None:
    images = blobs()
    found = footprint_shape(as_rows(images), (HEIGHT, WIDTH), levels=(0.2, 0.1, 0.5))
    for cell, image in enumerate(images.astype(float)):
        relative = image / image.max()
        assert list(found.area_px[cell]) == [(relative > level).sum() for level in (0.2, 0.1, 0.5)]
        ratio = frame_measures.axis_ratio(frame_measures.largest_body(image, 0.3))
        assert found.eccentricity[cell] == pytest.approx(ratio, rel=1e-5)
        assert found.corruption[cell] == pytest.approx(frame_measures.corruption(image), rel=1e-4)


def polygon(rows: list[str]) -> sparse.csr_array:
    return sparse.csr_array(np.array([[c == "#" for c in row] for row in rows], np.float32).reshape(1, -1))


@pytest.mark.parametrize(
    ("rows", "straight", "diagonal", "corners"),
    [
        (["....", ".##.", ".##.", "...."], 4, 0, 4),
        (["####", "####", "####"], 10, 0, 4),
        (["..#..", ".###.", "#####", ".###.", "..#.."], 0, 8, 4),
        (["###", "#.#", "###"], 8, 0, 4),  # a hole has no part in the outer boundary
        (["#..", ".#.", "..#"], 0, 4, 2),  # there and back
        ([".##..", "####.", ".####", "..##."], 2, 6, 6),
    ],
)
def test_perimeter_by_hand(rows: list[str], straight: int, diagonal: int, corners: int) -> None:
    footprint = polygon(rows)
    found = footprint_shape(footprint, (len(rows), len(rows[0])))
    perimeter = 0.980 * straight + 1.406 * diagonal - 0.091 * corners
    assert found.circularity[0] == pytest.approx(4 * np.pi * footprint.sum() / perimeter**2, rel=1e-5)


def test_elongation_of_a_line_and_a_square() -> None:
    line, square = footprint_shape(polygon(["#######"]), (1, 7)), footprint_shape(polygon(["###"] * 3), (3, 3))
    assert line.eccentricity[0] == pytest.approx(7)  # 7 x 1 px
    assert square.eccentricity[0] == pytest.approx(1)


def test_empty_and_single_pixel_footprints() -> None:
    rows = sparse.csr_array(([2.0, 0.0], ([1, 2], [4, 4])), shape=(3, 9))
    found = footprint_shape(rows, (3, 3))
    assert found.area_px.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert np.isinf(found.eccentricity).tolist() == [True, False, True]
    np.testing.assert_array_equal(found.circularity, 0)
    np.testing.assert_array_equal(found.corruption, 0)
    assert footprint_shape(rows[:0], (3, 3)).area_px.shape == (0, 2)


def test_image_shape_must_fit() -> None:
    with pytest.raises(InputError, match="do not fit"):
        footprint_shape(polygon(["##", "##"]), (2, 3))
