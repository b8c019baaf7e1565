"""The last updates with a ring: dense algebra in double precision says the same, however the movie is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import ring as slow
from reference.planted import footprints, transients
from scipy import ndimage, optimize, sparse

from gpucells.candidates.footprints import Windows
from gpucells.factorisation.final import FinalUpdates
from gpucells.factorisation.ring import Ring
from gpucells.factorisation.spatial import update_footprints
from gpucells.factorisation.temporal import deconvolved
from gpucells.methods.cnmfe.settings import CnmfeSettings
from gpucells.model.components import Components, FinalCells, Rejected

SHAPE, RADIUS, N_FRAMES = (26, 30), 4.0, 150
N_PIXELS = SHAPE[0] * SHAPE[1]
CENTRES = [(7, 8), (9, 14), (18, 20)]  # the first two overlap
PLAIN: dict[str, Any] = {"footprint_z": 0.0, "smooth_footprints": False, "ring_outlier": None}
RIDGE = 1e-3  # the default of the ring's weights


class Planted:
    """Cells, light that two images hold, and light that is smooth and that they do not."""

    def __init__(self, n_images: int) -> None:
        rng = np.random.default_rng(1)
        n_cells = len(CENTRES)
        self.cells = footprints(SHAPE, CENTRES)
        self.noise = rng.uniform(3, 6, N_PIXELS).astype(np.float32)
        self.baseline = rng.uniform(90, 100, N_PIXELS).astype(np.float32)
        self.traces = transients(rng, n_cells, N_FRAMES, 60).astype(np.float32)
        field = np.linalg.qr(np.sin(np.outer(np.arange(N_FRAMES), [0.05, 0.11])))[0].T
        self.field = (field - field.mean(axis=1, keepdims=True)).astype(np.float32)[:n_images]
        self.images = np.stack([np.linspace(10, 20, N_PIXELS), np.linspace(-8, 8, N_PIXELS)]).astype(np.float32)
        self.images = self.images[:n_images]  # in units of the noise
        local = ndimage.gaussian_filter(rng.normal(size=(N_FRAMES, *SHAPE)), (2, 10, 10), mode="reflect")
        movie = self.cells.T @ self.traces + (self.images * self.noise).T @ self.field + self.baseline[:, None]
        movie += (12 * local / local.std()).reshape(N_FRAMES, -1).T + self.noise[:, None] * rng.normal(size=movie.shape)
        self.frames = np.clip(np.rint(movie.T), 0, 255).astype(np.uint8).reshape(N_FRAMES, *SHAPE)

    def start(self) -> sparse.csr_array:
        """Footprints that are a little off."""
        return footprints(SHAPE, CENTRES, width=1.6)

    def run(self, length: int = N_FRAMES, hold: bool = False, noise: Any = None, **settings: Any) -> FinalCells:
        rough, quality = self.start(), {"snr": np.arange(len(CENTRES), dtype=np.float32)}
        components = Components(
            rough, 0.8 * self.traces, self.baseline, self.noise, np.ones(N_PIXELS, np.float32),
            np.zeros((0, N_FRAMES), np.float32), quality, Rejected.nobody(rough, self.traces, quality),
            background_images=0.9 * self.images, background_traces=self.field,
        )  # fmt: skip
        noise = self.noise if noise is None else noise
        updates = FinalUpdates(components, noise, SHAPE, RADIUS, CnmfeSettings(**settings), hold)
        for number in range(updates.n_passes):
            updates.begin(number)
            for first in range(0, N_FRAMES, length):
                some = slice(first, min(first + length, N_FRAMES))
                updates.see(some, self.frames[some])
            updates.end()
        return updates.result()


class Dense:
    """The same steps with whole matrices in double precision, and the ring's weights by their definition."""

    def __init__(self, planted: Planted, settings: CnmfeSettings) -> None:
        self.planted, self.settings, self.noise = planted, settings, planted.noise.astype(float)
        movie = planted.frames.reshape(N_FRAMES, -1).T - planted.baseline[:, None].astype(float)
        self.y = movie / self.noise[:, None]
        assert settings.ring_shape is not None
        ring = Ring.of(np.ones(SHAPE, bool), planted.noise, RADIUS, settings.ring_shape)
        self.means, self.spread = ring.means.toarray().astype(float), ring.spread.toarray().astype(float)
        self.shape = ring.shape
        self.light = np.zeros((len(self.means), N_FRAMES))
        self.known = 0.8 * planted.traces.astype(float)  # as the tiles left them

    def behind(self) -> Any:
        """The ring's light at every pixel."""
        return self.spread.T @ self.light

    def solve_traces(self, cells: Any, images: Any) -> tuple[Any, Any]:
        """Least squares; the ring's light from what that leaves; least squares of the movie without it."""
        design = np.concatenate([cells.toarray() / self.noise, images]).T
        # Nothing but the ring takes light off where there are no images: then the traces are those that knew it.
        first = np.linalg.lstsq(design, self.y)[0] if len(images) else self.known.copy()
        first[: len(CENTRES)] = np.maximum(first[: len(CENTRES)], 0)
        left = (self.means @ (self.y - design @ first)).reshape(*self.shape, N_FRAMES)
        weights, _, means = slow.ring_weights(left, np.ones(self.shape, bool), self.settings.ring_radius, RIDGE)
        self.light = slow.predicted(weights, means, left)
        both = np.linalg.lstsq(design, self.y - self.behind())[0]
        self.known = both[: len(CENTRES)]
        return self.known, both[len(CENTRES) :]

    def solve_footprints(self, cells: Any, traces: Any, field: Any) -> tuple[Any, Any]:
        """Least squares of every pixel without the ring's light; cells are not negative."""
        n_cells = len(CENTRES)
        smooth = deconvolved(traces.astype(np.float32), self.settings, final=True).denoised
        x = np.concatenate([smooth, field])
        x -= x.mean(axis=1, keepdims=True)
        windows = Windows.of(cells, self.planted.noise, np.ones(SHAPE, bool), RADIUS)
        entries = windows.start()
        allowed = sparse.csr_array((np.ones(len(entries.data)), entries.indices, entries.indptr), shape=entries.shape)
        left = self.y - self.behind()
        solved, images = np.zeros((n_cells, N_PIXELS)), np.zeros((len(field), N_PIXELS))
        for pixel, may in enumerate(allowed.toarray().T.astype(bool)):
            used = np.r_[may, np.ones(len(field), bool)]
            if not used.any():
                continue
            lower = np.where(np.arange(used.sum()) < may.sum(), 0, -np.inf)
            values = optimize.lsq_linear(x[used].T, left[pixel] - left[pixel].mean(), (lower, np.inf), method="bvls").x
            solved[may, pixel], images[:, pixel] = values[: may.sum()], values[may.sum() :]
        entries.data = solved[allowed.toarray() > 0].astype(np.float32)
        norms = np.linalg.norm(x[:n_cells], axis=1).astype(np.float32)
        finished, scale = windows.finish(entries, norms, RADIUS, self.settings, len(images) > 0)
        self.known = self.known * scale[:, None]
        return finished, images


