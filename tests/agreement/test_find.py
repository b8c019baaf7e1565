"""Cell finding with the movie on a GPU beside the CPU's: the same cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.planted import footprints, transients

from gpucells.candidates.find import find_cells, noise_threshold
from gpucells.device.arrays import to_host
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.ops.difference_noise import difference_noise
from gpucells.preprocess.spatial_filter import SpatialFilter

SHAPE, RADIUS, CUTOFF = (30, 34), 3.0, 2.0
CENTRES = [(6, 6), (8, 24), (20, 14), (22, 20), (27, 30)]  # two of them closer than a window


def filtered_movie(n_frames: int = 150) -> Any:
    rng = np.random.default_rng(3)
    traces = transients(rng, len(CENTRES), n_frames, 8)
    cells = footprints(SHAPE, CENTRES, 1.5)
    movie = (cells.T @ traces).T.reshape(n_frames, *SHAPE) + rng.normal(size=(n_frames, *SHAPE))
    smooth = SpatialFilter(*SHAPE, RADIUS, lowpass_cutoff=CUTOFF).apply(movie.astype(np.float32))
    found = np.ascontiguousarray(smooth.transpose(1, 2, 0))
    found -= np.median(found, axis=2, keepdims=True)
    return found / difference_noise(found)[..., None]


@pytest.mark.parametrize("settings", [{}, {"min_size": 0.8}], ids=["all are cells", "some are refused"])
def test_the_same_cells_are_found(cuda: Any, settings: dict[str, Any]) -> None:
    movie, inside = filtered_movie(), np.ones(SHAPE, bool)
    inside[:, 32:] = False
    threshold = noise_threshold(SHAPE, movie.shape[2], RADIUS, CUTOFF)
    found, left, told = [], [], []
    for xp in (cuda, np):
        used, progress = xp.asarray(movie.copy()), []
        found.append(find_cells(used, inside, RADIUS, threshold, ExtractSettings(**settings), progress.append))
        left.append(to_host(used))
        told.append(progress)
    on_gpu, on_cpu = (some.toarray() for some in found)
    assert told[0] == told[1]
    assert on_gpu.dtype == np.float32
    assert on_gpu.shape == on_cpu.shape
    assert len(on_cpu) == len(CENTRES) or settings
    for one, other in zip(on_gpu, on_cpu, strict=True):  # in the same order
        assert np.corrcoef(one, other)[0, 1] > 0.999
    np.testing.assert_allclose(left[0], left[1], atol=1e-3)
