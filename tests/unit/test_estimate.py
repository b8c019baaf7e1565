"""Cell diameter and decay estimated from a movie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from reference.spots import spot_area, spot_is_whole, spot_part
from scipy.ndimage import gaussian_filter

from gpucells.errors import InputError
from gpucells.preprocess import probe_size
from gpucells.preprocess.estimate import FALLBACK_DECAY_FRAMES, FALLBACK_DIAMETER_PX, estimate
from gpucells.preprocess.probe_decay import decay
from gpucells.preprocess.probe_frames import ProbeFrames, average, remove_baseline
from gpucells.preprocess.probe_spots import Spots, _are_whole, _areas, _parts, find_spots, weighted_median
from gpucells.simulate.movie import simulate_movie

Float32 = NDArray[np.float32]


def cells(
    diameter: float,
    shape: tuple[int, int, int] = (150, 80, 80),
    decay_frames: float = 6.0,
    amplitude: float = 10.0,
    ring: bool = False,
    seed: int = 0,
) -> Float32:
    """Draw unit noise and cells on a grid, 5 events each; ``diameter`` is the width at .3 of the maximum."""
    rng = np.random.default_rng(seed)
    n_frames, height, width = shape
    movie = rng.standard_normal(shape, np.float32)
    y, x = np.mgrid[:height, :width]
    for row in np.arange(1.2 * diameter, height - diameter, 2.5 * diameter):
        for column in np.arange(1.2 * diameter, width - diameter, 2.5 * diameter):
            distance = np.hypot(y - row - rng.uniform(), x - column - rng.uniform()) / (diameter / 2)
            image = np.exp(np.log(0.3) * distance**2)
            if ring:
                image = np.exp(-np.exp(np.clip(12 * (distance - 1.04), -50, 3)))
                image *= 1 - 0.7 * np.exp(-((distance / 0.55) ** 6))
            trace = np.zeros(n_frames)
            for start in rng.choice(n_frames, 5, replace=False):
                trace[start:] += np.exp(-np.arange(n_frames - start) / decay_frames)
            movie += (amplitude * trace[:, None, None] * image).astype(np.float32)
    return movie


def all_inside(movie: Float32) -> NDArray[np.bool_]:
    """Return a mask of everything."""
    return np.ones(movie.shape[1:], np.bool_)


@pytest.mark.parametrize("diameter", [5.0, 9.0, 14.0, 24.0])
def test_diameter_of_blurred_cells(diameter: float) -> None:
    """To 12 %, whatever the size."""
    side = max(64, int(8 * diameter))
    movie = cells(diameter, (150, side, side))
    result = estimate(movie, all_inside(movie))
    assert result.diameter_px == pytest.approx(diameter, rel=0.12)
    assert result.warnings == ()


@pytest.mark.parametrize("diameter", [10.0, 20.0])
def test_a_ring_is_one_cell(diameter: float) -> None:
    """And not the many spots along it."""
    side = int(7 * diameter)
    movie = cells(diameter, (150, side, side), ring=True, amplitude=6)
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(diameter, rel=0.15)


@pytest.mark.parametrize("decay_frames", [3.0, 8.0, 25.0])
def test_decay_in_frames_of_the_movie(decay_frames: float) -> None:
    """Also where frames are averaged for finding the spots."""
    movie = cells(10, (1000, 64, 64), decay_frames)
    assert estimate(movie, all_inside(movie)).decay_frames == pytest.approx(decay_frames, rel=0.2)


def test_slow_background_does_not_lengthen_the_decay() -> None:
    """A Gaussian process as strong as the transients, ten times as slow, doubles an autocovariance's decay."""
    rng = np.random.default_rng(1)
    n_frames, n_cells, true = 4000, 20, 8.0
    lag = np.arange(200)
    events = (rng.random((n_cells, n_frames)) < 0.01) * rng.lognormal(0, 0.3, (n_cells, n_frames))
    transients = np.stack([np.convolve(e, np.exp(-lag / true))[:n_frames] for e in events])
    slow = np.stack([np.convolve(rng.standard_normal(n_frames), np.hanning(160), "same") for _ in range(n_cells)])
    slow *= transients.std() / slow.std()
    noise = 0.1 * rng.standard_normal(slow.shape)
    found = np.median(decay((transients + slow + noise).astype(np.float32)))
    assert found == pytest.approx(true, rel=0.25)


