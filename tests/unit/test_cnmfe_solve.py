"""CNMF-E from a movie to cells: small simulated one-photon recordings, its settings, and movies that are odd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import sparse

import gpucells
from gpucells.errors import InputError, SettingsError
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.methods.cnmfe.solve import solve
from gpucells.model.cells import Cells
from gpucells.model.components import Components
from gpucells.pipeline import plan_run
from gpucells.postprocess.match import match_cells, score_cells
from gpucells.settings import RunSettings
from gpucells.tiles.grid import BYTES_PER_SAMPLE

CHOSEN = {"method": "cnmfe", "preset": "one_photon", "cell_diameter_px": 10.0}
SHAPE = (400, 64, 64)


@pytest.fixture(scope="module")
def simulated() -> Any:
    """Ten cells under light out of focus, and vessels."""
    return gpucells.simulate_movie("one_photon", shape=SHAPE, n_cells=10, cell_diameter_px=10.0, seed=1)


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


def test_all_cells_are_found_and_nothing_else(simulated: Any, found: Cells) -> None:
    score = scores(found, simulated)
    assert score.f1 == 1
    assert score.trace_r_median > 0.94  # .963
    assert score.pair_trace_r.min() > 0.7  # .781
    assert score.footprint_cosine > 0.92  # .948


def test_the_same_again_bit_by_bit(simulated: Any, found: Cells) -> None:
    require_same(extract(simulated.movie), found)
    read_only = simulated.movie.astype(">u2")
    read_only.flags.writeable = False
    require_same(extract(read_only), found)


def test_the_result_has_every_part(found: Cells) -> None:
    assert found.method == "cnmfe"
    assert found.settings["cnmfe"]["ring"] is True
    assert found.settings["cnmfe"]["searches"] == 3
    for name in ("traces", "denoised", "spikes"):
        assert getattr(found, name).shape == (found.n_cells, SHAPE[0])
        assert np.isfinite(getattr(found, name)[found.accepted]).all()
    assert np.isfinite(found.traces).all()
    assert found.spikes[found.accepted].min() >= 0
    assert len(found.background_images) == len(found.background_traces) >= 2
    assert found.background_images.shape[1:] == SHAPE[1:]
    assert {"snr", "event_correlation", "ar_1", "deconvolution_noise"} <= found.quality.keys()
    assert all(len(column) == found.n_cells for column in found.quality.values())
    assert all(bool(reason) != accepted for reason, accepted in zip(found.rejection, found.accepted, strict=True))
    assert found.footprints.max(axis=1).toarray().ravel()[found.accepted] == pytest.approx(1)
    assert found.footprints.data.min() >= 0
    assert any("echo" in reason for reason in found.rejection), "something was tried and rejected"


@pytest.mark.parametrize(("settings", "recall", "precision", "trace_r"), [
    ({"ring": False}, 0.9, 0.9, 0.94), ({"searches": 1}, 0.8, 0.9, 0.94), ({"searches": 6}, 0.9, 0.9, 0.92),
    ({"ring_outlier": None}, 0.9, 0.9, 0.94), ({"ring_spacing": 2.0}, 0.9, 0.9, 0.94),
    ({"ring_radius": 1.5}, 0.9, 0.9, 0.94), ({"ring_radius": 20.0}, 0.9, 0.8, 0.94),
    ({"echo_correlation": 1.0}, 0.9, 0.9, 0.94), ({"ar_order": 0}, 0.9, 0.9, 0.94), ({"max_iter": 1}, 0.9, 0.75, 0.94),
    ({"min_corr": 0.8, "min_pnr": 8.0}, 0.9, 0.9, 0.94), ({"min_corr": 0.3, "min_pnr": 1.0}, 0.9, 0.9, 0.94),
    # What one component or none holds is more than a ring tells; published CNMF-E has a ring alone.
    ({"n_background": 2}, 0.7, 0.9, 0.9), ({"n_background": 0}, 0.7, 0.8, 0.88),
])  # fmt: skip
def test_every_choice_finds_most_cells(
    simulated: Any, settings: dict[str, Any], recall: float, precision: float, trace_r: float
) -> None:
    cells = extract(simulated.movie, **settings)
    score = scores(cells, simulated)
    assert score.recall >= recall
    assert score.precision >= precision
    assert score.trace_r_median > trace_r
    accepted = cells.accepted_only()
    assert all(np.isfinite(getattr(accepted, name)).all() for name in ("traces", "denoised", "spikes"))
    if "n_background" in settings:
        assert len(cells.background_images) == 1 + settings["n_background"]


@pytest.mark.parametrize("n_background", [0, 2])
def test_a_ring_holds_what_few_components_do_not(simulated: Any, n_background: int) -> None:
    """Of this movie four components do; with fewer, cells are lost, and most of those come back by a ring."""
    with_ring = scores(extract(simulated.movie, n_background=n_background), simulated)
    without = scores(extract(simulated.movie, n_background=n_background, ring=False), simulated)
    assert with_ring.f1 > without.f1 + 0.15
    if n_background:
        assert with_ring.trace_r_median > without.trace_r_median


@pytest.mark.parametrize("ring", [False, True])
def test_no_background_is_no_background(ring: bool) -> None:
    """A movie that has none, beside its constant light."""
    rng = np.random.default_rng(0)
    truth = footprints((40, 40), [(12, 12), (26, 28)])
    traces = transients(rng, 2, 200, 20)
    movie = pixel_movie(rng, truth, traces) + np.float32(50)
    cells = extract(movie.T.reshape(200, 40, 40), {"cell_diameter_px": 8.0}, n_background=0, ring=ring)
    assert cells.accepted.sum() == 2
    assert cells.background_images.shape == (1, 40, 40)
    np.testing.assert_allclose(cells.background_images[0], 50, atol=2.5)  # medians, a cell's transients among them
    r = np.corrcoef(np.concatenate([cells.accepted_only().traces, traces]))[:2, 2:]
    assert r.max(axis=1).min() > 0.98


def test_thresholds_for_seeds_count(simulated: Any) -> None:
    """With one search there is nothing else that finds cells."""
    numbers = [
        extract(simulated.movie, searches=1, **thresholds).n_cells
        for thresholds in ({"min_corr": 1.0}, {"min_pnr": 1e4}, {"min_pnr": 10.0}, {}, {"min_corr": 0.3, "min_pnr": 1})
    ]
    assert numbers[:2] == [0, 0]
    assert 0 < numbers[2] <= 12
    assert 0 < numbers[3] <= 12, "what the negated movie does not reach leaves hardly anything but cells"
    assert numbers[4] > 5 * numbers[3]


@pytest.mark.parametrize("n_cells", [0, 3, 100])
def test_n_cells_is_the_most_that_are_accepted(simulated: Any, found: Cells, n_cells: int) -> None:
    cells = extract(simulated.movie, n_cells=n_cells)
    assert cells.accepted.sum() == min(n_cells, found.accepted.sum())
    assert cells.n_cells == found.n_cells


@pytest.mark.parametrize("factor", [1 / 64, 256.0])
def test_scaling_the_movie_scales_the_traces(simulated: Any, found: Cells, factor: float) -> None:
    """By a power of 2 every product is the same but for its exponent; the offset moves the baseline alone."""
    mine, other = found.accepted_only(), extract(simulated.movie.astype(np.float32) * factor - 100).accepted_only()
    assert other.n_cells == mine.n_cells
    one, two = (cells.footprints.toarray() for cells in (mine, other))
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosine.min() > 0.999  # a pixel at the limit of its own error may come or go
    for name in ("traces", "denoised", "spikes"):
        one, two = getattr(mine, name), getattr(other, name) / factor
        assert np.abs(two - one).max() < 0.03 * np.abs(one).max(), name


class Planted:
    """Cells in a 60 x 60 image, one of them on its edge and one wide and dim."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        grid = [(y, x) for y in (10, 24, 38, 52) for x in (10, 24, 38, 52)]
        self.wide, self.edge = len(grid) - 1, len(grid)
        cells = footprints((60, 60), [*grid[:-1], (46, 46), (31, 0)]).toarray()
        cells[self.wide] = footprints((60, 60), [(46, 46)], width=4.2).toarray()
        self.cells = cells
        traces = transients(rng, len(cells), 300, 40)
        traces[self.wide] *= 0.15
        self.movie = (pixel_movie(rng, sparse.csr_array(cells), traces) + np.float32(80)).T.reshape(300, 60, 60)

    def reason(self, cells: Cells, which: int) -> str:
        """Why this cell is no cell; empty if it is one."""
        cosine = cells.footprints @ self.cells[which]
        cosine = cosine / np.sqrt(np.asarray(cells.footprints.multiply(cells.footprints).sum(axis=1)).ravel())
        cosine /= np.linalg.norm(self.cells[which])
        best = np.flatnonzero(cosine > 0.7)
        assert len(best)
        return "" if cells.accepted[best].any() else " | ".join(cells.rejection[i] for i in best)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.mark.parametrize("keep_cut", [False, True])
