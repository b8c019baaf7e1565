"""The grid of hats, the gain's prior, the filter of the field."""

from __future__ import annotations

import numpy as np
import pytest
from reference.planted import footprints
from scipy import sparse

from gpucells.methods.extract import background
from gpucells.methods.extract.background import LARGEST_GAIN, HatGrid, denoise_field, shrink_gain
from gpucells.methods.extract.settings import ExtractSettings


@pytest.mark.parametrize("shape", [(64, 80), (7, 100), (1, 1), (1, 30), (2, 2)])
@pytest.mark.parametrize("spacing", [3.0, 24.0])
def test_hats_add_up_to_one_everywhere(shape: tuple[int, int], spacing: float) -> None:
    grid = HatGrid.over(shape, spacing)
    hats = grid.on(slice(0, shape[0]), slice(0, shape[1])).images()
    assert hats.dtype == np.float32
    assert hats.shape == (grid.n_hats, shape[0] * shape[1])
    np.testing.assert_allclose(hats.sum(axis=0), 1, atol=1e-5)
    assert hats.min() >= 0
    if min(shape) > 3 * spacing:
        assert abs(grid.rows[1] - grid.rows[0] - spacing) < spacing / 2


def test_a_box_shows_the_same_hats_as_the_whole_image() -> None:
    grid = HatGrid.over((50, 61), 9.0)
    whole = grid.on(slice(0, 50), slice(0, 61)).images().toarray().reshape(-1, 50, 61)
    for rows, columns in [(slice(0, 20), slice(30, 61)), (slice(17, 18), slice(5, 44))]:
        part = grid.on(rows, columns).images()
        n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
        np.testing.assert_array_equal(part.toarray().reshape(-1, n_rows, n_columns), whole[:, rows, columns])
        assert (np.diff(part.indptr) == 0).any()  # those that miss the box keep their place


def test_gain_is_pulled_to_one_by_its_uncertainty() -> None:
    gain = np.array([0.2, 1.0, 2.0, 9.0, -4.0], np.float32)
    np.testing.assert_allclose(shrink_gain(gain, np.zeros(5, np.float32)), 1, atol=1e-4)
    certain = shrink_gain(gain, np.full(5, 1e9, np.float32))
    np.testing.assert_allclose(certain, [0.2, 1, 2, LARGEST_GAIN, 0], atol=1e-4)
    half = shrink_gain(gain[:3], np.full(3, 25, np.float32))  # as uncertain as the prior is wide
    np.testing.assert_allclose(half, [0.6, 1, 1.5], atol=1e-4)
    assert half.dtype == np.float32


def field_of(slow_size: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, sparse.csr_array, sparse.csr_array]:
    """Return a slow field, the same as a regression would estimate it, footprints and hats."""
    rng = np.random.default_rng(seed)
    shape, n_frames = (24, 24), 600
    hats = HatGrid.over(shape, 8.0).on(slice(0, 24), slice(0, 24)).images()
    cells = footprints(shape, [(6, 6), (15, 12)])
    both = sparse.vstack([cells, hats]).toarray().astype(float)
    covariance = np.linalg.inv(both @ both.T)[len(cells.toarray()) :, len(cells.toarray()) :]
    time = np.arange(n_frames)
    phases = rng.uniform(0, 6, hats.shape[0])
    slow = slow_size * np.array([np.sin(time / 40 + phase) for phase in phases])
    noise = rng.multivariate_normal(np.zeros(len(covariance)), covariance, n_frames).T
    return slow, (slow + noise).astype(np.float32), cells, hats


