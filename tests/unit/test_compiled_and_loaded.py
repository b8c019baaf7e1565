"""A run that compiles and a run that loads what was compiled give the same bits.

Fast sums may be added up in another order by a process that loads a function than by the one that compiled it, where
a callee was inlined in one and not in the other. The operations here are those whose sums are fast and whose results
steer a run: trace and footprint step, gain, correlation image.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import hashlib
import numpy as np
from scipy import sparse
from gpucells.ops import local_correlation, residual, robust_footprints, robust_traces
from gpucells.ops.bilinear import Bilinear

rng = np.random.default_rng(0)
height, width, n_frames = 19, 23, 517
movie = rng.normal(size=(height * width, n_frames)).astype(np.float32)
images = np.where(rng.random((5, height * width)) < 0.2, rng.random((5, height * width)), 0)
footprints = sparse.csr_array(images.astype(np.float32))
traces = np.maximum(rng.normal(size=(5, n_frames)), 0).astype(np.float32)
movie += (footprints.T @ traces).astype(np.float32)
nodes = Bilinear.between(slice(0, height), slice(0, width), np.linspace(0, 18, 3), np.linspace(0, 22, 4))
field = rng.normal(size=(12, n_frames)).astype(np.float32)
kappa, one, zero = (np.full(len(movie), value, np.float32) for value in (1.5, 1, 0))
results = [
    *robust_traces.robust_traces(movie, footprints, kappa, start=np.concatenate([traces, field]), field=nodes),
    *residual.fit_gain(movie, footprints, traces, nodes.images(), field, one, zero, 1.5),
    robust_footprints.robust_footprints(movie, traces, footprints, kappa).toarray(),
    local_correlation.local_correlation(movie.reshape(height, width, n_frames), zero.reshape(height, width)),
]
print([hashlib.sha256(np.ascontiguousarray(result).tobytes()).hexdigest()[:16] for result in results])
compiled = robust_traces._solve, residual._gain, local_correlation._correlate
print("loaded" if all(sum(f.stats.cache_hits.values()) for f in compiled) else "compiled")
"""


@pytest.mark.slow
def test_same_bits(tmp_path: Path, repository: Path) -> None:
    """Each in a process of its own, with a cache that nobody else writes."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(repository)}
    seen = []
    for wanted in ("compiled", "loaded"):
        command = [sys.executable, "-c", CODE]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert ran.returncode == 0, ran.stderr
        *digests, how = ran.stdout.split("\n")[:2]
        assert how == wanted
        seen.append(digests)
    assert seen[0] == seen[1]
