"""CNMF from a movie to cells: small simulated recordings, every setting, and movies that are odd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients

import gpucells
from gpucells.errors import InputError, SettingsError
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.methods.cnmf.solve import solve
from gpucells.model.cells import Cells
from gpucells.model.components import Components
from gpucells.pipeline import plan_run
from gpucells.postprocess.match import match_cells, score_cells
from gpucells.settings import RunSettings
from gpucells.tiles.grid import BYTES_PER_SAMPLE

CHOSEN = {"method": "cnmf", "cell_diameter_px": 8.0}
SHAPE = (400, 60, 64)


@pytest.fixture(scope="module")
def simulated() -> Any:
    """Ten cells; without a rule against it, two components would share one of them."""
    return gpucells.simulate_movie("two_photon", shape=SHAPE, n_cells=10, cell_diameter_px=8.0, snr=10, seed=5)


def extract(movie: Any, run: Any = None, **settings: Any) -> Cells:
    return gpucells.extract_cells(movie, settings=settings, **CHOSEN | (run or {}))


@pytest.fixture(scope="module")
def found(simulated: Any) -> Cells:
    return extract(simulated.movie)


def scores(cells: Cells, simulated: Any) -> Any:
    mine, truth = cells.accepted_only(), simulated.truth
    return score_cells(mine.footprints, mine.traces, truth.footprints, truth.traces, mine.image_shape)


def require_same(first: Cells, second: Cells) -> None:
    """Bit for bit."""
    assert (first.footprints != second.footprints).nnz == 0
    for name in ("traces", "denoised", "spikes", "background_images", "background_traces", "accepted", "f0"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert first.rejection == second.rejection
    assert first.quality.keys() == second.quality.keys()
    for name, column in first.quality.items():
        np.testing.assert_array_equal(column, second.quality[name], err_msg=name)


def cosines(cells: Cells) -> np.ndarray:
    images = cells.footprints.toarray()
    norms = np.linalg.norm(images, axis=1)
    return np.asarray(images @ images.T / np.outer(norms, norms) - np.eye(len(images)))


def test_all_cells_are_found_and_nothing_else(simulated: Any, found: Cells) -> None:
    score = scores(found, simulated)
    assert score.f1 == 1
    assert score.trace_r_median > 0.985  # .992
    assert score.pair_trace_r.min() > 0.95
    assert score.footprint_cosine > 0.98


def test_no_cell_is_found_twice(found: Cells) -> None:
    """Least squares shares one footprint's light out between two: their traces would be no copies of each other."""
    assert cosines(found.accepted_only()).max() < 0.9


def test_the_same_again_bit_by_bit(simulated: Any, found: Cells) -> None:
    require_same(extract(simulated.movie), found)
    read_only = simulated.movie.astype(">u2")
    read_only.flags.writeable = False
    require_same(extract(read_only), found)


def test_the_result_has_every_part(found: Cells) -> None:
    n_accepted = int(found.accepted.sum())
    assert found.method == "cnmf"
    assert found.settings["cnmf"]["max_iter"] == 4
    for name in ("traces", "denoised", "spikes"):
        assert getattr(found, name).shape == (found.n_cells, SHAPE[0])
        assert np.isfinite(getattr(found, name)[found.accepted]).all()
    assert np.isfinite(found.traces).all()
    assert np.isnan(found.denoised[~found.accepted]).all(), "the last passes leave the rejected ones out"
    assert found.spikes[found.accepted].min() >= 0
    assert len(found.background_images) == len(found.background_traces) >= 2
    assert found.background_images.shape[1:] == SHAPE[1:]
    assert {"snr", "event_correlation", "ar_1", "deconvolution_noise"} <= found.quality.keys()
    assert all(len(column) == found.n_cells for column in found.quality.values())
    assert all(bool(reason) != accepted for reason, accepted in zip(found.rejection, found.accepted, strict=True))
    assert found.footprints.max(axis=1).toarray().ravel()[found.accepted] == pytest.approx(1)
    assert found.footprints.data.min() >= 0
    assert 0 < n_accepted < found.n_cells, "something was tried and rejected"


