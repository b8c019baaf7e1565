"""The columns of the table that no rule judges by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.event_correlation import event_correlation as slow_event_correlation
from reference.planted import footprints, transients
from scipy import sparse

import gpucells
from gpucells.candidates.footprints import EDGE, window_side
from gpucells.candidates.quality import event_correlation, measure_neighbours, measure_traces
from gpucells.ops.patches import Patches, grow
from gpucells.ops.robust_footprints import Known
from gpucells.report.facts import gather_facts, readable
from gpucells.report.page import page_data
from gpucells.report.picture import draw_picture

SHAPE, RADIUS, N_FRAMES = (32, 32), 4.0, 400
INSIDE = np.ones(SHAPE, bool)


def scene(noise: float = 1.0) -> tuple[Any, Any, Any, Any, Any]:
    """Two cells that overlap, a field and offsets: movie, cells, traces with a level, background, offset."""
    rng = np.random.default_rng(0)
    cells = footprints(SHAPE, [(15, 12), (15, 17), (27, 27)])
    traces = (transients(rng, 3, N_FRAMES, 20) + np.array([[3.0], [-2], [0]])).astype(np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    known = Known(sparse.csc_array((y * x / 100.0).reshape(1, -1), dtype=np.float32), rng.normal(
        3, 4, (1, N_FRAMES)).astype(np.float32))  # fmt: skip
    offset = rng.normal(0, 5, SHAPE[0] * SHAPE[1]).astype(np.float32)
    movie = cells.T @ traces + known.images.T @ known.traces + offset[:, None]
    movie += noise * rng.normal(size=movie.shape)
    return movie.astype(np.float32), cells, traces, known, offset


def correlate(images: Any, which: Any = None, noise: float = 1.0, inside: Any = INSIDE) -> Any:
    movie, cells, traces, known, offset = scene(noise)
    images = cells if images is None else images
    which = np.arange(3) if which is None else which
    unit = np.ones(SHAPE[0] * SHAPE[1], np.float32)
    return event_correlation(movie, images, traces, unit, known, offset, inside, RADIUS, which)


def test_true_footprints_correlate_with_the_movie_once_all_else_is_off() -> None:
    np.testing.assert_allclose(correlate(None, noise=0), 1, atol=1e-4)
    found = correlate(None)
    assert found.dtype == np.float32
    assert (found > 0.97).all()
    np.testing.assert_allclose(correlate(None, which=np.array([2, 0])), found[[2, 0]], atol=1e-6)


def test_a_footprint_that_is_elsewhere_or_of_another_shape_correlates_less() -> None:
    moved = correlate(footprints(SHAPE, [(15, 12), (15, 17), (24, 27)]))
    assert moved[2] < 0.8
    assert moved[:2].min() > 0.97
    ragged = footprints(SHAPE, [(15, 12), (15, 17), (27, 27)])
    ragged.data *= np.random.default_rng(1).random(len(ragged.data)).astype(np.float32)
    assert correlate(ragged)[2] < 0.9


def test_noise_of_a_pixel_is_the_movies_unit() -> None:
    movie, cells, traces, known, offset = scene(0)
    noise = np.random.default_rng(2).uniform(0.5, 2, len(movie)).astype(np.float32)
    images = Known(sparse.csc_array(known.images / noise), known.traces)
    found = event_correlation(
        movie / noise[:, None], cells, traces, noise, images, offset / noise, INSIDE, RADIUS, np.arange(3)
    )
    np.testing.assert_allclose(found, 1, atol=1e-4)


def test_a_silent_cell_an_empty_one_and_none() -> None:
    movie, cells, traces, known, offset = scene()
    unit = np.ones(len(movie), np.float32)
    traces[1] = 4
    images = sparse.csr_array(sparse.vstack([cells[:2], 0 * cells[[2]]]))
    found = event_correlation(movie, images, traces, unit, known, offset, INSIDE, RADIUS, np.arange(3))
    np.testing.assert_array_equal(found[1:], 0)
    assert event_correlation(
        movie, images, traces, unit, known, offset, INSIDE, RADIUS, np.arange(0)
    ).shape == (0,)  # fmt: skip


def test_neighbours_share_light_or_nothing() -> None:
    rng = np.random.default_rng(3)
    images = footprints(SHAPE, [(15, 12), (15, 14), (27, 27)])
    one = transients(rng, 1, N_FRAMES, 20)[0]
    traces = np.array([one, one, one]) + rng.normal(size=(3, N_FRAMES))
    found = measure_neighbours(images, traces.astype(np.float32))
    dense = images.toarray()
    cosine = dense[0] @ dense[1] / np.linalg.norm(dense[0]) / np.linalg.norm(dense[1])
    np.testing.assert_allclose(found["neighbour_overlap"], [cosine, cosine, 0], rtol=1e-5)
    assert found["neighbour_correlation"][:2] == pytest.approx(1, abs=0.05)
    assert found["neighbour_correlation"][2] == 0  # alike, but far away
    traces[1] = transients(rng, 1, N_FRAMES, 20)[0] + rng.normal(size=N_FRAMES)
    assert measure_neighbours(images, traces.astype(np.float32))["neighbour_correlation"].max() < 0.5
    assert all(column.shape == (0,) for column in measure_neighbours(images[:0], traces[:0]).values())


def test_levels_of_traces_do_not_matter() -> None:
    traces = (transients(np.random.default_rng(4), 2, 300, 15)).astype(np.float32)
    plain, raised = measure_traces(traces), measure_traces(traces + 50)
    for name, column in plain.items():
        np.testing.assert_allclose(raised[name], column, rtol=1e-3, atol=1e-4)


def test_every_column_is_in_the_manual_the_file_and_the_report(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "methods" / "extract.md").read_text(encoding="utf-8")
    table = page.split("## The quality table\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    simulated = gpucells.simulate_movie("two_photon", shape=(300, 64, 64), seed=0)
    gpucells.save_cells(gpucells.extract_cells(simulated.movie), tmp_path / "cells.h5")
    cells = gpucells.load_cells(tmp_path / "cells.h5")
    assert sorted(rows) == sorted(cells.quality)
    for name, column in cells.quality.items():
        assert np.isfinite(column[cells.accepted]).all(), name
        assert np.ptp(column[cells.accepted]) > 0, name
    assert cells.quality["event_correlation"][cells.accepted].min() > 0.9
    facts = gather_facts(cells)
    assert sorted(facts.measures) == sorted(rows)
    titles = [axes.get_title("left") for axes in draw_picture(facts).axes]
    assert {readable(name) for name in rows} <= set(titles)
    assert {measure["label"] for measure in page_data(facts)["measures"]} == {readable(name) for name in rows}


def test_event_correlation_is_that_of_the_dense_model_cell_by_cell() -> None:
    movie, cells, traces, known, offset = scene(3.0)
    noise = np.random.default_rng(5).uniform(0.5, 2, len(movie)).astype(np.float32)
    inside = INSIDE.copy()
    inside[14:, 13] = False
    patches = Patches.of(cells, SHAPE, window_side(RADIUS))
    masks = patches.replaced(grow(patches.images > EDGE, 2)).to_sparse().toarray() > 0
    wanted = slow_event_correlation(
        movie.astype(float), cells.toarray().astype(float), traces.astype(float), noise, known.images.toarray(),
        known.traces, offset, masks & inside.ravel(),
    )  # fmt: skip
    assert np.ptp(wanted) > 0.01
    for which in (np.arange(3), np.array([2, 0])):
        found = event_correlation(movie, cells, traces, noise, known, offset, inside, RADIUS, which)
        np.testing.assert_allclose(found, wanted[which], atol=2e-5)