@pytest.mark.parametrize("keep_blurred", [False, True])
def test_cells_that_are_cut_or_out_of_focus_are_kept_if_asked_for(
    planted: Planted, keep_cut: bool, keep_blurred: bool
) -> None:
    settings = {"keep_cut_cells": keep_cut, "keep_out_of_focus": keep_blurred}
    cells = extract(planted.movie, {"cell_diameter_px": 8.0}, **settings)
    assert cells.accepted.sum() == 15 + keep_cut + keep_blurred
    cut, blurred = planted.reason(cells, planted.edge), planted.reason(cells, planted.wide)
    assert (cut == "") == keep_cut
    assert keep_cut or "cut off" in cut
    assert (blurred == "") == keep_blurred
    assert keep_blurred or "out of focus" in blurred
    if not (keep_cut or keep_blurred):
        require_same(extract(planted.movie, {"cell_diameter_px": 8.0}), cells)  # as one-photon movies have it


@pytest.mark.parametrize("shape", [(200, 48, 48), (100, 8, 8), (60, 1, 1), (60, 1, 40), (60, 40, 1), (30, 20, 20)])
def test_noise_has_no_cells(shape: tuple[int, int, int], tmp_path: Any) -> None:
    movie = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    cells = gpucells.extract_cells(movie, method="cnmfe", preset="one_photon")
    assert cells.accepted.sum() == 0
    assert cells.traces.shape[1] == cells.denoised.shape[1] == cells.spikes.shape[1] == shape[0]
    assert np.isfinite(cells.background_images).all()
    np.testing.assert_allclose(cells.background_images[0], 100, atol=8)
    gpucells.save_cells(cells, tmp_path / "cells.h5")
    require_same(gpucells.load_cells(tmp_path / "cells.h5"), cells)


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_a_movie_of_few_frames_is_refused_or_empty(n_frames: int) -> None:
    movie = np.random.default_rng(0).normal(100, 5, (n_frames, 20, 20)).astype(np.float32)
    try:
        cells = extract(movie)
    except InputError:
        return
    assert cells.accepted.sum() == 0
    assert np.isfinite(cells.background_images).all()


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
    assert scores(cells, simulated).precision >= 0.9
    assert len(match_cells(cells.accepted_only(), found.accepted_only()).pairs) >= 0.7 * found.accepted.sum()


