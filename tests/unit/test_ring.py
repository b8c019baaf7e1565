"""The ring background: its blocks, the way back to the pixels, and light that is told without the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients
from scipy import ndimage

from gpucells.factorisation.ring import FEWEST_PIXELS, Ring, RingShape

SHAPE, RADIUS, N_FRAMES = (36, 44), 4.0, 300
LAYOUT = RingShape(3.0, 1.0, 5.0)  # blocks of 4 px


def uneven(shape: tuple[int, int], seed: int = 0) -> Any:
    """Noise of pixels that is not the same everywhere."""
    return np.random.default_rng(seed).uniform(0.5, 4, shape[0] * shape[1]).astype(np.float32)


def lay(shape: tuple[int, int] = SHAPE, inside: Any = None, noise: Any = None, layout: RingShape = LAYOUT) -> Ring:
    inside = np.ones(shape, bool) if inside is None else inside
    return Ring.of(inside, uneven(shape) if noise is None else noise, RADIUS, layout)


def members(ring: Ring, shape: tuple[int, int]) -> Any:
    """``(n_blocks, height, width)`` bool, the pixels that a block is a mean of."""
    return (ring.means.toarray() != 0).reshape(-1, *shape)


@pytest.mark.parametrize("shape", [(36, 44), (37, 45), (7, 30), (3, 2), (1, 1), (1, 20)])
def test_a_blocks_mean_is_the_light_its_pixels_have_in_common(shape: tuple[int, int]) -> None:
    ring, noise = lay(shape), uneven(shape).astype(float)
    side = 4
    assert ring.shape == (-(-shape[0] // side), -(-shape[1] // side))
    movie = np.random.default_rng(1).normal(size=(shape[0] * shape[1], 5))  # in units of the noise
    for block, found in enumerate(ring.means @ movie):
        y, x = np.divmod(block, ring.shape[1])
        pixels = np.zeros(shape, bool)
        pixels[y * side : (y + 1) * side, x * side : (x + 1) * side] = True
        np.testing.assert_array_equal(members(ring, shape)[block], pixels)
        design = (1 / noise[pixels.ravel()])[:, None]  # what light of 1 is in units of each pixel's noise
        wanted = np.linalg.lstsq(design, movie[pixels.ravel()])[0][0]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        covariance = float(np.linalg.inv(design.T @ design)[0, 0])
        np.testing.assert_allclose(ring.noise[block], np.sqrt(covariance), rtol=1e-5)


def test_light_that_all_pixels_share_is_read_from_any_of_them() -> None:
    ring, noise = lay(), uneven(SHAPE)
    np.testing.assert_allclose(ring.means @ (7 / noise), 7, rtol=1e-5)
    assert ring.counts.all()


def spread_light(ring: Ring, light: Any, noise: Any, shape: tuple[int, int]) -> Any:
    """In the movie's own units."""
    return ((np.asarray(light) @ ring.spread) * noise).reshape(shape)


@pytest.mark.parametrize("shape", [(36, 44), (37, 45), (7, 30), (3, 2), (1, 1), (1, 20)])
@pytest.mark.parametrize("spacing", [0.1, 1.0, 2.5])
def test_constant_light_is_constant_everywhere(shape: tuple[int, int], spacing: float) -> None:
    noise = uneven(shape)
    ring = lay(shape, layout=RingShape(3.0, spacing, None))
    np.testing.assert_allclose(spread_light(ring, np.full(len(ring.noise), 7.0), noise, shape), 7, rtol=1e-5)


def test_a_ramp_is_a_ramp_between_the_outermost_centres_and_goes_on_level() -> None:
    ring, noise = lay(), uneven(SHAPE)
    rows, columns = (4 * np.arange(n) + 1.5 for n in ring.shape)  # px, where centres of blocks are
    light = (2 * rows[:, None] - 3 * columns[None]).ravel()
    y, x = (np.clip(np.arange(n), centres[0], centres[-1]) for n, centres in zip(SHAPE, (rows, columns), strict=True))
    np.testing.assert_allclose(
        spread_light(ring, light, noise, SHAPE), 2 * y[:, None] - 3 * x[None], atol=1e-4 * np.abs(light).max()
    )


def test_no_part_for_masked_pixels_and_for_blocks_with_too_few_others() -> None:
    inside = np.ones(SHAPE, bool)
    inside[:, 30:] = False  # in the middle of a column of blocks
    inside[8:12, 8:12] = False  # a block
    inside[9, 9] = True  # of which a sixteenth is too little
    inside[20, 20] = False
    noise = np.where(inside.ravel(), uneven(SHAPE), np.nan).astype(np.float32)
    with np.errstate(all="raise"):
        ring = lay(inside=inside, noise=np.where(inside.ravel(), noise, np.float32(1)))
    outside, blocks = ~inside.ravel(), members(ring, SHAPE)
    lone = 2 * ring.shape[1] + 2
    few = blocks.sum(axis=(1, 2)) == 0
    assert not ring.counts[lone]
    np.testing.assert_array_equal(few, ~ring.counts)
    np.testing.assert_array_equal(np.isinf(ring.noise), few)
    np.testing.assert_array_equal(few.reshape(ring.shape)[:, 8:], True)
    assert ring.counts.reshape(ring.shape)[:, 7].all(), "half of their pixels count"
    assert 1 / 16 < FEWEST_PIXELS < 0.5
    assert not ring.means.toarray()[:, outside].any()
    spread = ring.spread.toarray()
    assert not spread[:, outside].any()
    assert not spread[few].any(), "blocks without pixels shine nowhere"
    light = np.where(few, 1e6, 7.0)
    np.testing.assert_allclose(
        spread_light(ring, light, np.where(inside.ravel(), noise, 1), SHAPE)[inside], 7, rtol=1e-5
    )


