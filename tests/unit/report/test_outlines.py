"""Outlines, stamps and grey images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from gpucells.report.outlines import background_images, outline, stamp, stamp_side, to_grey
from gpucells.report.thinning import thin


def row_of(image: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(image.astype(np.float32).reshape(1, -1))


def test_outline_runs_at_half_the_maximum() -> None:
    rows, columns = np.mgrid[:40, :50]
    distance = np.hypot(rows - 20, columns - 30)
    (line,) = outline(row_of(np.maximum(8 - distance, 0)), 0, 50)
    np.testing.assert_allclose(np.hypot(line[:, 0] - 30, line[:, 1] - 20), 4, atol=0.15)
    np.testing.assert_array_equal(line[0], line[-1])


def test_outline_at_the_border_is_closed_and_two_parts_give_two() -> None:
    image = np.zeros((6, 7))
    image[0, 0] = image[5, 6] = 1
    lines = outline(row_of(image), 0, 7)
    assert len(lines) == 2
    for line in lines:
        np.testing.assert_array_equal(line[0], line[-1])
    spread = sorted(line.mean(axis=0).round(1).tolist() for line in lines)
    np.testing.assert_allclose(spread, [[0, 0], [6, 5]], atol=0.3)


@pytest.mark.parametrize("value", [0.0, np.nan, -1.0])
def test_footprint_without_weight_has_no_outline_and_a_black_stamp(value: float) -> None:
    footprints = sparse.csr_array((np.array([value], np.float32), ([0], [3])), shape=(1, 12))
    assert outline(footprints, 0, 4) == []
    assert not stamp(footprints, 0, 4, 12).any()


def test_stamp_is_centred_and_cut_at_the_border() -> None:
    image = np.zeros((20, 30))
    image[9:12, 19:22] = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    small = stamp(row_of(image), 0, 30, 13)
    assert small.shape == (13, 13)
    assert small[6, 6] == 1
    assert small.sum() == 5
    corner = np.zeros((20, 30))
    corner[0, 0] = 3
    assert stamp(row_of(corner), 0, 30, 12)[6, 6] == 1


def test_stamp_side_holds_the_footprint() -> None:
    image = np.zeros((60, 60))
    image[10:30, 10:20] = 1
    assert 20 <= stamp_side(row_of(image), 60) <= 48
    assert stamp_side(sparse.csr_array((0, 3600), dtype=np.float32), 60) == 12


def test_grey_covers_the_range_and_holds_no_nan() -> None:
    image = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    image[0, 0] = np.nan
    grey = to_grey(image)
    assert grey.min() == 0
    assert grey.max() == 255
    assert to_grey(np.full((3, 3), np.nan, np.float32)).max() == 0
    assert to_grey(np.full((3, 3), 5, np.float32)).shape == (3, 3)


def test_one_bright_cell_does_not_hide_the_others() -> None:
    image = np.full((20, 20), 0.05, dtype=np.float32)
    image[0], image[5:8, 5:8] = 0, 1
    assert 45 < np.median(to_grey(image)) < 65
    even = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    assert abs(float(np.median(to_grey(even))) - 127) < 3, "an even image is left as it is"


def test_backgrounds_in_order_and_stand_in() -> None:
    image = np.eye(4, dtype=np.float32)
    footprints = row_of(np.eye(4))
    given = {"mean": image, "extra": image, "correlation": image, "wrong": image[:2]}
    assert list(background_images(given, footprints, (4, 4))) == ["correlation", "mean", "extra"]
    (stand_in,) = background_images({}, footprints, (4, 4)).items()
    assert stand_in[0] == "footprints"
    assert (stand_in[1] > 0).sum() == 4


def test_thinning_keeps_every_extreme() -> None:
    rng = np.random.default_rng(2)
    trace = rng.normal(size=10_007).astype(np.float32)
    trace[5003], trace[7] = 50, -40
    frames, values = thin(trace, 400)
    assert len(frames) == len(values) == 400
    assert values.max() == 50
    assert values.min() == -40
    assert abs(frames[values.argmax()] - 5003) < 60
    assert (np.diff(frames) > 0).all()
    np.testing.assert_array_equal(thin(trace[:300], 400)[1], trace[:300])
    assert len(thin(trace[:0], 400)[1]) == 0
    assert np.isfinite(thin(np.where(np.arange(1000) % 2, np.nan, 1).astype(np.float32), 100)[1]).all()
