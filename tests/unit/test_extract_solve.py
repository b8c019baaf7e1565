"""EXTRACT on one small tile: what was planted is found, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import sparse

from gpucells.methods.extract import solve as module
from gpucells.methods.extract.background import HatGrid
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.extract.solve import solve
from gpucells.model.components import Components

SHAPE, RADIUS, N_FRAMES = (48, 48), 4.0, 300
CENTRES = [(10, 10), (14, 34), (30, 20), (38, 40), (39, 8), (24, 40)]


def planted(seed: int = 0, height: float = 12.0) -> tuple[Any, Any, Any]:
    """Six cells in unit noise on light that comes and goes over the whole frame: movie, footprints, traces."""
    rng = np.random.default_rng(seed)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), N_FRAMES, height)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slow = np.cumsum(rng.normal(0, 0.2, (2, N_FRAMES)), axis=1)
    light = np.einsum("yx,t->yxt", 1 + y / 48, slow[0]) + np.einsum("yx,t->yxt", x / 48, slow[1])
    movie = (cells.T @ traces).reshape(*SHAPE, N_FRAMES) + light + 100 + rng.normal(size=(*SHAPE, N_FRAMES))
    return movie.astype(np.float32), cells.toarray(), traces


def run(movie: Any, inside: Any = None, start: Any = None, **settings: Any) -> Components:
    chosen = ExtractSettings(**settings)
    rows, columns = slice(0, movie.shape[0]), slice(0, movie.shape[1])
    hats = HatGrid.over(movie.shape[:2], chosen.background_spacing * RADIUS).on(rows, columns)
    inside = np.ones(movie.shape[:2], bool) if inside is None else inside
    return solve(movie.copy(), inside, hats, RADIUS, chosen, lambda *event: None, start)


def cosine(found: Any, truth: Any) -> np.ndarray:
    norms = np.linalg.norm(found, axis=1)[:, None] * np.linalg.norm(truth, axis=1)
    return np.asarray(found @ truth.T / norms)


def all_finite(components: Components) -> bool:
    rejected = components.rejected
    arrays = [
        components.footprints.data, components.traces, components.baseline, components.noise, components.gain,
        components.field, components.quality["snr"], rejected.footprints.data, rejected.traces,
    ]  # fmt: skip
    return all(np.isfinite(array).all() for array in arrays)


@pytest.fixture(scope="module")
def found() -> Components:
    return run(planted()[0])


def test_all_cells_are_found_and_nothing_else(found: Components) -> None:
    _, truth, traces = planted()
    assert found.footprints.shape == (len(CENTRES), SHAPE[0] * SHAPE[1])
    agreement = cosine(found.footprints.toarray(), truth)
    partner = agreement.argmax(axis=1)
    np.testing.assert_array_equal(np.sort(partner), np.arange(len(CENTRES)))
    assert agreement.max(axis=1).min() > 0.9
    for ours, theirs in zip(found.traces, traces[partner], strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    heights = [np.polyfit(theirs, ours, 1)[0] for ours, theirs in zip(found.traces, traces[partner], strict=True)]
    np.testing.assert_allclose(heights, 1, atol=0.06)  # in the movie's units; the level is for the final traces to set


def test_parts_have_their_shapes_types_and_units(found: Components) -> None:
    n_pixels = SHAPE[0] * SHAPE[1]
    assert found.footprints.dtype == found.traces.dtype == found.noise.dtype == np.float32
    assert found.footprints.toarray().max(axis=1) == pytest.approx(1)
    assert found.footprints.data.min() >= 0
    assert found.baseline.shape == found.noise.shape == found.gain.shape == (n_pixels,)
    assert found.field.shape[1] == N_FRAMES
    np.testing.assert_allclose(found.noise, 1, atol=0.35)
    np.testing.assert_allclose(found.baseline, 100, atol=6)
    assert {len(column) for column in found.quality.values()} == {len(CENTRES)}
    rejected = found.rejected
    assert rejected.footprints.shape[0] == len(rejected.traces) == len(rejected.reasons)
    assert all(len(column) == len(rejected.reasons) for column in rejected.quality.values())
    assert all(rejected.reasons)
    assert all_finite(found)


def test_the_unit_and_offset_of_the_movie_do_not_matter(found: Components) -> None:
    other = run(planted()[0] * np.float32(1000) - np.float32(5000))
    assert other.footprints.shape == found.footprints.shape
    assert cosine(other.footprints.toarray(), found.footprints.toarray()).max(axis=1).min() > 0.99
    assert other.traces.max() == pytest.approx(1000 * found.traces.max(), rel=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_noise_gives_no_cell(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(10, 2, (*SHAPE, N_FRAMES)).astype(np.float32)
    components = run(noise)
    assert components.footprints.shape == (0, SHAPE[0] * SHAPE[1])
    assert components.traces.shape == (0, N_FRAMES)
    assert all_finite(components)


def test_without_a_background_model_a_quiet_movie_works_too() -> None:
    rng = np.random.default_rng(3)
    truth = footprints(SHAPE, CENTRES)
    movie = (truth.T @ transients(rng, 6, N_FRAMES, 12)).reshape(*SHAPE, N_FRAMES) + rng.normal(size=(*SHAPE, N_FRAMES))
    components = run(movie.astype(np.float32), background="none")
    assert components.footprints.shape[0] == len(CENTRES)
    assert components.field.shape == (0, N_FRAMES)


def test_masked_pixels_stay_empty() -> None:
    inside = np.ones(SHAPE, bool)
    inside[:, 34:] = False  # through the middle of one cell, and two are gone
    components = run(planted()[0], inside)
    images = components.footprints.toarray().reshape(-1, *SHAPE)
    assert len(images) >= 3
    assert not images[:, :, 34:].any()
    assert all_finite(components)


def with_dead_pixels() -> Any:
    movie, truth, _ = planted()
    movie[20:28] = 0  # a band of dead rows
    movie[10, 10] = 7  # a dead pixel in the middle of a cell
    return movie, truth


def test_constant_pixels_spoil_nothing() -> None:
    movie, truth = with_dead_pixels()
    components = run(movie)
    assert all_finite(components)
    assert (cosine(components.footprints.toarray(), truth).max(axis=0) > 0.9).sum() >= 4


def test_constant_pixels_stay_empty() -> None:
    images = run(with_dead_pixels()[0]).footprints.toarray().reshape(-1, *SHAPE)
    assert not images[:, 20:28].any()
    assert not images[:, 10, 10].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_spoil_nothing_and_stay_empty(value: float) -> None:
    movie, truth, _ = planted()
    movie[10, 10, 7] = movie[30, 41, :] = value  # once in the middle of a cell, and a pixel that never is
    components = run(movie)
    assert all_finite(components)
    assert (cosine(components.footprints.toarray(), truth).max(axis=0) > 0.9).sum() == len(CENTRES)
    images = components.footprints.toarray().reshape(-1, *SHAPE)
    assert not images[:, 10, 10].any()
    assert not images[:, 30, 41].any()


@pytest.mark.parametrize(
    ("n_rounds", "wanted"), [(1, [1]), (2, [0.6, 1]), (3, [0.6, 0.8, 1]), (5, [0.6, 0.8, 1, 1, 1])]
)
def test_the_last_round_asks_for_the_whole_bar(
    monkeypatch: pytest.MonkeyPatch, n_rounds: int, wanted: list[float]
) -> None:
    asked = []

    def watched(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return judge(*arguments)

    judge = module.judge
    monkeypatch.setattr(module, "judge", watched)
    run(planted()[0], max_iter=n_rounds)
    assert asked == [*wanted, 0.0]  # and once to measure what is left


def test_a_footprint_that_vanishes_is_rejected_with_its_last_image_and_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, seen = module.update_footprints, []

    def losing_one(movie: Any, traces: Any, images: Any, *rest: Any) -> Any:
        found, scale = update(movie, traces, images, *rest)
        if not seen:  # the first round loses the third cell
            seen.append((images[[2]], traces[2]))
            keep = np.arange(len(scale)) != 2
            found, scale = sparse.csr_array(sparse.diags_array(keep * 1.0) @ found), np.where(keep, scale, 0)
        return found, scale.astype(np.float32)

    monkeypatch.setattr(module, "update_footprints", losing_one)
    components = run(planted()[0], start=footprints(SHAPE, CENTRES), search_after_init=False)
    assert components.footprints.shape[0] == len(components.traces) == len(CENTRES) - 1
    assert [reason.split(":")[0] for reason in components.rejected.reasons] == ["vanished"]
    ((image, trace),) = seen
    np.testing.assert_array_equal(components.rejected.footprints.toarray(), image.toarray())
    np.testing.assert_array_equal(components.rejected.traces[0], trace)
    assert components.rejected.quality["snr"][0] > 5  # measured as it was


@pytest.mark.parametrize("value", [0.0, 55.0])
def test_a_movie_in_which_nothing_moves(value: float) -> None:
    components = run(np.full((20, 20, 50), value, np.float32))
    assert components.footprints.shape[0] == 0
    assert all_finite(components)


def test_a_movie_of_integers_has_no_infinite_noise() -> None:
    """Dim movies in counts: most second differences are 0 in the darkest pixels."""
    rng = np.random.default_rng(4)
    movie = rng.poisson(0.05, (24, 24, 200)).astype(np.float32)
    assert all_finite(run(movie))


def test_given_footprints_are_the_start() -> None:
    movie, truth, traces = planted()
    start = footprints(SHAPE, CENTRES[:4])
    components = run(movie, start=start, search_after_init=False)
    agreement = cosine(components.footprints.toarray(), truth)
    assert len(agreement) == 4
    np.testing.assert_array_equal(agreement.argmax(axis=1), np.arange(4))
    for ours, theirs in zip(components.traces, traces, strict=False):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.97


def test_light_that_bends_within_a_coarse_node_stays_out_of_the_final_traces() -> None:
    movie, truth, traces = planted()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - 23.5
    slow = np.sin(np.arange(N_FRAMES) / 25)
    movie += ((np.cos(y / 5) * np.cos(x / 5))[:, :, None] * slow).astype(np.float32)
    coarse, fine = HatGrid.over(SHAPE, 16.0), HatGrid.over(SHAPE, 8.0)
    whole = slice(0, SHAPE[0]), slice(0, SHAPE[1])
    inside, settings = np.ones(SHAPE, bool), ExtractSettings(max_iter=3)
    worst = {}
    for name, hold in (("refined", False), ("held", True)):
        start = None if name == "refined" else sparse.csr_array(truth.astype(np.float32))
        for two in (False, True):
            levels = (coarse.on(*whole), coarse.at_nodes_of(fine)) if two else None
            hats = (fine if two else coarse).on(*whole)
            found = solve(movie.copy(), inside, hats, RADIUS, settings, lambda *event: None, start, hold, levels)
            assert found.field.shape == (hats.n_nodes, N_FRAMES)
            best = cosine(found.footprints.toarray(), truth).argmax(axis=0)
            worst[name, two] = min(np.corrcoef(found.traces[best[i]], traces[i])[0, 1] for i in range(len(CENTRES)))
    for name in ("refined", "held"):
        assert worst[name, False] < 0.965 < 0.97 < worst[name, True], worst