def test_the_field_keeps_what_is_slow_and_loses_what_is_white() -> None:
    slow, estimated, cells, hats = field_of(3.0)
    given = estimated.copy()
    found, fast = denoise_field(estimated, cells, hats, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(estimated, given)
    before, after = ((estimated - slow) ** 2).mean(), ((found - slow) ** 2).mean()
    assert after < 0.35 * before
    assert fast < 0.3
    size = (found * slow).sum(axis=1) / (slow**2).sum(axis=1)
    np.testing.assert_allclose(size, 1, atol=0.05)


def test_a_field_of_noise_alone_mostly_goes_and_its_mean_stays() -> None:
    _, estimated, cells, hats = field_of(0.0)
    found, _ = denoise_field(estimated + 5, cells, hats, 1.0)
    assert found.std() < 0.5 * estimated.std()
    np.testing.assert_allclose(found.mean(axis=1), 5 + estimated.mean(axis=1), atol=1e-3)


def test_light_that_flickers_is_kept_and_said_to_be_fast() -> None:
    _, estimated, cells, hats = field_of(0.0)
    flicker = estimated + np.random.default_rng(2).normal(0, 4, estimated.shape).astype(np.float32)
    found, fast = denoise_field(flicker, cells, hats, 1.0)
    assert fast > 0.7
    assert np.corrcoef(found.ravel(), flicker.ravel())[0, 1] > 0.98


def test_frames_that_are_averages_have_less_noise_to_lose() -> None:
    _, estimated, cells, hats = field_of(0.0)
    few, _ = denoise_field(estimated, cells, hats, 1.0)
    many, fast = denoise_field(estimated, cells, hats, 1.0, averaged=8)
    assert fast > 0.7
    assert many.std() > 1.5 * few.std()


def test_no_background_is_no_hats() -> None:
    settings = ExtractSettings(background="none")
    for grid in HatGrid.for_settings((30, 40), 5.0, settings):
        assert grid.n_hats == 0
        assert grid.on(slice(0, 10), slice(5, 40)).images().shape == (0, 350)
        assert grid.at_nodes_of(grid).shape == (0, 0)


def test_final_nodes_are_as_the_settings_say_and_never_further_apart() -> None:
    settings = ExtractSettings(background_spacing=4.0, trace_background_spacing=2.0)
    for grid, spacing in zip(HatGrid.for_settings((90, 120), 5.0, settings), (20.0, 10.0), strict=True):
        np.testing.assert_array_equal(grid.rows, HatGrid.over((90, 120), spacing).rows)
        np.testing.assert_array_equal(grid.columns, HatGrid.over((90, 120), spacing).columns)
    wide = ExtractSettings(background_spacing=2.5, trace_background_spacing=6.0)
    first, final = HatGrid.for_settings((90, 120), 5.0, wide)
    np.testing.assert_array_equal(first.rows, final.rows)


def test_a_coarse_field_is_the_same_at_the_nodes_of_a_finer_one() -> None:
    coarse = HatGrid(np.array([0.0, 12, 24]), np.array([0.0, 10, 20]))
    fine = HatGrid(np.linspace(0, 24, 5), np.linspace(0, 20, 7))  # rows in halves of the coarse ones, columns in thirds
    rng = np.random.default_rng(0)
    field = rng.normal(size=(coarse.n_hats, 3))
    passed = coarse.at_nodes_of(fine).T @ field
    whole = (slice(0, 25), slice(0, 21))
    drawn = (coarse.on(*whole).images().T @ field).reshape(25, 21, 3)
    again = (fine.on(*whole).images().T @ passed).reshape(25, 21, 3)
    np.testing.assert_allclose(again, drawn, atol=1e-5)
    odd = HatGrid.over((25, 21), 7.0)  # not every coarse node is one of these: the same at their own nodes only
    there = tuple(np.ix_(odd.rows[:1].astype(int), odd.columns[[0, -1]].astype(int)))
    again = (odd.on(*whole).images().T @ (coarse.at_nodes_of(odd).T @ field)).reshape(25, 21, 3)
    np.testing.assert_allclose(again[there], drawn[there], atol=1e-5)


@pytest.mark.parametrize("hats_at_once", [7, 40])
def test_variances_of_hats_piece_by_piece_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, hats_at_once: int
) -> None:
    shape = (60, 70)
    hats = HatGrid.over(shape, 6.0).on(slice(0, 60), slice(0, 70)).images()
    cells = footprints(shape, [(10, 10), (14, 15), (30, 40), (33, 44), (50, 60)])
    both = sparse.csr_array(sparse.vstack([cells, hats]))
    whole = background._hat_variance(both, 5)
    np.testing.assert_allclose(whole, np.diag(np.linalg.inv((both @ both.T).toarray()))[5:], rtol=1e-3)
    monkeypatch.setattr(background, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(background, "HATS_AT_ONCE", hats_at_once)
    np.testing.assert_allclose(background._hat_variance(both, 5), whole, rtol=0.01)


def test_hats_that_miss_the_tile_stay_as_they_are() -> None:
    grid = HatGrid.over((24, 60), 8.0)
    hats = grid.on(slice(0, 24), slice(0, 24)).images()
    field = np.random.default_rng(1).normal(size=(grid.n_hats, 100)).astype(np.float32)
    missing = np.diff(hats.indptr) == 0
    found, _ = denoise_field(field, sparse.csr_array((0, 576), dtype=np.float32), hats, 0.9)
    assert missing.any()
    np.testing.assert_array_equal(found[missing], field[missing])
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "box", [(slice(0, 50), slice(0, 61)), (slice(11, 30), slice(40, 61)), (slice(20, 21), slice(0, 1))]
)
def test_the_part_of_a_grid_around_a_box_is_all_that_the_box_needs(box: tuple[slice, slice]) -> None:
    whole = HatGrid.over((50, 61), 7.0)
    part, numbers = whole.around(*box)
    assert part.n_hats == len(numbers) >= 4
    everything = whole.on(*box).images().toarray()
    np.testing.assert_allclose(part.on(*box).images().toarray(), everything[numbers], atol=1e-6)
    assert not np.delete(everything, numbers, axis=0).any()
    nothing, none = HatGrid(np.zeros(0), np.zeros(0)).around(*box)
    assert nothing.n_hats == len(none) == 0
