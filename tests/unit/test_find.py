"""Finding on small filtered movies: the threshold of noise, planted cells, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients

from gpucells.candidates.find import find_cells, noise_threshold
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.difference_noise import difference_noise
from gpucells.ops.seeds import pick_seeds, seed_image
from gpucells.preprocess.spatial_filter import SpatialFilter

SHAPE, RADIUS, CUTOFF = (48, 48), 4.0, 2.0


def filtered(movie: Any, radius: float = RADIUS) -> Any:
    """Filter frames and divide by the noise of every pixel: frames x height x width to height x width x frames."""
    smooth = SpatialFilter(*movie.shape[1:], radius, lowpass_cutoff=CUTOFF).apply(movie.astype(np.float32))
    found = np.ascontiguousarray(smooth.transpose(1, 2, 0))
    found -= np.median(found, axis=2, keepdims=True)
    return found / difference_noise(found)[..., None]


@pytest.mark.parametrize("radius", [3.0, 5.0, 8.0])
def test_noise_alone_seldom_reaches_the_threshold(radius: float) -> None:
    shape, n_frames = (64, 64), 400
    threshold = noise_threshold(shape, n_frames, radius, CUTOFF)
    counts, tops = [], []
    for seed in range(3):
        movie = filtered(np.random.default_rng(seed).normal(size=(n_frames, *shape)), radius)
        image = seed_image(movie, np.ones(shape, bool))
        counts.append(len(pick_seeds(image, threshold, 1, 5)))
        tops.append(image.max())
    assert max(counts) <= 3
    assert threshold < 1.3 * np.mean(tops)  # but not so high that dim cells are lost for nothing


def test_the_threshold_grows_with_what_noise_can_try() -> None:
    usual = noise_threshold((64, 64), 500, 5, CUTOFF)
    assert noise_threshold((512, 512), 500, 5, CUTOFF) > usual
    assert noise_threshold((64, 64), 20_000, 5, CUTOFF) > usual
    assert noise_threshold((64, 64), 500, 2, CUTOFF) < usual  # finer noise agrees less with its neighbours
    for n_frames in (1, 2, 3):
        assert np.isfinite(noise_threshold((1, 1), n_frames, 5, CUTOFF))


CENTRES = [(10, 10), (12, 34), (30, 20), (38, 40), (40, 4), (22, 45)]


def planted(seed: int = 0, n_frames: int = 300) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    cells = footprints(SHAPE, CENTRES)
    traces = transients(rng, len(CENTRES), n_frames, 8)
    movie = (cells.T @ traces).T.reshape(n_frames, *SHAPE) + rng.normal(size=(n_frames, *SHAPE))
    return filtered(movie), cells.toarray()


def search(movie: Any, inside: Any = None, told: Any = None, **settings: Any) -> Any:
    inside = np.ones(SHAPE, bool) if inside is None else inside
    threshold = noise_threshold(SHAPE, movie.shape[2], RADIUS, CUTOFF)
    progress = told.append if told is not None else lambda found: None
    return find_cells(movie, inside, RADIUS, threshold, ExtractSettings(**settings), progress)


def test_planted_cells_are_found_each_once() -> None:
    movie, truth = planted()
    told: list[int] = []
    found = search(movie, told=told).toarray()
    assert told == sorted(told)
    assert told[-1] == len(found) == len(CENTRES)
    assert found.max(axis=1) == pytest.approx(1)
    cosine = found @ truth.T / np.linalg.norm(found, axis=1)[:, None] / np.linalg.norm(truth, axis=1)
    np.testing.assert_array_equal(np.sort(cosine.argmax(axis=1)), np.arange(len(CENTRES)))
    assert cosine.max(axis=1).min() > 0.85  # the filter has widened them


def test_what_is_outside_the_mask_is_neither_found_nor_part_of_a_cell() -> None:
    movie, _ = planted()
    inside = np.ones(SHAPE, bool)
    inside[:, 32:] = False
    found = search(movie, inside)
    assert found.shape[0] == 3
    assert not found.toarray().reshape(-1, *SHAPE)[:, :, 32:].any()


def test_noise_gives_nothing_and_so_does_a_round_of_refused_seeds() -> None:
    rng = np.random.default_rng(1)
    noise = filtered(rng.normal(size=(300, *SHAPE)))
    assert search(noise).shape == (0, SHAPE[0] * SHAPE[1])
    movie, _ = planted()
    refused = search(movie, min_size=8.0)  # larger than any
    assert refused.shape == (0, SHAPE[0] * SHAPE[1])
    assert refused.dtype == np.float32


def test_rounds_are_limited() -> None:
    movie, _ = planted()
    assert search(movie, cellfind_max_rounds=1).shape[0] <= len(CENTRES)