def test_the_denoised_trace_is_the_decay_of_the_spikes(found: Cells) -> None:
    cells = found.accepted_only()
    calcium = cells.denoised - cells.quality["deconvolution_baseline"][:, None]
    rest = calcium[:, 1:] - cells.quality["ar_1"][:, None] * calcium[:, :-1]
    np.testing.assert_allclose(rest, cells.spikes[:, 1:], atol=1e-3 * calcium.max())
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(cells.denoised, cells.traces, strict=True)]
    assert min(r) > 0.85


def require_the_movie(cells: Cells, movie: Any) -> None:
    """Cells and background add up to the movie but for noise of variance 1 in its own units."""
    accepted, height = cells.accepted_only(), cells.footprints.shape[1]
    images = cells.background_images.reshape(-1, height)
    model = accepted.footprints.T @ accepted.traces + images.T @ cells.background_traces
    left = (movie.reshape(len(movie), -1).T - model) / cells.summary_images["noise"].reshape(-1, 1)
    assert np.median(left.var(axis=1)) == pytest.approx(1, abs=0.08)
    assert np.quantile(left.var(axis=1), 0.99) < 1.7  # 1.52: a pixel's noise is known to some 15 %
    assert abs(left.mean()) < 0.05


def test_cells_and_background_together_are_the_movie(simulated: Any, found: Cells) -> None:
    require_the_movie(found, simulated.movie.astype(float))


@pytest.mark.parametrize("factor", [1 / 64, 256.0])
def test_scaling_the_movie_scales_the_traces(simulated: Any, found: Cells, factor: float) -> None:
    """By a power of 2 every product is the same but for its exponent; the offset moves the baseline alone."""
    mine, other = found.accepted_only(), extract(simulated.movie.astype(np.float32) * factor - 100).accepted_only()
    assert other.n_cells == mine.n_cells
    np.testing.assert_allclose(other.footprints.toarray(), mine.footprints.toarray(), atol=0.02)
    for name in ("traces", "denoised", "spikes"):
        one, two = getattr(mine, name), getattr(other, name) / factor
        assert np.abs(two - one).max() < 0.03 * np.abs(one).max(), name
    np.testing.assert_allclose(
        (other.background_images[0] + 100) / factor, mine.background_images[0], rtol=1e-3, atol=1e-2 / factor
    )


@pytest.mark.parametrize("settings", [
    {"init": "sparse_nmf", "n_cells": 14}, {"init": "graph_nmf", "n_cells": 14},
    {"init": "compressed_nmf", "n_cells": 14}, {"spatial_solver": "nnls_l0"}, {"spatial_penalty": 1.0},
    {"ar_order": 0}, {"ar_order": 2}, {"s_min": 0.0}, {"s_min": -3.0}, {"s_min": 20.0}, {"optimize_g": 5},
    {"deconvolution_penalty": 10.0}, {"baseline_nonnegative": True}, {"decay_lags": 1}, {"max_iter": 1},
    {"n_background": 8}, {"downsample_time_by": 3}, {"dendrite_aware": True},
])  # fmt: skip
def test_every_choice_finds_most_cells(simulated: Any, settings: dict[str, Any]) -> None:
    cells = extract(simulated.movie, **settings)
    score = scores(cells, simulated)
    fewer = {"init", "n_background"} & settings.keys()  # the light of this movie has more components than 2
    assert score.recall >= (0.6 if fewer else 0.9)
    assert score.precision >= 0.8
    assert score.trace_r_median > (0.9 if fewer else 0.97)
    accepted = cells.accepted_only()
    assert all(np.isfinite(getattr(accepted, name)).all() for name in ("traces", "denoised", "spikes"))
    n_coefficients = sum(name.startswith("ar_") for name in cells.quality)
    assert n_coefficients == settings.get("ar_order", 1)
    if "s_min" in settings and settings["s_min"] > 0:
        assert accepted.spikes[accepted.spikes > 0].min() >= settings["s_min"] * 0.999
    if "n_background" in settings:
        assert len(cells.background_images) == 1 + settings["n_background"]
    if "baseline_nonnegative" in settings:
        assert accepted.quality["deconvolution_baseline"].min() >= 0