def test_cells_are_looked_for_where_the_mask_is(simulated: Any, found: Cells, tmp_path: Any) -> None:
    mask = np.zeros(SHAPE[1:], np.uint8)
    mask[:, :36] = 1
    np.save(tmp_path / "mask.npy", mask)
    cells = extract(simulated.movie, {"mask": str(tmp_path / "mask.npy")})
    assert not cells.footprints[:, mask.ravel() == 0].toarray().any()
    left = found.accepted_only()
    left = left.select(left.centroids()[:, 1] < 30)
    assert len(match_cells(left, cells.accepted_only()).pairs) >= left.n_cells - 1 > 1


def test_lost_frames_are_nan_in_every_trace(simulated: Any, found: Cells) -> None:
    lost = np.isin(np.arange(SHAPE[0]), [0, 1, 17, 200, 201, 399])
    movie = simulated.movie.astype(np.float32)
    movie[lost] = np.nan
    cells = extract(movie)
    accepted = cells.accepted_only()
    for traces in (accepted.traces, accepted.denoised, accepted.spikes, cells.background_traces):
        assert np.isnan(traces[:, lost]).all()
        assert np.isfinite(traces[:, ~lost]).all()
    assert len(match_cells(accepted, found.accepted_only()).pairs) == found.accepted.sum()


def test_given_footprints_are_held(simulated: Any) -> None:
    truth = simulated.truth
    cells = gpucells.apply_footprints(simulated.movie, truth.footprints, **CHOSEN)
    assert cells.accepted.all()
    assert cells.n_cells == truth.n_cells
    peak = truth.footprints.max(axis=1).toarray().reshape(-1, 1)
    np.testing.assert_allclose(cells.footprints.toarray(), truth.footprints.toarray() / peak, atol=1e-6)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(cells.traces, truth.traces, strict=True)]
    assert np.median(r) > 0.94
    assert cells.denoised.shape == cells.spikes.shape == cells.traces.shape
    limited = gpucells.apply_footprints(simulated.movie, truth.footprints, settings={"n_cells": 2}, **CHOSEN)
    require_same(limited, cells)  # no cell of a user's is judged


def test_no_given_footprints_are_no_cells(simulated: Any) -> None:
    cells = gpucells.apply_footprints(simulated.movie, simulated.truth.footprints[:0], **CHOSEN)
    assert cells.n_cells == 0
    assert cells.background_traces.shape[1] == SHAPE[0]


