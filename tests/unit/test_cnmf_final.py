"""The last updates over the movie: blocks do not matter, types do not matter, and dense algebra says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import optimize, sparse

from gpucells.candidates.footprints import Windows
from gpucells.factorisation.final import FinalUpdates, order_cells
from gpucells.factorisation.temporal import deconvolved
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.model.components import Components, FinalCells, Rejected

SHAPE, RADIUS, N_FRAMES = (28, 30), 4.0, 150
N_PIXELS = SHAPE[0] * SHAPE[1]
CENTRES = [(7, 8), (9, 14), (20, 20), (20, 7)]  # the first two overlap
PLAIN = {"footprint_z": 0.0, "smooth_footprints": False}


class Planted:
    def __init__(self, n_cells: int = 4) -> None:
        rng = np.random.default_rng(1)
        self.cells = footprints(SHAPE, CENTRES[:n_cells])
        self.noise = rng.uniform(3, 6, N_PIXELS).astype(np.float32)
        self.baseline = rng.uniform(60, 70, N_PIXELS).astype(np.float32)
        self.traces = transients(rng, n_cells, N_FRAMES, 60).astype(np.float32)
        field = np.linalg.qr(np.sin(np.outer(np.arange(N_FRAMES), [0.05, 0.11])))[0].T
        self.field = (field - field.mean(axis=1, keepdims=True)).astype(np.float32)
        images = np.stack([np.linspace(10, 20, N_PIXELS), np.linspace(-8, 8, N_PIXELS)])
        self.images = images.astype(np.float32)  # in units of the noise
        movie = self.cells.T @ self.traces + (self.images * self.noise).T @ self.field + self.baseline[:, None]
        movie += self.noise[:, None] * rng.normal(size=movie.shape)
        self.frames = np.clip(np.rint(movie.T), 0, 255).reshape(N_FRAMES, *SHAPE)

    def components(self) -> Components:
        """Where the tiles might leave it: footprints a little off, traces and images roughly right."""
        n_cells = len(self.traces)
        rough = footprints(SHAPE, CENTRES[:n_cells], width=1.6)
        quality = {"snr": np.arange(n_cells, dtype=np.float32)}
        return Components(
            rough, 0.8 * self.traces, self.baseline, self.noise, np.ones(N_PIXELS, np.float32),
            np.zeros((0, N_FRAMES), np.float32), quality, Rejected.nobody(rough, self.traces, quality),
            background_images=0.9 * self.images, background_traces=self.field,
        )  # fmt: skip

    def run(
        self, frames: Any = None, length: int = N_FRAMES, hold: bool = False, noise: Any = None, **settings: Any
    ) -> FinalCells:
        frames = self.frames.astype(np.uint8) if frames is None else frames
        noise = self.noise if noise is None else noise
        updates = FinalUpdates(self.components(), noise, SHAPE, RADIUS, CnmfSettings(**settings), hold)
        for number in range(updates.n_passes):
            updates.begin(number)
            for start in range(0, N_FRAMES, length):
                some = slice(start, min(start + length, N_FRAMES))
                updates.see(some, frames[some])
            updates.end()
        return updates.result()


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def whole(planted: Planted) -> FinalCells:
    return planted.run()


def require_close(first: FinalCells, second: FinalCells, rtol: float = 1e-3) -> None:
    a, b = first.components.footprints.toarray(), second.components.footprints.toarray()
    np.testing.assert_allclose(a, b, atol=rtol)
    for name in ("traces", "denoised", "spikes", "background_images"):
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_allclose(one, other, atol=rtol * np.abs(other).max(), err_msg=name)


def test_truth_is_approached(planted: Planted, whole: FinalCells) -> None:
    found, truth = whole.components.footprints.toarray(), planted.cells.toarray()
    cosine = (found * truth).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    assert cosine.min() > 0.985
    for ours, theirs in zip(whole.traces, planted.traces, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.965  # the spikes' penalty costs more than this little noise
        assert np.polyfit(theirs, ours, 1)[0] == pytest.approx(1, abs=0.06)
    for ours, theirs in zip(whole.denoised, planted.traces, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.965  # the spikes' penalty costs more than this little noise


def test_parts_have_their_shapes_and_units(planted: Planted, whole: FinalCells) -> None:
    assert whole.denoised.shape == whole.spikes.shape == whole.traces.shape == (4, N_FRAMES)
    assert whole.background_images.shape == (3, N_PIXELS)
    np.testing.assert_array_equal(whole.background_images[0], planted.baseline)
    np.testing.assert_array_equal(whole.background_traces[0], 1)
    arrays = (whole.traces, whole.denoised, whole.spikes, whole.background_images, whole.background_traces)
    assert all(array.dtype == np.float32 for array in arrays)
    assert whole.spikes.min() >= 0
    assert {len(column) for column in whole.quality.values()} == {4}
    np.testing.assert_allclose(whole.components.footprints.max(axis=1).toarray(), 1, rtol=1e-6)


def test_cells_and_background_together_are_the_movie(planted: Planted, whole: FinalCells) -> None:
    model = whole.components.footprints.T @ whole.traces + whole.background_images.T @ whole.background_traces
    left = (planted.frames.reshape(N_FRAMES, -1).T - model) / planted.noise[:, None]
    assert (left**2).mean() == pytest.approx(1, abs=0.08)
    assert abs(left.mean()) < 0.02


@pytest.mark.parametrize("length", [1, 7, 64, 149])
def test_how_the_movie_is_cut_does_not_matter(planted: Planted, whole: FinalCells, length: int) -> None:
    require_close(planted.run(length=length), whole, rtol=2e-4)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_the_type_of_the_samples_does_not_matter(planted: Planted, whole: FinalCells, dtype: Any) -> None:
    require_close(planted.run(planted.frames.astype(dtype)), whole, rtol=2e-4)


def test_held_footprints_stay_as_they_are_in_one_pass(planted: Planted) -> None:
    held = planted.run(hold=True)
    rough = footprints(SHAPE, CENTRES, width=1.6).toarray()
    np.testing.assert_array_equal(held.components.footprints.toarray(), rough)
    design = np.concatenate([rough / planted.noise, 0.9 * planted.images]).astype(float).T
    wanted = np.linalg.lstsq(design, (planted.frames.reshape(N_FRAMES, -1).T - planted.baseline[:, None])
                             / planted.noise[:, None])[0]  # fmt: skip
    np.testing.assert_allclose(held.traces, wanted[:4], atol=2e-3 * np.abs(wanted[:4]).max())
    np.testing.assert_allclose(held.background_traces[1:], wanted[4:], atol=5e-3)


def test_images_of_averaged_frames_are_in_units_of_their_noise(planted: Planted) -> None:
    single = planted.run(hold=True)
    averaged = Planted()
    averaged.noise, averaged.images = planted.noise / 2, 2 * planted.images  # as tiles of four frames in one have it
    require_close(averaged.run(hold=True, noise=planted.noise), single, rtol=1e-4)


def test_dense_algebra_says_the_same(planted: Planted) -> None:
    """Traces, footprints, traces: each by least squares of whole matrices in double precision."""
    found = planted.run(**PLAIN)
    settings = CnmfSettings(**PLAIN)
    noise = planted.noise.astype(float)
    y = (planted.frames.reshape(N_FRAMES, -1).T - planted.baseline[:, None]) / noise[:, None]
    cells, images = footprints(SHAPE, CENTRES, width=1.6), 0.9 * planted.images.astype(float)

    def traces_of(cells: Any, images: Any) -> Any:
        both = np.linalg.lstsq(np.concatenate([cells.toarray() / noise, images]).T, y)[0]
        return both[:4], both[4:]

    traces, field = traces_of(cells, images)
    smooth = deconvolved(traces.astype(np.float32), settings, final=True).denoised
    x = np.concatenate([smooth, field])
    x -= x.mean(axis=1, keepdims=True)
    windows = Windows.of(cells, planted.noise, np.ones(SHAPE, bool), RADIUS)
    entries = windows.start()
    solved, images = np.zeros((4, N_PIXELS)), np.zeros_like(images)
    allowed = sparse.csr_array((np.ones(len(entries.data)), entries.indices, entries.indptr), shape=entries.shape)
    for pixel, may in enumerate(allowed.toarray().T.astype(bool)):
        used = np.r_[may, True, True]
        lower = np.where(np.arange(used.sum()) < may.sum(), 0, -np.inf)
        centred = y[pixel] - y[pixel].mean()
        values = optimize.lsq_linear(x[used].T, centred, (lower, np.inf), method="bvls").x
        solved[may, pixel], images[:, pixel] = values[:-2], values[-2:]
    entries.data = solved[allowed.toarray() > 0].astype(np.float32)
    norms = np.linalg.norm(x[:4], axis=1).astype(np.float32)
    cells, _ = windows.finish(entries, norms, RADIUS, settings, True)
    traces, field = traces_of(cells, images)
    np.testing.assert_allclose(found.components.footprints.toarray(), cells.toarray(), atol=5e-3)
    np.testing.assert_allclose(found.traces, traces, atol=5e-3 * np.abs(traces).max())
    model = images.T @ field
    np.testing.assert_allclose(
        found.background_images[1:].T @ found.background_traces[1:] / noise[:, None], model, atol=0.03
    )


def test_pixels_that_do_not_count_have_no_part(planted: Planted, whole: FinalCells) -> None:
    noise = planted.noise.copy()
    gone = np.zeros(SHAPE, bool)
    gone[:, :3] = gone[20, 20] = True
    noise[gone.ravel()] = np.inf
    frames = planted.frames.astype(np.float32)
    frames[:, gone] = np.nan
    found = planted.run(frames, noise=noise)
    assert not found.components.footprints[:, gone.ravel()].toarray().any()
    arrays = (found.traces, found.denoised, found.background_images, found.background_traces)
    assert all(np.isfinite(array).all() for array in arrays)
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(found.traces, whole.traces, strict=True)) > 0.99


def test_no_cells(planted: Planted) -> None:
    found = Planted(0).run(Planted(0).frames.astype(np.uint8))
    assert found.traces.shape == found.denoised.shape == (0, N_FRAMES)
    assert found.background_images.shape == (3, N_PIXELS)
    assert np.isfinite(found.background_traces).all()


def test_a_cell_whose_footprint_would_vanish_stays_as_the_tile_saw_it(planted: Planted) -> None:
    silent = Planted()
    quiet = silent.cells.toarray()[2]
    silent.frames = np.rint(silent.frames - np.outer(silent.traces[2], quiet).reshape(silent.frames.shape))
    found = silent.run(silent.frames.astype(np.float32), footprint_z=6.0)
    np.testing.assert_allclose(
        found.components.footprints[[2]].toarray(), footprints(SHAPE, CENTRES, width=1.6)[[2]].toarray(), atol=1e-6
    )
    assert np.isfinite(found.traces).all()


@pytest.mark.parametrize("most", ["auto", 4, 3, 1, 0])
def test_no_more_cells_than_asked_for(planted: Planted, most: Any) -> None:
    components = planted.components()
    components.traces[1] *= 0.1
    limited = order_cells(components, CnmfSettings(n_cells=most))
    n_cells = 4 if most == "auto" else most
    assert limited.footprints.shape[0] == len(limited.traces) == len(limited.quality["snr"]) == n_cells
    assert len(limited.rejected.reasons) == 4 - n_cells
    assert all(f"n_cells = {most}" in reason for reason in limited.rejected.reasons)
    if most == 3:
        np.testing.assert_array_equal(limited.rejected.quality["snr"], [1])