def test_decay_of_nothing_is_unknown() -> None:
    """Constant, negative-going and very short traces have no transients."""
    falling = -(np.abs(np.random.default_rng(0).standard_normal((1, 100))).cumsum(axis=1) ** 2)
    assert np.isnan(decay(np.zeros((2, 50), np.float32))).all()
    assert np.isnan(decay(np.ones((1, 5), np.float32))).all()
    assert decay(falling.astype(np.float32)).shape == (1,)


def test_unit_and_offset_do_not_matter() -> None:
    """Counts, volts or dF/F."""
    movie = cells(11)
    one, other = (estimate(m, all_inside(movie)) for m in (movie, np.float32(1e-3) * movie + np.float32(7)))
    assert other.diameter_px == pytest.approx(one.diameter_px, rel=0.02)
    assert other.decay_frames == pytest.approx(one.decay_frames, rel=0.05)


def test_what_is_outside_or_not_finite_does_not_matter() -> None:
    """NaN, dead borders, infinite samples."""
    movie = cells(11)
    movie[:, :, :6] = np.nan
    movie[5] = np.nan
    movie[7, 40, 40] = np.inf
    movie[:, 74:] = 1e6 * np.random.default_rng(3).random((150, 6, 80))
    inside = all_inside(movie)
    inside[74:] = False
    result = estimate(movie, inside)
    assert result.diameter_px == pytest.approx(11, rel=0.15)
    assert result.decay_frames == pytest.approx(6, rel=0.25)


def test_cosmic_rays_are_not_cells() -> None:
    """Single frames of single pixels, a thousand times brighter."""
    movie = cells(11)
    rng = np.random.default_rng(4)
    for _ in range(20):
        movie[rng.integers(150), rng.integers(80), rng.integers(80)] += 1000
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(11, rel=0.15)


def test_spots_of_two_sizes_are_reported() -> None:
    """Boutons among cells leave doubt."""
    boutons = cells(4, seed=6, amplitude=10)
    boutons[:, :, 30:] = 0
    movie = cells(14, seed=5, amplitude=6) + boutons
    result = estimate(movie, all_inside(movie))
    assert any("stand out alike" in warning for warning in result.warnings)


def test_the_lively_part_of_a_large_image_is_looked_at() -> None:
    """Cells in one corner of an image twelve times as large."""
    movie = np.random.default_rng(7).standard_normal((80, 288, 400), np.float32)
    movie[:, -90:, -100:] += cells(7, (80, 90, 100))
    (top, left), shape = ProbeFrames(movie, all_inside(movie))._window(1)
    assert shape == (128, 128)
    assert top + 128 > 288 - 45
    assert left + 128 > 400 - 50
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(7, rel=0.15)


def swings(shape: tuple[int, int, int], width: float, strength: float, seed: int, n: int = 1) -> Float32:
    """Draw ``n`` wide patches of background, each of which goes down half as far as up, slowly."""
    rng = np.random.default_rng(seed)
    n_frames, height, width_px = shape
    y, x = np.mgrid[:height, :width_px]
    movie = np.zeros(shape, np.float32)
    for _ in range(n):
        row, column = rng.uniform(0.4, 0.6, 2) * (height, width_px)
        image = np.exp(np.log(0.3) * np.hypot(y - row, x - column) ** 2 / (width / 2) ** 2)
        trace = np.sin(np.arange(n_frames) / n_frames * 2 * np.pi * rng.uniform(1.5, 3) + rng.uniform(0, 6))
        movie += (strength * np.where(trace > 0, trace, trace / 2)[:, None, None] * image).astype(np.float32)
    return movie


