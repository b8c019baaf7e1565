"""Candidates that are too weak are heard once more, over closer nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients

from gpucells.candidates.judge import WEAK, Verdict
from gpucells.methods.extract import solve as module
from gpucells.methods.extract.background import HatGrid
from gpucells.methods.extract.second_hearing import acquit, closer_nodes, is_weak
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.model.components import Components

SHAPE, RADIUS, N_FRAMES = (48, 48), 4.0, 300
CENTRES = [(24, 24), (8, 8), (8, 38), (40, 9)]


def verdict(*reasons: str) -> Verdict:
    return Verdict(list(reasons), {"snr": np.arange(len(reasons), dtype=np.float32)})


def test_closer_nodes_lie_evenly_on_the_whole_image_and_on_a_box_of_it() -> None:
    box = (slice(5, 40), slice(12, 61))
    coarse = HatGrid(np.linspace(0, 47, 5), np.linspace(0, 70, 9))
    closer, at_closer = closer_nodes(coarse.on(*box))
    expected = HatGrid(np.linspace(0, 47, 6), np.linspace(0, 70, 11))
    np.testing.assert_allclose(closer.images().toarray(), expected.on(*box).images().toarray(), atol=1e-5)
    np.testing.assert_allclose(at_closer.toarray(), coarse.at_nodes_of(expected).toarray(), atol=1e-6)


def test_two_nodes_become_three() -> None:
    closer, _ = closer_nodes(HatGrid(np.array([0.0, 9]), np.array([0.0, 19])).on(slice(0, 10), slice(0, 20)))
    assert (closer.n_rows, closer.n_columns) == (3, 3)


def test_only_weakness_is_heard_again() -> None:
    first = verdict("", f"{WEAK}: snr 5.0, needs 6.0", f"{WEAK}: snr 5.0, needs 6.0", "too small", "")
    second = verdict("", "", "elongated", "", f"{WEAK}: snr 5.9, needs 6.0")
    heard = acquit(first, second)
    assert heard.reasons == ["", "", first.reasons[2], "too small", ""]
    assert heard.quality is first.quality
    assert is_weak(first)
    assert not is_weak(verdict("", "too small"))


def planted(light: float = 25.0) -> tuple[Any, Any]:
    """Cells in noise; the first one on light that bends between two nodes and goes both ways."""
    rng = np.random.default_rng(1)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), N_FRAMES, 12.0)
    bump = HatGrid(np.linspace(0, 47, 5), np.linspace(0, 47, 5)).on(slice(0, 48), slice(0, 48)).images().toarray()[12]
    swing = light * np.sin(np.arange(N_FRAMES) / 7)
    movie = cells.T @ traces + bump[:, None] * swing + 100 + rng.normal(size=(48 * 48, N_FRAMES))
    return movie.reshape(*SHAPE, N_FRAMES).astype(np.float32), cells


def run(movie: Any, start: Any) -> Components:
    nodes = HatGrid.over(SHAPE, 4 * RADIUS).on(slice(0, 48), slice(0, 48))  # 3 intervals; the light has 4
    settings = ExtractSettings(max_iter=1)
    return module.solve(movie.copy(), np.ones(SHAPE, bool), nodes, RADIUS, settings, lambda *event: None, start)


def test_a_cell_on_light_that_bends_between_nodes_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    movie, cells = planted()
    assert run(movie, cells).footprints.shape[0] == len(CENTRES)
    monkeypatch.setattr(module, "is_weak", lambda first: False)
    alone = run(movie, cells)
    assert alone.footprints.shape[0] == len(CENTRES) - 1
    assert alone.rejected.reasons[0].startswith(WEAK)