def test_given_footprints_that_are_not_held_are_refined(simulated: Any) -> None:
    truth = simulated.truth
    rows, columns = np.divmod(np.asarray(truth.footprints.argmax(axis=1)).ravel(), SHAPE[2])
    start = footprints(SHAPE[1:], list(zip(rows, columns, strict=True)), width=2.0)
    cells = gpucells.extract_cells(simulated.movie, init=start, settings={"search_after_init": False}, **CHOSEN)
    score = scores(cells, simulated)
    assert score.recall >= 0.8
    assert score.footprint_cosine > 0.92
    assert cells.n_cells == len(rows), "none is looked for beside them"


def test_one_tile_alone() -> None:
    """What a method gives for a tile: parts of the right size, in the movie's units."""
    rng = np.random.default_rng(0)
    truth = footprints((40, 40), [(12, 12), (26, 28)])
    traces = transients(rng, 2, 250, 20)
    movie = (pixel_movie(rng, truth, traces) + np.float32(70)).reshape(40, 40, 250)
    inside, told = np.ones((40, 40), bool), []
    found: Components = solve(movie.copy(), inside, 4.0, CnmfeSettings(), lambda *event: told.append(event))
    assert found.footprints.shape == (2, 1600)
    assert {"find cells", "refine"} <= {event[0] for event in told}
    np.testing.assert_allclose(np.median(found.noise), 1, atol=0.1)
    np.testing.assert_allclose(np.median(found.baseline), 70, atol=0.3)
    assert found.background_images.shape == (len(found.background_traces), 1600)
    match = np.argmax(np.abs(np.corrcoef(np.concatenate([found.traces, traces]))[:2, 2:]), axis=1)
    assert sorted(match) == [0, 1]

    def read(out: Any) -> None:
        out[:] = movie

    again = solve(movie.copy(), inside, 4.0, CnmfeSettings(), lambda *event: None, read_again=read)
    assert again.footprints.shape == found.footprints.shape
    np.testing.assert_allclose(again.traces, found.traces, atol=1e-3 * np.abs(found.traces).max())


def test_cut_into_tiles_it_finds_the_same_cells() -> None:
    """84 x 170 whole, and in two tiles with halos."""
    simulated = gpucells.simulate_movie(
        "one_photon", shape=(300, 84, 170), cell_diameter_px=8.0, n_cells=20, background_change=0.1, seed=1
    )
    movie, run = simulated.movie, {"cell_diameter_px": 8.0}
    plan = plan_run(gpucells.open_movie(movie), "cnmfe", RunSettings.from_values(run | {"preset": "one_photon"}))
    told: list[str] = []
    whole = extract(movie, run)
    memory = int(4 * 84 * 125 * (len(movie) // plan.factor) * BYTES_PER_SAMPLE)
    tiled = extract(movie, run | {"memory_bytes": memory, "progress": lambda event: told.append(event.stage)})
    assert "refine, tile 2 of 2" in told
    first, second = whole.accepted_only(), tiled.accepted_only()
    assert scores(whole, simulated).f1 == scores(tiled, simulated).f1 == 1
    pairs = match_cells(first, second).pairs
    assert len(pairs) == 20
    r = np.array([np.corrcoef(first.traces[i], second.traces[j])[0, 1] for i, j in pairs])
    assert np.median(r) > 0.98  # .989: the backgrounds of a tile are not those of the whole image
    assert r.min() > 0.88  # .927


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"ring_radii": 3}, "unknown setting 'ring_radii'", "ring_radius"),
        ({"min_corr": 1.5}, "min_corr = 1.5", "local correlation"),
        ({"min_pnr": -1}, "min_pnr = -1", "noise"),
        ({"searches": 0}, "searches = 0", "looked for"),
        ({"searches": 11}, "searches = 11", "looked for"),
        ({"echo_correlation": 0}, "echo_correlation = 0", "transients"),
        ({"ring": "maybe"}, "ring = 'maybe'", "background"),
        ({"ring_radius": 1.0}, "ring_radius = 1.0", "ring"),
        ({"ring_spacing": 0.0}, "ring_spacing = 0.0", "blocks"),
        ({"ring_outlier": 0.0}, "ring_outlier = 0.0", "transient"),
        ({"n_background": -1}, "n_background = -1", "background"),
        ({"init": "greedy"}, "unknown setting 'init'", ""),
        ({"s_min": 1.0, "deconvolution_penalty": 1.0}, "exclude each other", "one of them"),
    ],
)
def test_wrong_settings_are_explained(simulated: Any, settings: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        extract(simulated.movie, **settings)
    assert message in caught.value.message
    assert hint in caught.value.hint