@pytest.mark.parametrize("strength", [10.0, 50.0, 200.0])
def test_one_bright_patch_does_not_outweigh_many_cells(strength: float) -> None:
    """However bright the patch is, and although its energy is that of more than all cells."""
    movie = cells(12, (300, 128, 128), amplitude=5) + swings((300, 128, 128), 50, strength, seed=3)
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(12, rel=0.25)


@pytest.mark.parametrize(("seed", "n_frames"), [(903, 1000), (2, 400)])
def test_simulated_background_does_not_outweigh_the_cells(seed: int, n_frames: int) -> None:
    """Movies in which one patch of 50 to 54 px carried more energy than the 30 cells of 17 px."""
    movie = simulate_movie("one_photon", shape=(n_frames, 128, 128), seed=seed).movie.astype(np.float32)
    result = estimate(movie, all_inside(movie))
    assert result.diameter_px == pytest.approx(17, rel=0.15)
    assert result.n_seeds >= 10
    assert result.warnings == ()


def test_faint_cells_are_measured() -> None:
    """Cells that hardly rise above the noise are not taken for none."""
    movie = simulate_movie("two_photon", shape=(600, 128, 128), cell_diameter_px=14, snr=0.8, seed=7010).movie
    assert estimate(movie.astype(np.float32), all_inside(movie)).diameter_px == pytest.approx(16, rel=0.15)


@pytest.mark.parametrize("kind", ["one_photon", "two_photon"])
def test_background_alone_gives_the_default_and_says_so(kind: str) -> None:
    """It goes down as far as up."""
    movie = simulate_movie(kind, shape=(600, 96, 96), n_cells=0, seed=3).movie.astype(np.float32)
    result = estimate(movie, all_inside(movie))
    assert result.diameter_px == FALLBACK_DIAMETER_PX
    assert "cell_diameter_px" in result.warnings[0]


def test_a_lone_cell_is_measured_and_the_user_told() -> None:
    """One spot is poor evidence, but the best there is."""
    movie = cells(12, (300, 40, 40))
    assert len(find_spots(ProbeFrames(movie, all_inside(movie)), 12).peaks) == 1
    result = estimate(movie, all_inside(movie))
    assert result.diameter_px == pytest.approx(12, rel=0.15)
    assert any("one or two" in warning for warning in result.warnings)


def test_what_the_border_cuts_does_not_narrow_the_estimate() -> None:
    """Cells in the middle and twice as many of which half is outside."""
    movie = cells(14, (300, 130, 130), seed=3)[:, 17:113, 17:113]
    spots = find_spots(ProbeFrames(movie, all_inside(movie)), 14)
    reach = np.minimum(spots.centres, 95 - spots.centres).min(axis=1)
    assert spots.whole[reach > 9].all()
    assert not spots.whole[reach < 3].any()
    assert (reach < 3).sum() >= 2
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(14, rel=0.08)


def test_joins_of_blocks_are_minded() -> None:
    """What faded from one block to the next are no spots that go up, and a transient ends with its block."""
    starts, n_frames = (0, 400, 800), 1200
    faded = np.repeat([3.0, 0.0, 0.0], 400)[:, None, None].astype(np.float32)
    y, x = np.mgrid[:96, :96]
    still = sum(np.exp(-((y - r) ** 2 + (x - c) ** 2) / 6.0**2) for r in (20, 50, 76) for c in (20, 50, 76))
    noise = np.random.default_rng(1).standard_normal((n_frames, 96, 96), np.float32)
    movie = noise + 20 * faded * still.astype(np.float32)
    assert estimate(movie, all_inside(movie)).n_seeds > 0
    assert estimate(movie, all_inside(movie), starts=starts).n_seeds == 0
    frames, _, _ = ProbeFrames(movie, all_inside(movie), starts).binned(1)
    assert np.abs(frames.mean(axis=0)).max() < 0.3


