"""Signed unmixing filters of PCA-ICA: what they see, what they do not, and how they follow their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import gaussian
from scipy import sparse

import gpucells
from gpucells.candidates.independent import principal_components, separate, squares
from gpucells.candidates.segment import segment
from gpucells.methods.pcaica.filters import Sources
from gpucells.methods.pcaica.final import FilterTraces
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.model.cells import Cells
from gpucells.model.components import Components, Filters, Rejected
from gpucells.postprocess.match import match_cells, score_cells

SHAPE, RADIUS = (32, 32), 4.0
NOISE = np.linspace(1, 3, 32 * 32, dtype=np.float32)
CHOSEN: dict[str, Any] = {"method": "pcaica", "cell_diameter_px": 8.0}


def planted(traces: np.ndarray, centres: Any = ((8, 9), (23, 22), (22, 8))) -> tuple[np.ndarray, sparse.csr_array]:
    """Cells of a movie in units of its noise, ``(n_pixels, n_frames)``; and their footprints."""
    cells = (
        np.stack([gaussian(SHAPE, centre) for centre in centres[: len(traces)]])
        .reshape(len(traces), -1)
        .astype(np.float32)
    )
    noise = np.random.default_rng(1).normal(size=(cells.shape[1], traces.shape[1]))
    return (cells.T @ traces / NOISE[:, None] + noise).astype(np.float32), sparse.csr_array(cells)


def rare(n: int, n_frames: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random((n, n_frames)) < 0.05, rng.uniform(10, 30, (n, n_frames)), 0).astype(np.float32)


def sources(movie: np.ndarray, **values: Any) -> tuple[Sources, Any]:
    settings, inside = PcaicaSettings.from_values(values), np.ones(SHAPE, bool)
    parts = separate(movie, inside, RADIUS, settings)
    seen, _ = principal_components(movie, inside, RADIUS, settings)
    found = segment(parts.images, inside, NOISE, RADIUS, settings)
    side = max(1, int(settings.binning * RADIUS))
    return Sources.of(parts, found, seen, inside, NOISE, RADIUS, side), parts


def test_squares_are_those_of_the_components() -> None:
    movie, _ = planted(rare(2))
    made = squares(np.ones(SHAPE, bool), NOISE, 3)
    np.testing.assert_allclose((made @ (movie * NOISE[:, None]))[0], movie.reshape(32, 32, -1)[:3, :3].sum((0, 1)) / 3,
                               rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("binning", [0.0, 0.7])
def test_a_filter_gives_its_components_trace(binning: float) -> None:
    movie, cells = planted(rare(3))
    made, parts = sources(movie, binning=binning)
    filters = made.filters_of(cells)
    raw = movie * NOISE[:, None]
    gathered = filters.products(np.asarray(filters.squares @ raw))
    gathered -= gathered.mean(axis=1, keepdims=True)
    segments = np.asarray((cells @ made.cut_out.T).argmax(axis=1)).ravel()  # type: ignore[attr-defined]
    wanted = parts.traces[made.component[segments]] * made.peak[segments, None]
    np.testing.assert_allclose(gathered, wanted, atol=0.02 * wanted.std())
    slopes = [np.polyfit(true, mine, 1)[0] for true, mine in zip(rare(3), gathered, strict=True)]
    np.testing.assert_allclose(slopes, 1, atol=0.15)  # the movie's units at the brightest pixel
    assert (filters.weights < 0).any(axis=1).all()
    # the mean of a frame, of squares in units of their noise, is nothing to them
    np.testing.assert_allclose(filters.weights.sum(axis=1), 0, atol=1e-3 * np.abs(filters.weights).sum(axis=1).max())


def test_cells_of_one_component_share_its_filter() -> None:
    traces = rare(2)
    traces[1] = 0.8 * traces[0]
    movie, cells = planted(traces, [(15, 10), (15, 21)])  # so near that their surroundings meet
    made, _ = sources(movie)
    filters = made.filters_of(cells)
    assert made.component.tolist() == [0, 0]
    lit = filters.weights != 0
    assert lit.any(axis=1).all()
    seen = np.asarray(filters.squares @ np.stack([*cells.toarray(), np.ones(cells.shape[1])]).T, np.float32)
    assert not (lit[0] & (seen[:, 1] > seen[:, 0])).any()
    assert not (lit[1] & (seen[:, 0] > seen[:, 1])).any()
    np.testing.assert_allclose(filters.products(seen), [[1, 0, 0], [0, 1, 0]], atol=0.02)
    alone = made.filters_of(sparse.csr_array(cells[[0]]))
    assert (alone.weights != 0).mean() > 0.9


def test_no_cells_have_no_filters() -> None:
    made, _ = sources(planted(rare(1))[0])
    assert made.filters_of(sparse.csr_array((0, 32 * 32))).weights.shape == (0, made.rows.shape[1])
    nothing, _ = sources(np.random.default_rng(0).normal(size=(32 * 32, 400)).astype(np.float32))
    assert len(nothing.component) == 0


def components(filters: Filters, footprints: sparse.csr_array, n_frames: int) -> Components:
    flat, n = np.full(footprints.shape[1], 7, np.float32), footprints.shape[0]
    traces = np.zeros((n, n_frames), np.float32)
    nobody = Rejected.nobody(footprints, traces, {})
    return Components(footprints, traces, flat, flat, flat, traces[:0], {}, nobody, filters=filters)


def test_filters_follow_their_cells() -> None:
    movie, cells = planted(rare(3))
    raw = (movie * NOISE[:, None] + 7).T.reshape(-1, *SHAPE).astype(np.float32)
    found = components(sources(movie)[0].filters_of(cells), cells, len(raw))

    def traces(of: Components) -> np.ndarray:
        updates = FilterTraces(of, PcaicaSettings())
        updates.begin(0)
        for some in (slice(0, 150), slice(150, 400)):
            updates.see(some, raw[some])
        updates.end()
        return updates.result().traces

    every = traces(found)
    np.testing.assert_allclose(np.median(every, axis=1), 0, atol=2)  # constant light is off
    np.testing.assert_array_equal(traces(found.selected(np.array([2, 0]))), every[[2, 0]])
    np.testing.assert_array_equal(traces(found.refused(np.array([False, True, False]), "odd")), every[[0, 2]])


def test_filters_of_tiles_keep_to_their_squares() -> None:
    rng = np.random.default_rng(0)
    parts = [
        Filters(rng.normal(size=(n, m)).astype(np.float32), np.zeros(n, np.int64),
                sparse.csr_array(rng.normal(size=(m, 20)).astype(np.float32)))
        for n, m in ((2, 5), (3, 4), (0, 6), (1, 3))
    ]  # fmt: skip
    frames = rng.normal(size=(20, 7)).astype(np.float32)
    both = Filters.joined(parts)
    wanted = np.concatenate([part.weights @ (part.squares @ frames) for part in parts])
    np.testing.assert_allclose(both.products(both.squares @ frames), wanted, rtol=1e-4, atol=1e-5)
    some = both.selected(np.array([5, 2]))
    np.testing.assert_allclose(some.products(both.squares @ frames), wanted[[5, 2]], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=["two_photon", "one_photon"])
def simulated(request: pytest.FixtureRequest) -> Any:
    made = gpucells.simulate_movie(
        request.param, shape=(900, 64, 96), n_cells=15, cell_diameter_px=8.0, seed=4, frame_rate_hz=10.0
    )
    return request.param, made


def extract(simulated: Any, memory_bytes: int | None = None, init: Any = None, **settings: Any) -> Cells:
    preset, made = simulated
    return gpucells.extract_cells(
        made.movie, preset=preset, memory_bytes=memory_bytes, init=init, settings={"traces": "filters"} | settings,
        **CHOSEN,
    ).accepted_only()  # fmt: skip


def test_traces_are_as_good_as_the_originals(simulated: Any) -> None:
    preset, made = simulated
    for memory_bytes, factor in ((None, 1), (None, 2), (80_000_000, 1)):  # whole; averaged; in tiles
        cells = extract(simulated, memory_bytes, downsample_time_by=factor)
        score = score_cells(
            cells.footprints, cells.traces, made.truth.footprints, made.truth.traces, cells.image_shape
        )  # fmt: skip
        assert score.trace_r_median > (0.85 if preset == "one_photon" else 0.92), (memory_bytes, factor)
        assert score.recall >= 0.8


def test_units_and_sign(simulated: Any) -> None:
    cells, plain = extract(simulated), extract(simulated, traces="regression")
    np.testing.assert_allclose(extract(simulated, output_units="std").traces.std(axis=1), 1, atol=1e-4)
    pairs = match_cells(cells, plain).pairs
    slopes = [np.polyfit(plain.traces[b], cells.traces[a], 1)[0] for a, b in pairs]
    assert 0.7 < np.median(slopes) < 1.1
    assert min(slopes) > 0.3
    centred = cells.traces - cells.traces.mean(axis=1, keepdims=True)
    assert ((centred.astype(np.float64) ** 3).mean(axis=1) > 0).mean() > 0.9


def test_held_footprints_are_solved(simulated: Any) -> None:
    preset, made = simulated
    held = gpucells.apply_footprints(made.movie, made.truth.footprints, preset=preset, settings={"traces": "filters"},
                                     **CHOSEN)  # fmt: skip
    assert len(held.traces) == made.truth.footprints.shape[0]
    assert held.denoised is not None
    assert extract(simulated, init=made.truth.footprints).denoised is None