@pytest.fixture(scope="module", params=[0, 2])
def planted(request: pytest.FixtureRequest) -> Planted:
    return Planted(request.param)


def test_held_footprints_have_the_traces_that_dense_algebra_gives(planted: Planted) -> None:
    held = planted.run(hold=True, **PLAIN)
    dense = Dense(planted, CnmfeSettings(**PLAIN))
    traces, field = dense.solve_traces(planted.start(), 0.9 * planted.images.astype(float))
    np.testing.assert_array_equal(held.components.footprints.toarray(), planted.start().toarray())
    np.testing.assert_allclose(held.traces, traces, atol=2e-3 * np.abs(traces).max())
    np.testing.assert_allclose(held.background_traces[1:], field, atol=5e-3)
    without = planted.run(hold=True, ring=False).traces
    assert np.abs(without - traces).max() > 0.05 * np.abs(traces).max(), "the ring does something"


def test_dense_algebra_says_the_same_of_all_passes(planted: Planted) -> None:
    found = planted.run(**PLAIN)
    dense = Dense(planted, CnmfeSettings(**PLAIN))
    cells, images = planted.start(), 0.9 * planted.images.astype(float)
    traces, field = dense.solve_traces(cells, images)
    cells, images = dense.solve_footprints(cells, traces, field)
    traces, field = dense.solve_traces(cells, images)
    np.testing.assert_allclose(found.components.footprints.toarray(), cells.toarray(), atol=5e-3)
    np.testing.assert_allclose(found.traces, traces, atol=5e-3 * np.abs(traces).max())
    model = found.background_images[1:].T @ found.background_traces[1:] / planted.noise[:, None]
    np.testing.assert_allclose(model, images.T @ field, atol=0.03)