def test_decay_over_blocks_is_that_within_them() -> None:
    """Blocks at levels far apart; each alone says the same."""
    rng = np.random.default_rng(2)
    lag = np.arange(100)
    events = (rng.random((20, 1500)) < 0.02).astype(float)
    traces = np.stack([np.convolve(e, np.exp(-lag / 7))[:1500] for e in events]).astype(np.float32)
    apart = traces + np.repeat([0.0, 9.0, -5.0], 500).astype(np.float32)
    together = decay(apart, (0, 500, 1000))
    assert np.median(together) == pytest.approx(7, rel=0.15)
    np.testing.assert_allclose(together, decay(traces, (0, 500, 1000)), rtol=1e-3)


def test_narrow_trials_are_left_out_where_they_cannot_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost most of the time: of cells of 16 px, no trial below 4 px is made."""
    tried: list[float] = []

    def spy(probe: ProbeFrames, trial_px: float) -> Spots:
        tried.append(trial_px)
        return find_spots(probe, trial_px)

    monkeypatch.setattr(probe_size, "find_spots", spy)
    movie = cells(16, (150, 160, 160))
    assert estimate(movie, all_inside(movie)).diameter_px == pytest.approx(16, rel=0.12)
    assert min(tried) > 4


@pytest.mark.parametrize("shape", [(1000, 64, 64), (300, 8, 8), (300, 1, 1), (300, 3, 400), (20, 32, 32), (0, 9, 9)])
def test_noise_gives_defaults_and_says_so(shape: tuple[int, int, int]) -> None:
    """Neither a large movie of noise nor tiny ones have spots."""
    movie = np.random.default_rng(8).normal(100, 5, shape).astype(np.float32)
    result = estimate(movie, all_inside(movie))
    assert (result.diameter_px, result.decay_frames) == (FALLBACK_DIAMETER_PX, FALLBACK_DECAY_FRAMES)
    assert result.n_seeds == 0
    assert len(result.warnings) == 2
    assert "cell_diameter_px" in result.warnings[0]


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_constant_movies_give_defaults(value: float) -> None:
    """Also where nothing is known, and where all is outside."""
    movie = np.full((50, 20, 20), value, np.float32)
    assert estimate(movie, all_inside(movie)).n_seeds == 0
    assert estimate(movie, ~all_inside(movie)).n_seeds == 0


@pytest.mark.parametrize("given", [0.5, 11.0, 400.0])
def test_a_given_diameter_stays(given: float) -> None:
    """However odd it is."""
    movie = cells(11, (400, 80, 80))
    result = estimate(movie, all_inside(movie), given)
    assert result.diameter_px == given
    assert result.decay_frames >= 1
    if given == 11:
        assert result.decay_frames == pytest.approx(6, rel=0.25)


def test_a_mask_of_another_shape_is_refused() -> None:
    """The message has both shapes."""
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        estimate(np.zeros((9, 4, 4), np.float32), np.ones((3, 3), bool))


def test_blocks_are_averaged_over_what_is_inside() -> None:
    """Frames in pairs, pixels in fours; a block half outside still counts, one mostly outside does not."""
    frames = np.arange(4 * 4 * 6, dtype=np.float32).reshape(4, 4, 6)
    inside = np.ones((4, 6), bool)
    inside[0, :2] = False
    inside[2:, 2:4] = [[False, False], [False, True]]
    result, mask = average(frames, inside, 2, 2)
    assert result.shape == (2, 2, 3)
    assert mask.tolist() == [[True, True, True], [True, False, True]]
    assert result[0, 0, 0] == frames[:2, 1, :2].mean()
    assert result[1, 1, 2] == frames[2:, 2:, 4:].mean()


def test_the_baseline_is_the_median_of_what_is_known() -> None:
    """Unknown samples end on the baseline."""
    frames = np.asarray([[[1.0, 5.0]], [[np.nan, 6.0]], [[3.0, 100.0]], [[8.0, 6.0]]], np.float32)
    remove_baseline(frames, np.asarray([[True, True]]))
    assert frames[:, 0, 0].tolist() == [-2, 0, 0, 5]
    assert frames[:, 0, 1].tolist() == [-1, 0, 94, 0]


def test_the_area_of_a_ring_has_its_hole() -> None:
    """A disc of radius 6 with nothing within 3, to the pixel on its edge."""
    y, x = np.mgrid[-9:10, -9:10]
    distance = np.hypot(y, x)
    ring = np.clip(6.5 - distance, 0, 1) * (distance > 3)
    ring[9, 15] = 1.01
    image = ring.astype(np.float32)
    assert _areas(image[None], _parts(image[None], 0.5), 0.5) == pytest.approx(np.pi * 36, rel=0.05)


def test_weighted_median() -> None:
    """Half of the weight on either side, with half of a value's own weight on each; between values on a line."""
    assert weighted_median(np.asarray([3.0, 1.0, 2.0]), np.asarray([1.0, 1.0, 5.0])) == 2
    assert weighted_median(np.asarray([3.0, 1.0, 2.0]), np.asarray([20.0, 1.0, 5.0])) == pytest.approx(2 + 9.5 / 12.5)
    assert weighted_median(np.asarray([4.0, 1.0, 2.0, 3.0]), np.ones(4)) == 2.5
    assert weighted_median(np.asarray([7.0]), np.asarray([0.1])) == 7


