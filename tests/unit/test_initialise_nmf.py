"""The starts of CNMF that factor the movie: cells of simulated movies, edges, memory, both devices."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, pixel_movie, transients
from scipy import ndimage, sparse
from scipy.optimize import linear_sum_assignment

import gpucells
from gpucells.errors import InputError, SettingsError
from gpucells.methods.cnmf import above_baseline as smoothing
from gpucells.methods.cnmf import neighbour_graph
from gpucells.methods.cnmf.above_baseline import above_baseline
from gpucells.methods.cnmf.initialise_nmf import compressed_nmf, graph_nmf, graph_products, sparse_nmf
from gpucells.methods.cnmf.neighbour_graph import affinities, lazy_graph
from gpucells.ops.nmf_hals import sweep_factor

EVERY = [sparse_nmf, graph_nmf, compressed_nmf]
SHAPE, CENTRES = (30, 34), [(6, 6), (8, 24), (15, 14), (22, 27), (24, 8)]


def planted(noise: float = 1.0, n_frames: int = 300) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(5)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), n_frames, 10)
    return pixel_movie(rng, cells, traces, noise) + np.float32(50), cells, traces


def found(result: tuple[Any, Any], cells: Any, traces: Any) -> Any:
    """Return which true cells have a partner with footprint cosine and trace correlation of at least .5."""
    a, b = (np.asarray(m.toarray(), float) for m in (cells, result[0]))
    cosine = a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    true, ours = linear_sum_assignment(-cosine)
    r = np.array([np.corrcoef(traces[i], result[1][j])[0, 1] for i, j in zip(true, ours, strict=True)])
    hits = np.zeros(len(a), bool)
    hits[true] = (cosine[true, ours] >= 0.5) & (r >= 0.5)
    return hits


@pytest.mark.parametrize("initialise", EVERY)
def test_planted_cells_are_found_as_compact_footprints(initialise: Any) -> None:
    movie, cells, traces = planted()
    before = movie.copy()
    result = initialise(movie, SHAPE, len(CENTRES))
    np.testing.assert_array_equal(movie, before)
    assert found(result, cells, traces).all()
    images, amplitudes = result
    assert isinstance(images, sparse.csr_array)
    assert images.dtype == amplitudes.dtype == np.float32
    assert images.shape == (5, len(movie))
    assert amplitudes.shape == (5, movie.shape[1])
    assert min(images.min(), amplitudes.min()) >= 0
    np.testing.assert_array_equal(images.max(axis=1).toarray(), 1)
    assert np.diff(images.indptr).max() < 2 * np.diff(cells.indptr).max()
    again = initialise(movie, SHAPE, len(CENTRES))
    np.testing.assert_array_equal(again[1], amplitudes)
    np.testing.assert_array_equal(again[0].toarray(), images.toarray())


@pytest.mark.parametrize("initialise", EVERY)
def test_most_cells_of_a_simulated_recording_are_found(initialise: Any) -> None:
    simulated = gpucells.simulate_movie("two_photon", shape=(400, 64, 64), seed=2, background_change=0.1, snr=8)
    truth = simulated.truth
    movie = np.ascontiguousarray(simulated.movie.reshape(400, -1).T, np.float32)
    fair = (truth.snr >= 5) & ~truth.at_border
    hits = found(initialise(movie, (64, 64), truth.n_cells), truth.footprints, truth.traces)
    assert hits[fair].mean() >= 0.6


@pytest.mark.parametrize("initialise", EVERY)
def test_units_and_offsets_do_not_matter(initialise: Any) -> None:
    movie, _, _ = planted()
    first, again = (initialise(m, SHAPE, 5, max_iterations=20) for m in (movie, 64 * movie + 512))
    np.testing.assert_allclose(again[0].toarray(), first[0].toarray(), atol=0.02)


@pytest.mark.parametrize("initialise", EVERY)
def test_nothing_to_find_gives_nothing(initialise: Any) -> None:
    flat = np.full((12, 30), 7, np.float32)
    noise = np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32)
    for movie, shape, n_cells in (
        (flat, (3, 4), 2), (noise, (3, 4), 0), (noise[:, :0], (3, 4), 2), (noise[:0], (0, 4), 2),
        (noise[:, :1], (3, 4), 2), (np.full_like(noise, np.nan), (3, 4), 3),
    ):  # fmt: skip
        images, traces = initialise(movie, shape, n_cells)
        assert isinstance(images, sparse.csr_array)
        assert images.shape == (0, len(movie))
        assert traces.shape == (0, movie.shape[1])
    for movie, shape in ((noise, (12, 1)), (noise[:1], (1, 1)), (noise[:, :2], (3, 4))):
        images, traces = initialise(movie, shape, 30)
        assert images.shape[0] == len(traces) <= min(movie.shape)
        assert np.isfinite(traces).all()


@pytest.mark.parametrize("initialise", EVERY)
def test_broken_samples_count_as_nothing(initialise: Any) -> None:
    movie, cells, traces = planted()
    movie -= 50
    movie[3] = np.nan
    movie[100, 7] = np.inf
    result = initialise(movie, SHAPE, 5)
    assert np.isfinite(result[1]).all()
    assert found(result, cells, traces).all()


def test_what_cannot_be_is_refused() -> None:
    movie = np.zeros((12, 30), np.float32)
    with pytest.raises(InputError, match="3 x 5 pixels"):
        sparse_nmf(movie, (3, 5), 2)
    for settings in ({"n_cells": -1}, {"cut": 2}, {"max_iterations": 0}, {"n_background": -1}):
        with pytest.raises(SettingsError):
            compressed_nmf(movie, (3, 4), **{"n_cells": 2, **settings})
    for settings in ({"strength": -1}, {"affinity": "dot"}, {"affinity_width": 0}):
        with pytest.raises(SettingsError):
            graph_nmf(movie, (3, 4), 2, **settings)


@pytest.mark.parametrize("strip", [1, 2**22])
@pytest.mark.parametrize("shape", [(7, 5), (1, 35), (35, 1)])
def test_smoothing_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], strip: int) -> None:
    monkeypatch.setattr(smoothing, "STRIP_BYTES", strip)
    movie = np.random.default_rng(1).gamma(2, 1, (35, 20)).astype(np.float32)
    wanted = ndimage.gaussian_filter(movie.reshape(*shape, 20), (1.2, 1.2, 0.5), truncate=2).reshape(35, 20)
    wanted = np.maximum(wanted - np.percentile(wanted, 20, axis=1, keepdims=True), 0)
    wanted /= np.sqrt((wanted**2).mean())
    np.testing.assert_allclose(above_baseline(movie, shape, 20, 1.2, 0.5), wanted, atol=1e-5)


@pytest.mark.parametrize("initialise", EVERY)
def test_one_array_of_the_movies_size_is_made(monkeypatch: pytest.MonkeyPatch, initialise: Any) -> None:
    monkeypatch.setattr(smoothing, "STRIP_BYTES", 2**18)
    monkeypatch.setattr(neighbour_graph, "BAND_BYTES", 2**18)
    movie = np.random.default_rng(0).normal(size=(6400, 500)).astype(np.float32)
    tracemalloc.start()
    try:
        initialise(movie, (80, 80), 3, max_iterations=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * movie.nbytes


@pytest.mark.parametrize("affinity", ["heat", "cosine", "binary"])
def test_affinities_are_those_of_neighbours(monkeypatch: pytest.MonkeyPatch, affinity: Any) -> None:
    monkeypatch.setattr(neighbour_graph, "BAND_BYTES", 1)
    x = np.random.default_rng(3).gamma(1, 1, (12, 40)).astype(np.float32)
    x[5] = 2
    got = affinities(x, (3, 4), affinity, 1.5, 0.02).toarray()
    for p in range(12):
        for q in range(12):
            near = p != q and max(abs(p // 4 - q // 4), abs(p % 4 - q % 4)) == 1
            r = 0.0 if 5 in (p, q) else np.corrcoef(x[p], x[q])[0, 1]
            weight = np.exp(-2 * (1 - r) / 1.5) if affinity == "heat" else r
            weight = 0 if weight <= 0.02 else 1 if affinity == "binary" else weight
            assert got[p, q] == pytest.approx(weight if near else 0, abs=1e-5)
    values = np.linalg.eigvalsh(lazy_graph(sparse.csr_array(got)).toarray())
    assert values.min() > -1e-6
    assert values.max() < 1 + 1e-6


@pytest.mark.parametrize("strength", [0.0, 1.0, 20.0])
def test_sweeps_lower_the_graphs_objective(strength: float) -> None:
    rng = np.random.default_rng(6)
    x = rng.gamma(1, 1, (20, 15))
    smooth = lazy_graph(affinities(x, (4, 5), "heat", 1.0, 0.0)).astype(np.float64)
    a, c = rng.random((3, 20)), rng.random((3, 15))
    of_a, of_c = graph_products(x, smooth, strength, a)

    def objective() -> float:
        rough = ((a - (smooth @ a.T).T) * a).sum(axis=1)
        return float(0.5 * ((x - a.T @ c) ** 2).sum() + 0.5 * strength * ((c**2).sum(axis=1) * rough).sum())

    values = [objective()]
    for _ in range(8):
        for factor, gram_and_cross in ((a, of_a), (c, of_c)):
            sweep_factor(factor, *gram_and_cross(c if factor is a else a))
            values.append(objective())
    assert (np.diff(values) <= 1e-9 * values[0]).all()


@pytest.mark.parametrize("initialise", EVERY)
def test_a_movie_on_a_device_gives_the_same(emulated_cupy: Any, initialise: Any) -> None:
    movie, _, _ = planted(n_frames=60)
    on_cpu = initialise(movie, SHAPE, 3, max_iterations=5)
    on_gpu = initialise(emulated_cupy.asarray(movie), SHAPE, 3, max_iterations=5)
    assert isinstance(on_gpu[1], np.ndarray)
    np.testing.assert_allclose(on_gpu[1], on_cpu[1], atol=2e-3 * on_cpu[1].max())
    np.testing.assert_allclose(on_gpu[0].toarray(), on_cpu[0].toarray(), atol=2e-3)
