"""What a movie says of itself, from some of its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpucells
from gpucells.errors import InputError
from gpucells.progress import Event
from gpucells.report.estimate_picture import draw_estimate, make_figure
from gpucells.settings import RunSettings
from gpucells.simulate.movie import simulate_movie
from gpucells.tiles import look
from gpucells.tiles.plan import make_plan


@pytest.fixture(scope="module")
def simulated() -> Any:
    return simulate_movie("one_photon", shape=(400, 72, 80), cell_diameter_px=8, seed=3, snr=6.0, background=2.0)


@pytest.fixture(scope="module")
def estimate(simulated: Any) -> Any:
    return gpucells.estimate_movie(simulated.movie, preset="one_photon", frame_rate_hz=20)


def centres(truth: Any) -> Any:
    weights = truth.footprints.toarray().reshape(truth.n_cells, -1)
    rows, columns = np.divmod(np.arange(weights.shape[1]), truth.image_shape[1])
    total = weights.sum(axis=1)
    return np.stack([weights @ rows / total, weights @ columns / total], axis=1)


def test_it_finds_size_decay_and_most_cells(simulated: Any, estimate: Any) -> None:
    assert estimate.cell_diameter_px == pytest.approx(1.3 * 8, rel=0.25)
    assert estimate.decay_s == pytest.approx(0.8, rel=0.3)
    assert (estimate.n_frames, estimate.n_frames_seen) == (400, 400)
    cells = centres(simulated.truth)[~simulated.truth.at_border]
    distance = np.hypot(*(cells[:, None] - estimate.seeds[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) <= 3).mean() >= 0.7
    assert len(estimate.seeds) == estimate.thresholds.n_passed


def test_a_run_takes_the_same_numbers(simulated: Any, estimate: Any) -> None:
    run = RunSettings.from_values({"preset": "one_photon", "frame_rate_hz": 20.0})
    with gpucells.open_movie(simulated.movie, frame_rate_hz=20) as movie:
        plan = make_plan(movie, "extract", run, {})
    assert (2 * plan.radius_px, plan.factor) == (estimate.cell_diameter_px, estimate.frames_to_average)


def test_what_the_user_says_is_kept(simulated: Any) -> None:
    said = gpucells.estimate_movie(simulated.movie, cell_diameter_px=11, min_corr=0.7, min_pnr=6)
    assert (said.cell_diameter_px, said.diameter_given) == (11, True)
    assert (said.thresholds.min_corr, said.thresholds.min_pnr) == (0.7, 6)
    assert said.decay_s is None
    assert "frame rate not known" in said.rows()[1][1]


def test_blocks_of_a_long_movie_are_not_compared(simulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    movie = np.concatenate([simulated.movie, simulated.movie, simulated.movie]).astype(np.float32)
    movie *= np.linspace(1, 0.4, len(movie), dtype=np.float32)[:, None, None]  # what bleaches
    monkeypatch.setattr(look, "FRAMES", 750)
    events: list[Event] = []
    found = gpucells.estimate_movie(movie, preset="one_photon", progress=events.append)
    assert found.n_frames_seen == 750
    assert found.thresholds.min_pnr < 15
    assert len(found.seeds) > 10
    assert [event.done for event in events] == [0, 1, 2, 3, 4]
    assert {event.total for event in events} == {4}


def test_a_movie_without_cells_warns() -> None:
    movie = np.random.default_rng(2).normal(100, 5, (200, 40, 40)).astype(np.float32)
    found = gpucells.estimate_movie(movie)
    assert len(found.seeds) == 0
    assert "no seed" in found.warnings[-1]
    assert make_figure(found).axes


def test_a_movie_that_says_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no pixel"):
        gpucells.estimate_movie(np.zeros((60, 8, 8), np.float32))
    with pytest.raises(InputError, match="20 frames"):
        gpucells.estimate_movie(np.zeros((20, 8, 8), np.float32))


def test_the_picture_has_both_images_and_the_scatter(estimate: Any, tmp_path: Path) -> None:
    figure = make_figure(estimate)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert any("Local correlation" in title for title in titles)
    assert any("Peak over noise" in title for title in titles)
    assert any("Local maxima" in title for title in titles)
    draw_estimate(estimate, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
