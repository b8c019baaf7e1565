"""Time EXTRACT from a movie file to cells, stage by stage, and count the cells that it finds.

    pytest benchmarks/end_to_end.py --size 512x512x10000x500 --device cuda:0 --benchmark-json=end_to_end.json

The file is written first, uncompressed uint16, and read by every run; what the operating system keeps of it in memory
is as fast as the disk can be. The first run, which compiles, does not count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problem import RADIUS_PX, Problem, make_problem

import gpucells
from gpucells.device.arrays import namespace_on, to_host
from gpucells.ops.fold_frames import unfold_frames
from gpucells.postprocess.match import score_cells

BASELINE, COUNTS_A_NOISE = 1000, 20
BLOCK = 256
ROUNDS = 2


def write_movie(problem: Problem, path: Path, xp: Any) -> None:
    """Write the problem's movie as uint16 frames (NPY)."""
    n_frames = problem.movie.shape[1]
    file = np.lib.format.open_memmap(path, "w+", np.uint16, (n_frames, *problem.image_shape))
    scale = xp.full(len(problem.movie), COUNTS_A_NOISE, np.float32)
    for first in range(0, n_frames, BLOCK):
        n = min(BLOCK, n_frames - first)
        frames = to_host(xp.rint(unfold_frames(problem.movie, first, n, scale) + BASELINE).clip(0, 65535))
        file[first : first + n] = frames.reshape(n, *problem.image_shape)
    file.flush()


def test_extract(
    benchmark: Any, request: pytest.FixtureRequest, device: str, ceilings: dict[str, Any], tmp_path: Path
) -> None:
    size = request.config.getoption("--size")
    problem = make_problem(namespace_on(device), *(int(n) for n in size.split("x")))
    write_movie(problem, tmp_path / "movie.npy", namespace_on(device))
    footprints, traces, image_shape = problem.footprints, problem.traces, problem.image_shape
    del problem  # the device is the method's
    settings = {"cell_diameter_px": 2 * RADIUS_PX, "frame_rate_hz": 10.0, "device": device}

    def run() -> Any:
        return gpucells.extract_cells(tmp_path / "movie.npy", **settings)

    cells = benchmark.pedantic(run, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    good = cells.accepted_only()
    scores = score_cells(good.footprints, good.traces, footprints, traces, image_shape)
    benchmark.extra_info.update(
        operation=f"EXTRACT, {size}", stages=[vars(cost) for cost in cells.provenance.stages],
        scores=scores.as_dict(), machine=ceilings,
    )  # fmt: skip
