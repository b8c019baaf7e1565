"""The result that a user keeps: accepted and rejected cells in one order, baselines, images, provenance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints
from scipy import sparse

import gpucells
from gpucells.model.cells import Cells
from gpucells.model.components import Components, FinalCells, Rejected
from gpucells.model.provenance import StageCost
from gpucells.postprocess.assemble import assemble, identity, provenance
from gpucells.tiles.working_movie import Summary

SHAPE, N_FRAMES, FACTOR = (20, 30), 24, 4


def movie() -> Any:
    frames = np.random.default_rng(0).integers(0, 1000, (N_FRAMES, *SHAPE)).astype(np.uint16)
    return gpucells.open_movie(frames, frame_rate_hz=8.0, pixel_size_um=1.5)


def put_together(n_cells: int = 2, n_rejected: int = 1, baseline: float = 50.0, **model: Any) -> Cells:
    found = footprints(SHAPE, [(5, 6), (12, 20), (15, 8)][: n_cells + n_rejected])
    dropped = Rejected(
        sparse.csr_array(found[n_cells:]), np.full((n_rejected, N_FRAMES // FACTOR), 7, np.float32),
        ("too small",) * n_rejected, {"snr": np.full(n_rejected, 1, np.float32)},
    )  # fmt: skip
    flat = np.full(SHAPE[0] * SHAPE[1], baseline, np.float32)
    components = Components(
        sparse.csr_array(found[:n_cells]), np.zeros((n_cells, N_FRAMES // FACTOR), np.float32), flat, flat / 10,
        flat / 100, np.zeros((0, N_FRAMES // FACTOR), np.float32), {"snr": np.full(n_cells, 9, np.float32)}, dropped,
    )  # fmt: skip
    images = [np.full(SHAPE, value, np.float32) for value in (1, 2, 3)]
    summary = Summary(*images, np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 2 == 0)
    traces = np.arange(n_cells * N_FRAMES, dtype=np.float32).reshape(n_cells, N_FRAMES)
    correlation, final = np.full(SHAPE, 4, np.float32), FinalCells(components, traces, **model)
    return assemble(movie(), final, FACTOR, summary, correlation, "extract", {"extract": {"a": 1}})


def test_accepted_come_first_and_every_column_follows() -> None:
    cells = put_together()
    assert cells.accepted.tolist() == [True, True, False]
    assert cells.rejection == ("", "", "too small")
    assert cells.quality["snr"].tolist() == [9, 9, 1]
    np.testing.assert_array_equal(cells.traces[:2], np.arange(2 * N_FRAMES).reshape(2, N_FRAMES))
    np.testing.assert_array_equal(cells.traces[2], 7)  # stretched to the full rate
    assert cells.traces.dtype == cells.f0.dtype == np.float32
    np.testing.assert_allclose(cells.centroids(), [(5, 6), (12, 20), (15, 8)], atol=1e-3)
    assert (cells.frame_rate_hz, cells.pixel_size_um, cells.method) == (8.0, 1.5, "extract")
    assert cells.settings == {"extract": {"a": 1}}


def test_a_models_traces_are_the_accepted_cells_and_nothing_for_the_others() -> None:
    lines = np.arange(2 * N_FRAMES, dtype=np.float32).reshape(2, N_FRAMES)
    images = np.ones((3, SHAPE[0] * SHAPE[1]), np.float32)
    cells = put_together(
        denoised=lines, spikes=2 * lines, background_images=images, background_traces=lines[[0, 1, 1]],
        quality={"ar_1": np.array([0.8, 0.9], np.float32)},
    )  # fmt: skip
    for got, wanted in ((cells.denoised, lines), (cells.spikes, 2 * lines)):
        assert got is not None
        np.testing.assert_array_equal(got[:2], wanted)
        assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(cells.quality["ar_1"], np.array([0.8, 0.9, np.nan], np.float32))
    assert cells.background_images is not None
    assert cells.background_images.shape == (3, *SHAPE)
    assert cells.background_traces is not None


def test_f0_is_the_light_under_the_cell() -> None:
    np.testing.assert_allclose(put_together(baseline=50.0).f0, 50, rtol=1e-5)
    for baseline in (0.0, -3.0):  # a movie whose mean was taken off has no dF/F
        assert np.isnan(put_together(baseline=baseline).f0).all()


def test_images_are_the_movies_in_its_units() -> None:
    images = put_together().summary_images
    values = {name: float(image.ravel()[0]) for name, image in images.items()}
    assert values == {
        "mean": 1, "max": 2, "correlation": 4, "noise": 10, "background_gain": 0.5, "inside": 1,
    }  # fmt: skip  # the noise of one frame, not of an average of four
    assert {image.shape for image in images.values()} == {SHAPE}
    assert {image.dtype for image in images.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("n_cells", "n_rejected"), [(0, 0), (0, 2), (2, 0)])
def test_any_part_may_be_empty(n_cells: int, n_rejected: int) -> None:
    cells = put_together(n_cells, n_rejected)
    assert (cells.n_cells, int(cells.accepted.sum())) == (n_cells + n_rejected, n_cells)
    assert cells.traces.shape == (n_cells + n_rejected, N_FRAMES)


def test_identity_tells_movies_apart() -> None:
    frames = np.random.default_rng(0).integers(0, 1000, (11, 8, 9)).astype(np.uint16)
    first = identity(gpucells.open_movie(frames))
    assert first == identity(gpucells.open_movie(frames.copy()))
    assert first.startswith("11 x 8 x 9 uint16 sha256:")
    for frame in (0, 5, 10):
        other = frames.copy()
        other[frame, 3, 3] += 1
        assert identity(gpucells.open_movie(other)) != first
    assert identity(gpucells.open_movie(frames[:1])) != first


def test_provenance_says_where_a_result_came_from() -> None:
    cost = StageCost("read movie", 1.0, 2.0, 3)
    kept = provenance(movie(), "cpu", 7, [cost], ("dim",))
    assert (kept.device, kept.seed, kept.source, kept.stages, kept.warnings) == ("cpu", 7, "array", (cost,), ("dim",))
    assert {"python", "gpucells", "numpy", "numba"} <= kept.versions.keys()
    assert kept.versions["numpy"] == np.__version__
    assert kept.created.endswith("+00:00")
