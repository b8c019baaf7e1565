"""What is left of a movie, and the gain of the background in each pixel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from reference.planted import footprints, transients
from scipy import sparse

import gpucells
from gpucells.ops.residual import fit_gain, subtract_components

SHAPE = (10, 12)
N_PIXELS = 120


def parts(seed: int = 0, n_frames: int = 500) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    cells = footprints(SHAPE, [(3, 3), (6, 8)])
    traces = transients(rng, 2, n_frames, 15).astype(np.float32)
    hats = sparse.csr_array(np.full((1, N_PIXELS), 1, np.float32))
    field = 4 * np.cumsum(rng.normal(0, 0.3, (1, n_frames)), axis=1).astype(np.float32)
    return cells, traces, hats, field


def test_subtraction_is_the_dense_product() -> None:
    cells, traces, _, _ = parts()
    rng = np.random.default_rng(1)
    movie = rng.normal(size=(N_PIXELS, 500)).astype(np.float32)
    offset = rng.normal(size=N_PIXELS).astype(np.float32)
    wanted = movie - offset[:, None] - cells.toarray().T @ traces
    np.testing.assert_allclose(subtract_components(movie, cells, traces, offset), wanted, atol=1e-4)
    np.testing.assert_array_equal(subtract_components(movie, cells[:0], traces[:0]), movie)
    assert subtract_components(movie, cells, traces, offset, out=movie) is movie
    np.testing.assert_allclose(movie, wanted, atol=1e-4)


def test_gain_and_offset_come_back_through_cells_and_what_the_model_lacks() -> None:
    cells, traces, hats, field = parts()
    rng = np.random.default_rng(2)
    gain, offset = rng.uniform(0.3, 1.5, N_PIXELS), rng.normal(0, 3, N_PIXELS)
    movie = gain[:, None] * field + offset[:, None] + cells.toarray().T @ traces + rng.normal(size=(N_PIXELS, 500))
    movie += (rng.random(movie.shape) < 0.05) * rng.exponential(20, movie.shape)
    found, level = np.ones(N_PIXELS, np.float32), np.zeros(N_PIXELS, np.float32)
    for _ in range(4):
        found, level, certainty = fit_gain(movie.astype(np.float32), cells, traces, hats, field, found, level, 1.5)
    np.testing.assert_allclose(found, gain, atol=0.05)
    np.testing.assert_allclose(level, offset, atol=0.4)
    swing = field[0] - field[0].mean()
    np.testing.assert_allclose(certainty, (swing**2).sum(), rtol=1e-3)


def _huber_location(row: np.ndarray, near: float) -> float:
    """Root of the clipped residuals' mean, by bisection."""
    low, high = float(row.min()), float(row.max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(row - middle, -near, near).mean() > 0 else (low, middle)
    return low


def test_without_a_background_the_offset_is_the_middle_and_the_gain_stays() -> None:
    cells, traces, hats, field = parts()
    movie = np.random.default_rng(3).normal(2, 1, (N_PIXELS, 500)).astype(np.float32)
    start = np.full(N_PIXELS, 0.7, np.float32)
    gain, offset, certainty = fit_gain(movie, cells[:0], traces[:0], hats[:0], field[:0], start, 0 * start, 1.5)
    np.testing.assert_array_equal(gain, start)
    np.testing.assert_allclose(offset, np.median(movie, axis=1), atol=0.1)  # errors of both: .056 and .046
    np.testing.assert_allclose(offset, [_huber_location(row, 0.5) for row in movie], atol=1e-2)
    assert (certainty < 1e-3).all()
    still = np.ones_like(field)  # light that never changes says nothing about the gain
    gain, _, certainty = fit_gain(movie, cells, traces, hats, still, start, 0 * start, 1.5)
    assert np.isfinite(gain).all()
    assert (certainty < 1e-3).all()


TWICE = """
import hashlib, numpy as np
from scipy import sparse
from gpucells.ops.residual import fit_gain
rng = np.random.default_rng(0)
movie = rng.normal(size=(1024, 150)).astype(np.float32)
cells = sparse.random_array((3, 1024), density=.02, rng=rng, dtype=np.float32).tocsr()
hats = sparse.random_array((16, 1024), density=.25, rng=rng, dtype=np.float32).tocsr()
slow = np.cumsum(rng.normal(size=(16, 150)), axis=1).astype(np.float32)
traces = rng.normal(size=(3, 150)).astype(np.float32)
fitted = fit_gain(movie, cells, traces, hats, slow, np.ones(1024, np.float32), np.ones(1024, np.float32), 1.5)
print(hashlib.sha256(np.concatenate(fitted).tobytes()).hexdigest())
"""


def test_a_process_that_compiles_and_one_that_loads_agree_to_the_last_bit(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "1"}
    package = str(Path(gpucells.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    run = [sys.executable, "-c", TWICE]
    first, second = (subprocess.run(run, env=environment, capture_output=True, check=True).stdout for _ in range(2))
    assert list(tmp_path.rglob("*.nbc"))
    assert first == second