@pytest.mark.parametrize("n_cells", [0, 3, 100])
def test_n_cells_is_the_most_that_are_accepted(simulated: Any, found: Cells, n_cells: int) -> None:
    cells = extract(simulated.movie, n_cells=n_cells)
    assert cells.accepted.sum() == min(n_cells, found.accepted.sum())
    assert cells.n_cells == found.n_cells
    late = [reason for reason in cells.rejection if "n_cells" in reason]
    assert len(late) == found.accepted.sum() - cells.accepted.sum()
    if n_cells == 3:
        pairs = match_cells(found.accepted_only(), cells.accepted_only()).pairs
        light = np.linalg.norm(found.accepted_only().footprints.toarray(), axis=1) * found.accepted_only().traces.max(1)
        assert set(pairs[:, 0]) <= set(np.argsort(-light)[:5]), "the brightest stay"


def test_no_background_is_no_background() -> None:
    """A movie that has none, beside its constant light."""
    rng = np.random.default_rng(0)
    truth = footprints((30, 30), [(8, 8), (20, 20)])
    movie = pixel_movie(rng, truth, transients(rng, 2, 200, 12)) + np.float32(50)
    cells = extract(movie.T.reshape(200, 30, 30), n_background=0)
    assert cells.accepted.sum() == 2
    assert cells.background_images.shape == (1, 30, 30)
    np.testing.assert_allclose(cells.background_images[0], 50, atol=1.5)