@pytest.mark.parametrize(
    ("name", "decay_frames"),
    [("sim_2p_crowded", 9.7), ("sim_2p_rings", 12.3), ("sim_1p_background", 6.0), ("sim_1p_full", 13.0)],
)
def test_benchmark_movies(shared_data: Path, name: str, decay_frames: float) -> None:
    """Diameter to 12 %, decay (of the true traces' autocovariance) to 25 %, by the same code for all."""
    import h5py

    with h5py.File(shared_data / f"{name}.h5") as file:
        movie = file["movie"][:1000].astype(np.float32)
        diameter = float(file.attrs["cell_diameter_px"])
    result = estimate(movie, all_inside(movie))
    assert result.diameter_px == pytest.approx(diameter, rel=0.12)
    assert result.decay_frames == pytest.approx(decay_frames, rel=0.25)


@pytest.mark.parametrize(("name", "largest"), [("real_2p_mouse_small", 3.5), ("real_1p_pfc_tiny", 4.0)])
def test_downsampled_recordings_have_tiny_cells(shared_data: Path, name: str, largest: float) -> None:
    """Cells of 1 to 3 px."""
    import h5py

    with h5py.File(shared_data / f"{name}.h5") as file:
        movie = file["movie"][()].astype(np.float32)
    assert 2 <= estimate(movie, all_inside(movie)).diameter_px <= largest


def test_spots_are_measured_as_if_each_were_alone() -> None:
    rng = np.random.default_rng(11)
    images = np.stack([gaussian_filter(rng.normal(size=(13, 13)), width) for width in rng.uniform(0.5, 3, 40)])
    images = np.maximum(images / images.max(axis=(1, 2), keepdims=True), 0).astype(np.float32)
    images[3, :, :6] = images[3].max()  # reaches the window's border
    images[4, 3:10, 3:10] = 1
    images[4, 6, 6] = 0  # a hole
    inside, corners = rng.random((60, 60)) < 0.9, rng.integers(-8, 55, (40, 2))
    for level in (0.3, 0.5):
        parts = _parts(images, level)
        np.testing.assert_array_equal(parts, [spot_part(image, level) for image in images])
        wanted = [spot_area(image, part, level) for image, part in zip(images, parts, strict=True)]
        np.testing.assert_allclose(_areas(images, parts, level), wanted, rtol=1e-6)
        whole = [spot_is_whole(inside, corner, part, 0.125) for corner, part in zip(corners, parts, strict=True)]
        assert 3 < sum(whole) < 37
        np.testing.assert_array_equal(_are_whole(inside, corners, parts), whole)
    assert _parts(images[:0], 0.3).shape == (0, 13, 13)
