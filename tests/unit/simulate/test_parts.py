"""The parts of a simulated movie, each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from gpucells.simulate.activity import make_activity, transient
from gpucells.simulate.background import make_background, make_vessels, make_vignette
from gpucells.simulate.motion import make_shifts, shift_image
from gpucells.simulate.noise import Sensor
from gpucells.simulate.settings import SimulationSettings


def settings(kind: str = "two_photon", **values) -> SimulationSettings:
    return SimulationSettings.for_kind(kind, {"shape": (500, 48, 40), **values})


@pytest.mark.parametrize("rise_s", [0.0, 0.1])
def test_transient_peaks_at_one_and_decays_as_told(rise_s: float) -> None:
    chosen = settings(rise_s=rise_s, decay_s=1.0, frame_rate_hz=20.0)
    response = transient(chosen)
    assert response.max() == pytest.approx(1)
    assert (response.argmax() == 0) == (rise_s == 0)
    spikes, traces = make_activity(chosen, 3, np.random.default_rng(0))
    expected = np.stack([np.convolve(row, response)[: traces.shape[1]] for row in spikes])
    np.testing.assert_allclose(traces, expected, atol=1e-5)
    assert response[60] / response[40] == pytest.approx(np.exp(-1), rel=1e-2)


def test_event_rate_and_sizes() -> None:
    chosen = settings(shape=(4000, 8, 8), event_rate_hz=0.5, frame_rate_hz=10.0, amplitude_spread=0.2)
    spikes, traces = make_activity(chosen, 60, np.random.default_rng(0))
    assert (spikes > 0).sum() / (60 * 400) == pytest.approx(0.5, rel=0.1)
    assert np.median(spikes[spikes > 0]) == pytest.approx(1, abs=0.05)
    alone = traces[spikes.sum(axis=1).argmin()]
    assert alone.max() > 0.5
    assert (traces >= 0).all()


def test_background_changes_as_much_as_told_and_slowly() -> None:
    made = make_background(settings(background_change=0.5), np.random.default_rng(0))
    moving = np.einsum("tk,kyx->tyx", made.changes, made.images)
    assert np.sqrt((moving**2).mean()) == pytest.approx(0.5, rel=0.25)
    assert np.abs(np.diff(made.changes, axis=0)).max() < 0.5
    assert made.still.min() > 0
    assert made.still.mean() == pytest.approx(2, rel=0.2)


def test_vessels_and_vignette_only_dim() -> None:
    through = make_vessels(settings(vessels=3), np.random.default_rng(0))
    assert 0 < through.min() < 0.7
    assert through.max() <= 1
    np.testing.assert_array_equal(make_vessels(settings(vessels=0), np.random.default_rng(0)), 1)
    vignette = make_vignette(settings(vignetting=0.4))
    assert vignette[0, 0] == pytest.approx(0.6)
    assert vignette.max() > 0.99


def test_shifts_have_the_size_and_no_offset() -> None:
    shifts = make_shifts(settings(motion_px=2.0), np.random.default_rng(0))
    np.testing.assert_allclose(shifts.std(axis=0), 2, rtol=1e-3)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1e-4)


def test_shift_moves_by_rows_then_columns() -> None:
    image = np.random.default_rng(0).standard_normal((12, 17)).astype(np.float32)
    moved = np.empty_like(image)
    shift_image(image, np.float32([1, -2]), moved)
    np.testing.assert_allclose(moved[1:, :-2], image[:-1, 2:], atol=1e-6)
    np.testing.assert_allclose(moved[0, :-2], image[0, 2:], atol=1e-6)
    shift_image(image, np.float32([0.25, 0]), moved)
    np.testing.assert_allclose(moved[1:], 0.25 * image[:-1] + 0.75 * image[1:], atol=1e-6)


def test_noise_has_the_variance_of_photons_and_sensor() -> None:
    sensor = Sensor.from_settings(settings(shape=(1, 200, 200), gain=2.0, read_noise=5.0, dark_level=30.0))
    frame = np.empty((200, 200), np.uint16)
    sensor.record(np.full((200, 200), 1000, np.float32), 0, frame)
    assert frame.mean() == pytest.approx(1030, abs=2)
    assert frame.std() == pytest.approx(np.sqrt(2 * 1000 + 25), rel=0.03)
    assert sensor.noise_std(np.float32([1000]))[0] == pytest.approx(np.sqrt(2025))


def test_correlated_noise_is_shared_by_neighbours_and_keeps_its_size() -> None:
    chosen = settings(shape=(1, 200, 200), gain=0.0, read_noise=1.0, correlated_noise=0.8, dtype="float32")
    sensor = Sensor.from_settings(chosen)
    frames = np.empty((20, 200, 200), np.float32)
    for number, frame in enumerate(frames):
        sensor.record(np.zeros((200, 200), np.float32), number, frame)
    noise = frames - chosen.dark_level
    assert noise.std() == pytest.approx(1, rel=0.05)
    assert (noise[:, :, 1:] * noise[:, :, :-1]).mean() == pytest.approx(0.64, abs=0.05)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0, abs=0.03)


def test_samples_saturate_instead_of_wrapping() -> None:
    sensor = Sensor.from_settings(settings(shape=(1, 4, 4), dtype="uint8"))
    frame = np.empty((4, 4), np.uint8)
    sensor.record(np.full((4, 4), 1e6, np.float32), 0, frame)
    assert (frame == 255).all()
    sensor.record(np.full((4, 4), -1e6, np.float32), 0, frame)
    assert (frame == 0).all()