def test_a_ring_brings_traces_nearer_to_the_truth() -> None:
    """Footprints as they are in the movie, on light that no component holds."""
    planted = Planted(0)
    without, with_ring = (
        [np.corrcoef(a, b)[0, 1] for a, b in zip(planted.run(hold=True, ring=ring).traces, planted.traces, strict=True)]
        for ring in (False, True)
    )
    assert all(a > b + 0.05 for a, b in zip(with_ring, without, strict=True))
    assert np.median(with_ring) > 0.83


def test_the_energy_that_cells_are_taken_away_by_is_without_the_rings_light(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no pixel on bright light would be near enough to its noise to do with fewer cells."""
    seen: list[Any] = []

    def note(*parts: Any) -> Any:
        seen.append(parts[3])
        return update_footprints(*parts)

    monkeypatch.setattr("gpucells.factorisation.final.update_footprints", note)
    planted.run(spatial_solver="nnls_l0", length=40, **PLAIN)
    dense = Dense(planted, CnmfeSettings(**PLAIN))
    dense.solve_traces(planted.start(), 0.9 * planted.images.astype(float))
    left = dense.y - dense.behind()
    (energy,) = seen
    np.testing.assert_allclose(energy, left.var(axis=1) * N_FRAMES, rtol=2e-3)
    assert np.median(left.var(axis=1) / dense.y.var(axis=1)) < 0.95, "the light is a part of it"


@pytest.mark.parametrize("length", [1, 7, 149])
@pytest.mark.parametrize("solver", ["lasso", "nnls_l0"])
def test_how_the_movie_is_cut_does_not_matter(planted: Planted, length: int, solver: str) -> None:
    whole, cut = planted.run(spatial_solver=solver), planted.run(length=length, spatial_solver=solver)
    a, b = whole.components.footprints.toarray(), cut.components.footprints.toarray()
    np.testing.assert_allclose(a, b, atol=2e-4)
    for name in ("traces", "denoised", "spikes", "background_images"):
        one, other = getattr(whole, name), getattr(cut, name)
        np.testing.assert_allclose(one, other, atol=2e-4 * np.abs(other).max(), err_msg=name)


def test_pixels_that_do_not_count_have_no_part(planted: Planted) -> None:
    noise = planted.noise.copy()
    gone = np.zeros(SHAPE, bool)
    gone[:, :4] = gone[18, 20] = True
    noise[gone.ravel()] = np.inf
    found = planted.run(noise=noise)
    assert not found.components.footprints[:, gone.ravel()].toarray().any()
    arrays = (found.traces, found.denoised, found.background_images, found.background_traces)
    assert all(np.isfinite(array).all() for array in arrays)
    whole = planted.run()
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(found.traces, whole.traces, strict=True)) > 0.97
