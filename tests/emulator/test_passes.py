"""The counter of bytes, benchmarks/passes.py, on operations whose bytes are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import numpy as np
import passes
from emulator.stand_in import install
from gpucells.ops.local_correlation import local_correlation
from gpucells.ops.support_products import support_products

movie = np.zeros((4, 6, 64), np.float32)
with passes.counting(movie.nbytes) as counter, install.installed() as cupy:
    there = cupy.asarray(movie)
    local_correlation(there)
    there += 1
    pixels = np.array([3, 4, 9])  # three pixels of 24
    support_products(there.reshape(24, 64), np.ones((1, 64), np.float32), np.array([0, 3]), pixels)
rows = {row["what"]: (round(row["read"], 6), round(row["written"], 6)) for row in counter.rows()}
assert rows["local_correlation"] == (1, 0), rows
assert rows["CuPy's add"] == (1, 1), rows
assert rows["support_products"] == (0.125, 0), rows
assert counter.crossed["to device"] >= movie.nbytes
"""


def test_known_bytes(emulator: None, repository: Path) -> None:
    """In a process of its own: the benchmarks are no package, and the counter compiles all kernels its own way."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE], cwd=repository / "benchmarks", capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