@pytest.mark.parametrize("init", ["sparse_nmf", "graph_nmf", "compressed_nmf"])
def test_a_factorisation_without_a_number_is_refused(simulated: Any, init: str) -> None:
    with pytest.raises(SettingsError, match="n_cells = 'auto'") as caught:
        extract(simulated.movie, init=init)
    assert "set n_cells" in caught.value.hint


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"n_cell": 3}, "unknown setting 'n_cell'", "n_cells"),
        ({"init": "greedy"}, "init = 'greedy'", "how cells are looked for"),
        ({"spatial_solver": "lars"}, "spatial_solver = 'lars'", "lasso"),
        ({"ar_order": 3}, "ar_order = 3", "order"),
        ({"n_cells": -1}, "n_cells = -1", "accepted"),
        ({"n_cells": "many"}, "n_cells = 'many'", "auto"),
        ({"n_background": -1}, "n_background = -1", "background"),
        ({"max_iter": 0}, "max_iter = 0", "rounds"),
        ({"min_event_correlation": 2}, "min_event_correlation = 2", "correlation"),
        ({"trace_output_option": "nonneg"}, "unknown setting 'trace_output_option'", ""),
    ],
)
def test_wrong_settings_are_explained(simulated: Any, settings: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        extract(simulated.movie, **settings)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_cells_that_are_not_seen_at_their_own_events_are_rejected(simulated: Any, found: Cells) -> None:
    best = np.sort(found.quality["event_correlation"][found.accepted])
    limit = float(best[3:5].mean())
    cells = extract(simulated.movie, min_event_correlation=limit)
    assert cells.accepted.sum() < found.accepted.sum()
    assert cells.quality["event_correlation"][cells.accepted].min() >= limit - 0.01  # solved again without the others
    assert any("not seen at its own events" in reason for reason in cells.rejection)


@pytest.mark.parametrize("shape", [(200, 48, 48), (100, 8, 8), (60, 1, 1), (60, 1, 40), (60, 40, 1), (30, 20, 20)])
def test_noise_has_no_cells(shape: tuple[int, int, int], tmp_path: Any) -> None:
    movie = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    cells = gpucells.extract_cells(movie, method="cnmf")
    assert cells.accepted.sum() == 0
    assert cells.traces.shape[1] == cells.denoised.shape[1] == cells.spikes.shape[1] == shape[0]
    assert np.isfinite(cells.background_images).all()
    np.testing.assert_allclose(cells.background_images[0], 100, atol=8)
    gpucells.save_cells(cells, tmp_path / "cells.h5")
    require_same(gpucells.load_cells(tmp_path / "cells.h5"), cells)


def test_a_flat_movie_is_refused_and_a_nearly_flat_one_is_empty() -> None:
    movie = np.full((100, 30, 30), 7, np.float32)
    with pytest.raises(InputError, match="no pixel"):
        extract(movie)
    movie[:, 10:13, 10:13] += np.random.default_rng(0).normal(size=(100, 3, 3))
    cells = extract(movie)
    assert cells.accepted.sum() == 0
    assert np.isfinite(cells.background_images).all()


def test_dead_pixels_have_no_part(simulated: Any, found: Cells) -> None:
    movie = simulated.movie.astype(np.float32)
    movie[:, 5:9, 5:9] = np.nan
    movie[:, 22] = 7
    movie[3, 40, 40] = np.inf
    before = movie.copy()
    cells = extract(movie)
    np.testing.assert_array_equal(movie, before)
    dead = np.zeros(SHAPE[1:], bool)
    dead[5:9, 5:9] = dead[22] = True
    assert cells.accepted_only().images()[:, dead].max() < 0.05
    assert all(np.isfinite(a).all() for a in (cells.traces, cells.background_images, cells.background_traces))
    assert scores(cells, simulated).precision == 1
    assert len(match_cells(cells.accepted_only(), found.accepted_only()).pairs) >= 0.7 * found.accepted.sum()


def test_cells_are_looked_for_where_the_mask_is(simulated: Any, found: Cells, tmp_path: Any) -> None:
    mask = np.zeros(SHAPE[1:], np.uint8)
    mask[:, :32] = 1
    np.save(tmp_path / "mask.npy", mask)
    cells = extract(simulated.movie, {"mask": str(tmp_path / "mask.npy")})
    assert not cells.footprints[:, mask.ravel() == 0].toarray().any()
    left = found.accepted_only()
    left = left.select(left.centroids()[:, 1] < 28)
    assert len(match_cells(left, cells.accepted_only()).pairs) == left.n_cells > 2


def test_lost_frames_are_nan_in_every_trace(simulated: Any, found: Cells) -> None:
    lost = np.isin(np.arange(SHAPE[0]), [0, 1, 17, 200, 201, 399])
    movie = simulated.movie.astype(np.float32)
    movie[lost] = np.nan
    cells = extract(movie)
    accepted = cells.accepted_only()
    for traces in (accepted.traces, accepted.denoised, accepted.spikes, cells.background_traces):
        assert traces.shape[1] == SHAPE[0]
        assert np.isnan(traces[:, lost]).all()
        assert np.isfinite(traces[:, ~lost]).all()
    assert len(match_cells(accepted, found.accepted_only()).pairs) == accepted.n_cells == found.accepted.sum()


def test_given_footprints_are_held(simulated: Any) -> None:
    truth = simulated.truth
    cells = gpucells.apply_footprints(simulated.movie, truth.footprints, **CHOSEN)
    assert cells.accepted.all()
    assert cells.n_cells == truth.n_cells
    peak = truth.footprints.max(axis=1).toarray().reshape(-1, 1)
    np.testing.assert_allclose(cells.footprints.toarray(), truth.footprints.toarray() / peak, atol=1e-6)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(cells.traces, truth.traces, strict=True)]
    assert np.median(r) > 0.985
    assert cells.denoised.shape == cells.spikes.shape == cells.traces.shape
    limited = gpucells.apply_footprints(simulated.movie, truth.footprints, settings={"n_cells": 2}, **CHOSEN)
    require_same(limited, cells)  # no cell of a user's is judged