def test_no_pixel_counts() -> None:
    ring = lay(inside=np.zeros(SHAPE, bool))
    assert not ring.counts.any()
    assert ring.means.nnz == ring.spread.nnz == 0
    light = ring.light(np.zeros((len(ring.noise), 5), np.float32))
    np.testing.assert_array_equal(light, 0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (1, 30), (12, 12), (20, 9)])
@pytest.mark.parametrize("n_frames", [1, 2, 40])
@pytest.mark.parametrize("outlier", [None, 5.0])
def test_an_image_smaller_than_a_ring_has_its_means_for_light(
    shape: tuple[int, int], n_frames: int, outlier: float | None
) -> None:
    ring = lay(shape, layout=RingShape(20.0, 1.0, outlier))
    left = np.random.default_rng(0).normal(3, 0.05, (len(ring.noise), n_frames)).astype(np.float32)
    light = ring.light(left)
    assert light.dtype == np.float32
    mean = np.broadcast_to(left.mean(axis=1, keepdims=True), left.shape)
    np.testing.assert_allclose(light, mean, atol=1e-4)


def test_the_offsets_are_those_of_the_radius() -> None:
    for layout, blocks in ((LAYOUT, 3.0), (RingShape(3.0, 2.0, None), 1.5), (RingShape(1.5, 4.0, None), 1.0)):
        distance = np.linalg.norm(lay(layout=layout).offsets, axis=1)
        assert blocks <= distance.min() < distance.max() < blocks + 1
    assert lay(layout=RingShape(3.0, 0.01, None)).shape == SHAPE, "blocks of a pixel at least"


@pytest.mark.parametrize("n_cells", [0, 1, 5])
def test_products_at_pixels_are_those_of_the_whole_light(n_cells: int) -> None:
    rng = np.random.default_rng(2)
    inside = np.ones(SHAPE, bool)
    inside[:5] = False
    ring = lay(inside=inside)
    traces = rng.normal(size=(n_cells, 30)).astype(np.float32)
    light = rng.normal(size=(len(ring.noise), 30)).astype(np.float32)
    where = rng.random((n_cells, inside.size)) < 0.1
    where[1:2] = False  # a cell without a pixel
    indptr = np.concatenate([[0], np.cumsum(where.sum(axis=1))])
    cells, pixels = np.nonzero(where)
    found = ring.at(traces, light, indptr, pixels)
    wanted = traces.astype(float) @ (light.T.astype(float) @ ring.spread.toarray())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted[cells, pixels], atol=1e-4)


def test_energy_is_that_of_the_light_at_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = lay()
    light = np.random.default_rng(2).normal(size=(len(ring.noise), 30)).astype(np.float32)
    wanted = ((ring.spread.toarray().T.astype(float) @ light) ** 2).sum(axis=1)
    np.testing.assert_allclose(ring.energy(light), wanted, rtol=1e-5)
    monkeypatch.setattr("gpucells.factorisation.ring.ENERGY_BYTES", 1000)  # a few pixels at a time
    np.testing.assert_allclose(ring.energy(light), wanted, rtol=1e-5)
    np.testing.assert_array_equal(ring.energy(light[:, :0]), 0)


class Scene:
    """Light that is smooth in space and has many components, cells on it, and noise that is not the same everywhere."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.noise = rng.uniform(0.8, 1.6, SHAPE[0] * SHAPE[1]).astype(np.float32)
        wild = ndimage.gaussian_filter(rng.normal(size=(N_FRAMES, *SHAPE)), (3, 12, 12), mode="reflect")
        self.light = (10 * wild / wild.std()).reshape(N_FRAMES, -1).T
        self.cells = footprints(SHAPE, [(10, 12), (22, 30)])
        self.traces = transients(rng, 2, N_FRAMES, 80, rate=0.01)
        noise = self.noise[:, None] * rng.normal(size=self.light.shape)
        self.without = ((self.light + noise) / self.noise[:, None]).astype(np.float32)
        self.movie = (self.without + self.cells.T @ self.traces / self.noise[:, None]).astype(np.float32)

    def error(self, layout: RingShape, movie: Any) -> Any:
        """What the light that a ring tells differs from what shone, ``(height, width, n_frames)``."""
        ring = Ring.of(np.ones(SHAPE, bool), self.noise, RADIUS, layout)
        told = ring.light(ring.means @ movie)
        return ((ring.spread.T @ told) * self.noise[:, None] - self.light).reshape(*SHAPE, -1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_smooth_light_is_told(scene: Scene) -> None:
    error = scene.error(LAYOUT, scene.without)
    assert error.std() < 0.25 * scene.light.std()  # .215
    assert error[8:-8, 8:-8].std() < 0.18 * scene.light.std()  # .157, with more of the rings in the image
    assert error[14:-14, 14:-14].std() < 0.12 * scene.light.std()  # .100, with all of them


def test_transients_of_cells_are_no_light(scene: Scene) -> None:
    """Though they are still in the movie: a ring is wider than a cell, and what stands out of it does not count."""
    active = scene.traces[0] > 40
    assert active.sum() > 10
    taken = {
        layout.outlier: scene.error(layout, scene.movie)[10, 12] - scene.error(layout, scene.without)[10, 12]
        for layout in (LAYOUT, RingShape(3.0, 1.0, None))
    }
    share = {limit: some[active].mean() / scene.traces[0, active].mean() for limit, some in taken.items()}
    assert abs(share[5.0]) < 0.06
    assert abs(share[5.0]) < 0.6 * abs(share[None]), "transients that count pull the weights"
