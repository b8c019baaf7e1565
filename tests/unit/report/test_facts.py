"""What the report says is what the cells are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from gpucells.errors import InputError
from gpucells.model.truth import Truth
from gpucells.report.facts import (
    count_reasons,
    duration,
    find_thresholds,
    gather_facts,
    readable,
    short_settings,
    trace_noise,
)


def test_noise_is_that_of_the_samples_whatever_the_transients() -> None:
    rng = np.random.default_rng(0)
    traces = rng.normal(0, [[0.5], [3.0]], (2, 20_000)).astype(np.float32)
    traces[:, ::1000] += 100
    np.testing.assert_allclose(trace_noise(traces), [0.5, 3.0], rtol=0.03)


@pytest.mark.parametrize("traces", [np.zeros((2, 9)), np.full((2, 9), np.nan), np.zeros((2, 1)), np.zeros((2, 0))])
def test_noise_is_never_zero(traces: np.ndarray) -> None:
    np.testing.assert_array_equal(trace_noise(traces.astype(np.float32)), [1, 1])


def test_cells_are_ordered_by_their_snr(make_cells) -> None:
    facts = gather_facts(make_cells())
    assert facts.order.tolist() == [5, 4, 3, 2, 1, 0]
    assert facts.accepted.tolist() == [4, 3, 1, 0]
    assert facts.rejected.tolist() == [5, 2]
    traces = make_cells().traces
    traces[1, 50] = 1000
    without = gather_facts(make_cells(quality={}, traces=traces))
    assert without.order[0] == 1, "the highest transient has the highest SNR where no measure says so"
    lost = gather_facts(make_cells(quality={"snr": np.full(6, np.nan, np.float32)}))
    assert np.isfinite(lost.snr).all()


def test_reasons_are_counted_without_the_numbers_of_single_cells(make_cells) -> None:
    rejection = ("", "too small: 8 px", "too small: 9 px; duplicate of 12", "duplicate of 3", "", "SNR 4.2 below 7")
    cells = make_cells(rejection=rejection, accepted=np.array([True, False, False, False, False, False]))
    assert count_reasons(cells) == (
        ("duplicate of", 2),
        ("too small", 2),
        ("SNR … below", 1),
        ("no reason given", 1),
    )


def test_thresholds_are_found_at_any_depth() -> None:
    settings = {
        "method": {"min_snr": 7, "quality": {"max_eccentricity": 6.0}},
        "size_px_min": 9,
        "size_px_max": float("inf"),
        "max_flag": True,
        "min_other": "no number",
    }
    measures = ("snr", "eccentricity", "size_px", "flag", "other")
    assert find_thresholds(settings, measures) == {"snr": (7, None), "eccentricity": (None, 6), "size_px": (9, None)}


def test_settings_are_named_by_their_last_part_where_that_is_clear() -> None:
    settings = {"device": "cpu", "a": {"radius": 1, "n": None}, "b": {"n": 2}}
    assert short_settings(settings) == [("device", "cpu"), ("radius", "1"), ("a.n", "–"), ("b.n", "2")]


def test_truth_marks_missed_and_false_cells(make_cells) -> None:
    cells = make_cells()
    # Cells 0, 1, 3 are true; 4 is not, 2 (rejected) is.
    true = [0, 1, 3, 2]
    truth = Truth.from_datasets(
        {
            "footprints_data": cells.footprints[true].data,
            "footprints_indices": cells.footprints[true].indices,
            "footprints_indptr": cells.footprints[true].indptr,
            "traces": cells.traces[true],
        },
        cells.image_shape,
    )
    for given in (truth, cells.footprints[true]):
        marks = gather_facts(cells, given).marks
        assert marks is not None
        assert marks.missed.tolist() == [3]
        assert marks.false.tolist() == [4]
        assert marks.figures[:3] == (("precision", "0.750"), ("recall", "0.750"), ("F1", "0.750"))


def test_truth_of_another_image_is_refused(make_cells) -> None:
    with pytest.raises(InputError, match="truth has 7 pixels"):
        gather_facts(make_cells(), sparse.csr_array((2, 7), dtype=np.float32))


def test_title_and_subtitle(make_cells) -> None:
    facts = gather_facts(make_cells())
    assert facts.title == "mouse.h5"
    assert facts.subtitle.startswith("extract  ·  200 frames (20 s at 10 Hz)  ·  40 × 30 px (60 × 45 µm)")
    assert gather_facts(make_cells(), title="Mine").title == "Mine"
    bare = gather_facts(make_cells(frame_rate_hz=None, pixel_size_um=None)).subtitle
    assert "Hz" not in bare
    assert "µm" not in bare


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.25, "3.25 s"), (125, "2 min 5 s"), (600, "10 min"), (7500, "2 h 5 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_readable() -> None:
    assert readable("spatial_corruption") == "spatial corruption"
    assert readable("size_px") == "size (px)"
    assert readable("snr") == "SNR"


@pytest.mark.parametrize("quantile", [0.25, 0.5])
def test_a_floor_is_no_noise(quantile: float) -> None:
    traces = np.random.default_rng(5).normal(0, 2, (3, 4000)).astype(np.float32)
    cut = np.maximum(traces, np.quantile(traces, quantile, axis=1, keepdims=True))
    np.testing.assert_allclose(trace_noise(cut), 2, rtol=0.5)  # half of a normal distribution is narrower than all
    cut[1] = 7
    assert trace_noise(cut)[1] == 1