def test_given_footprints_stay_where_the_mask_hides_them(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    given = footprints((30, 40), [(8, 8), (20, 32), (22, 22)])  # inside, outside, across
    movie = pixel_movie(rng, given, transients(rng, 3, 200, 12)) + np.float32(50)
    mask = np.zeros((30, 40), np.uint8)
    mask[:, :24] = 1
    np.save(tmp_path / "mask.npy", mask)
    frames = movie.T.reshape(200, 30, 40)
    cells = gpucells.apply_footprints(frames, given, method="cnmf", mask=str(tmp_path / "mask.npy"))
    np.testing.assert_array_equal(cells.footprints.toarray(), given.toarray())
    np.testing.assert_array_equal(cells.traces[1], 0)
    assert cells.traces[[0, 2]].max(axis=1).min() > 5
    assert np.isfinite(cells.denoised).all()


def test_no_given_footprints_are_no_cells(simulated: Any) -> None:
    cells = gpucells.apply_footprints(simulated.movie, simulated.truth.footprints[:0], method="cnmf")
    assert cells.n_cells == 0
    assert cells.background_traces.shape[1] == SHAPE[0]


def test_given_footprints_that_are_not_held_are_refined(simulated: Any) -> None:
    truth = simulated.truth
    rows, columns = np.divmod(np.asarray(truth.footprints.argmax(axis=1)).ravel(), SHAPE[2])
    start = footprints(SHAPE[1:], list(zip(rows, columns, strict=True)), width=1.5)
    cells = gpucells.extract_cells(simulated.movie, init=start, **CHOSEN)
    score = scores(cells, simulated)
    assert score.recall >= 0.8
    assert score.footprint_cosine > 0.97


def test_a_silent_given_cell_stays_and_is_silent(simulated: Any) -> None:
    rng = np.random.default_rng(0)
    truth = footprints((30, 34), [(8, 8), (20, 24)])
    movie = pixel_movie(rng, truth, transients(rng, 2, 200, 12)) + np.float32(50)
    given = footprints((30, 34), [(8, 8), (20, 24), (22, 6)])
    cells = gpucells.apply_footprints(movie.T.reshape(200, 30, 34), given, method="cnmf", cell_diameter_px=6)
    assert cells.n_cells == 3
    assert np.abs(cells.traces[2]).max() < 2
    assert np.isfinite(cells.denoised).all()


def test_one_tile_alone() -> None:
    """What a method gives for a tile: parts of the right size, in the movie's units."""
    rng = np.random.default_rng(0)
    truth = footprints((32, 32), [(8, 8), (20, 22)])
    traces = transients(rng, 2, 250, 12)
    movie = (pixel_movie(rng, truth, traces) + np.float32(70)).reshape(32, 32, 250)
    found: Components = solve(movie.copy(), np.ones((32, 32), bool), 4.0, CnmfSettings(), lambda *event: None)
    assert found.footprints.shape == (2, 1024)
    np.testing.assert_allclose(np.median(found.noise), 1, atol=0.1)
    np.testing.assert_allclose(np.median(found.baseline), 70, atol=0.3)
    assert found.background_images.shape == (len(found.background_traces), 1024)
    match = np.argmax(np.abs(np.corrcoef(np.concatenate([found.traces, traces]))[:2, 2:]), axis=1)
    assert sorted(match) == [0, 1]
    again = solve(movie.copy(), np.ones((32, 32), bool), 4.0, CnmfSettings(), lambda *event: None)
    np.testing.assert_array_equal(again.traces, found.traces)


def test_cut_into_tiles_it_finds_the_same_cells() -> None:
    """84 x 150 whole, and in two tiles whose halos are 20 px wide."""
    movie = gpucells.simulate_movie(
        "two_photon", shape=(300, 84, 150), cell_diameter_px=8, snr=8, n_cells=30, seed=2
    ).movie
    plan = plan_run(gpucells.open_movie(movie), "cnmf", RunSettings.from_values({"cell_diameter_px": 8.0}))
    told: list[str] = []
    whole = extract(movie)
    memory = int(4 * 84 * 110 * (len(movie) // plan.factor) * BYTES_PER_SAMPLE)
    tiled = extract(movie, {"memory_bytes": memory, "progress": lambda event: told.append(event.stage)})
    assert "refine, tile 2 of 2" in told
    first, second = whole.accepted_only(), tiled.accepted_only()
    pairs = match_cells(first, second).pairs
    assert len(pairs) == first.n_cells == second.n_cells >= 25
    a, b = first.footprints.toarray()[pairs[:, 0]], second.footprints.toarray()[pairs[:, 1]]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.95  # a dim cell whose outline was drawn beside another neighbour
    assert np.median(cosine) > 0.999
    r = np.array([np.corrcoef(first.traces[i], second.traces[j])[0, 1] for i, j in pairs])
    assert r.min() > 0.985
    assert np.median(r) > 0.999
    for cells in (whole, tiled):
        require_the_movie(cells, movie.astype(float))
