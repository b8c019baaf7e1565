"""CELLMax-style EM from a movie to cells, its starts, its settings, its pruning, and movies that are odd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

import gpucells
from gpucells.errors import SettingsError
from gpucells.methods.cellmax.counts import count_photons, smooth_images, unit_of_counts
from gpucells.methods.cellmax.em import RUN, Mixture, _some_frames, eliminate, merge
from gpucells.methods.cellmax.prune import least_correlation
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.methods.cellmax.start import hexagonal_grid
from gpucells.postprocess.match import score_cells

CHOSEN: dict[str, Any] = {"method": "cellmax", "cell_diameter_px": 6.0, "frame_rate_hz": 10.0}


@pytest.fixture(scope="module")
def planted() -> Any:
    rng = np.random.default_rng(1)
    cells = footprints((30, 34), [(7, 7), (8, 20), (12, 23), (22, 13)])
    traces = transients(rng, 4, 300, 20)
    return pixel_movie(rng, cells, traces).T.reshape(300, 30, 34) + np.float32(60), sparse.csr_array(cells), traces


def score(found: Any, planted: Any) -> Any:
    mine = found.accepted_only()
    return score_cells(mine.footprints, mine.traces, planted[1], planted[2], mine.image_shape)


@pytest.mark.parametrize(
    "settings",
    [{}, {"init_method": "grid"}, {"init_method": "ica"}, {"noise": "global"}, {"quantize": True},
     {"nonnegative_traces": False}, {"frames_least": 100, "frames_fraction": 0.3}, {"threshold_sigmas": 0.5},
     {"event_iter": 0}],
)  # fmt: skip
def test_all_cells_are_found_and_nothing_else(planted: Any, settings: dict[str, Any]) -> None:
    found = gpucells.extract_cells(planted[0], settings=settings, **CHOSEN)
    result = score(found, planted)
    assert result.f1 == 1
    assert result.trace_r_median > 0.95
    assert result.footprint_cosine > 0.9


def test_given_footprints_are_where_it_starts(planted: Any) -> None:
    shifted = sparse.csr_array(np.roll(planted[1].toarray().reshape(-1, 30, 34), 1, axis=2).reshape(4, -1))
    found = gpucells.extract_cells(planted[0], init=shifted, settings={"search_after_init": False}, **CHOSEN)
    assert score(found, planted).f1 == 1
    assert score(found, planted).footprint_cosine > 0.97
    # What a start that is a pixel off leaves is found beside it, and has taken some light when it is refused.
    searched = gpucells.extract_cells(planted[0], init=shifted, **CHOSEN)
    assert score(searched, planted).f1 == 1
    assert score(searched, planted).footprint_cosine > 0.94


def test_the_scaled_probability_is_the_fluorescence_at_the_brightest_pixel(planted: Any) -> None:
    found = gpucells.extract_cells(planted[0], **CHOSEN).accepted_only()
    assert (found.denoised >= 0).all()
    for trace, probability in zip(found.traces, found.denoised, strict=True):
        bright = trace > 0.3 * trace.max()
        assert np.median(probability[bright] / trace[bright]) == pytest.approx(1, abs=0.1)
    plain = gpucells.extract_cells(planted[0], settings={"probability_iter": 0}, **CHOSEN).accepted_only()
    assert np.corrcoef(plain.denoised[0], found.denoised[0])[0, 1] > 0.9


def test_non_negative_traces_do_not_fall_below_their_baseline(planted: Any) -> None:
    bound, free = (
        gpucells.extract_cells(planted[0], settings={"nonnegative_traces": on}, **CHOSEN).accepted_only().traces
        for on in (True, False)
    )
    assert (bound.min(axis=1) > free.min(axis=1)).all()


@pytest.mark.parametrize("kind", ["noise", "constant", "dead", "one cell"])
def test_odd_movies(kind: str, planted: Any) -> None:
    rng = np.random.default_rng(0)
    movie = rng.normal(100, 5, (60, 24, 24)).astype(np.float32)
    if kind == "constant":
        movie[:, :, :20] = 7
    if kind == "dead":
        movie[:, 3:6, 4] = np.nan
    if kind == "one cell":
        cell = footprints((24, 24), [(12, 12)])
        movie = pixel_movie(rng, cell, transients(rng, 1, 60, 30)).T.reshape(60, 24, 24)
    for settings in ({}, {"init_method": "grid"}):
        found = gpucells.extract_cells(movie, settings=settings, **CHOSEN)
        assert found.accepted.sum() == (kind == "one cell")
        assert np.isfinite(found.traces).all()


def test_a_run_twice_is_the_same(planted: Any) -> None:
    one, other = (gpucells.extract_cells(planted[0], settings={"frames_least": 100}, **CHOSEN) for _ in range(2))
    np.testing.assert_array_equal(one.traces, other.traces)
    np.testing.assert_array_equal(one.denoised, other.denoised)


def test_counts() -> None:
    movie = np.array([[-1.0, 0.26, 3.0], [-3.0, 1.0, 2.0]], np.float32)
    settings = CellmaxSettings.from_values({"threshold_sigmas": 0.0, "quantize": True, "photons_per_sigma": 4.0})
    count_photons(movie, np.array([1, 2], np.float32), settings)
    np.testing.assert_allclose(movie, [[0, 0.25, 3], [0, 2, 4]])
    lifted = np.array([[-1.0, -3.0], [5.0, 5.0]], np.float32)
    count_photons(lifted, np.array([1, 0], np.float32), CellmaxSettings())
    np.testing.assert_allclose(lifted, [[1, 0], [0, 0]])
    noise, inside = np.array([1, 2, 4, 50], np.float32), np.array([[True, True], [True, False]])
    np.testing.assert_allclose(unit_of_counts(noise, inside, CellmaxSettings(noise="global")), noise / 2)
    assert (unit_of_counts(noise, inside, CellmaxSettings()) == 1).all()


def test_smooth_images_are_one_wherever_light_counts() -> None:
    inside = np.ones((9, 14), bool)
    inside[2, 3] = False
    unit = np.ones(9 * 14, np.float32)
    unit[0] = 0
    total = smooth_images(inside, 2.0, unit, 3.0).sum(axis=0)
    np.testing.assert_allclose(total, inside.ravel() & (unit > 0), atol=1e-6)


def test_the_grid_is_hexagonal_and_covers_the_image() -> None:
    discs = hexagonal_grid((40, 60), 6.0, 4.0)
    assert (discs.sum(axis=0) > 0).all()
    y, x = np.divmod(np.arange(2400), 60)
    centres = np.stack([discs @ y, discs @ x], axis=1) / discs.sum(axis=1)[:, None]
    inner = centres[(abs(centres - [20, 30]) < [10, 18]).all(axis=1)]
    distance = np.linalg.norm(inner[:, None] - centres[None], axis=2)
    nearest = np.sort(distance, axis=1)[:, 1:7]
    np.testing.assert_allclose(nearest, 6, atol=0.6)


def mixture() -> Mixture:
    cells = np.zeros((4, 40), np.float32)
    cells[0, :4], cells[1, 1:5], cells[2, 20:24], cells[3, 30:33] = 1, 1, 1, 1
    rng = np.random.default_rng(0)
    first, other = rng.exponential(5, 50), rng.exponential(5, 50)
    traces = np.array([first, 1.1 * first, other, 1e-4 * other, np.ones(50)], np.float32)
    smooth = sparse.csr_array(np.ones((1, 40), np.float32) / 40)
    images = sparse.csr_array(cells / cells.sum(axis=1, keepdims=True))
    return Mixture(images, smooth, traces)


def test_dim_components_go_and_equal_ones_merge() -> None:
    left = eliminate(mixture(), 0.005)
    assert left.cells.shape[0] == 3
    assert left.traces.shape[0] == 4
    one = merge(left, (1, 40), 6.0, CellmaxSettings())
    assert one.cells.shape[0] == 2
    np.testing.assert_allclose(one.cells.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(one.traces[0], 2.1 * mixture().traces[0], rtol=1e-5)
    np.testing.assert_allclose(one.traces[-1], 1)
    apart = merge(left, (1, 40), 6.0, CellmaxSettings(merge_distance=0.1))
    assert apart.cells.shape[0] == 3


def test_subsets_go_through_all_frames_before_any_comes_again() -> None:
    draws = _some_frames(1000, 300)
    seen = [slice_.start for _ in range(3) for slice_ in next(draws)]
    assert len(set(seen)) == len(seen) == 15
    following = {slice_.start for slice_ in next(draws)}
    assert set(range(0, 1000, RUN)) - set(seen) <= following
    assert next(_some_frames(10, 5)) == [slice(0, 10)]


def test_what_chance_reaches_is_learnt_from_dips_that_are_noise() -> None:
    rng = np.random.default_rng(0)
    quiet = rng.normal(0, 1, (20, 400)).astype(np.float32)
    dips = rng.normal(0.3, 0.02, 20).astype(np.float32)
    assert 0.33 < least_correlation(dips, quiet) < 0.42
    busy = np.concatenate([quiet, quiet])
    busy[20:] += np.where(np.arange(400) % 40 < 10, -30, 0).astype(np.float32)
    both = np.concatenate([dips, np.full(20, 0.95, np.float32)])
    assert least_correlation(both, busy) == pytest.approx(least_correlation(dips, quiet))
    assert least_correlation(both[20:], busy[20:]) == 0
    assert least_correlation(dips[:0], quiet[:0]) == 0


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(SettingsError, match="min_iter"):
        CellmaxSettings.from_values({"min_iter": 50, "max_iter": 5})
