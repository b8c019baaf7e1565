"""Cells to draw: round footprints, traces with transients, a rejected cell in three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gpucells.model.cells import Cells
from gpucells.model.provenance import Provenance, StageCost

MakeCells = Callable[..., Cells]


def discs(centres: list[tuple[float, float]], shape: tuple[int, int]) -> sparse.csr_array:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    # Each one a little larger than the last, so that no two can be taken for each other.
    images = [
        np.maximum(1 - ((rows - y) ** 2 + (columns - x) ** 2) / (15 + 3 * k), 0) for k, (y, x) in enumerate(centres)
    ]
    stack = np.array(images, dtype=np.float32).reshape(len(centres), shape[0] * shape[1])
    return sparse.csr_array(stack)


def build(n_cells: int = 6, n_frames: int = 200, shape: tuple[int, int] = (30, 40), **changes: Any) -> Cells:
    rng = np.random.default_rng(1)
    centres = [(5 + 9 * (k // 4) % (shape[0] - 8), 5 + 9 * (k % 4) % (shape[1] - 8)) for k in range(n_cells)]
    traces = rng.normal(0, 1, (n_cells, n_frames)).astype(np.float32)
    for k in range(n_cells):
        traces[k, (17 * k + 5) % max(n_frames, 1) :][:10] += 10 + k
    accepted = np.arange(n_cells) % 3 != 2
    fields: dict[str, Any] = {
        "footprints": changes["footprints"] if "footprints" in changes else discs(centres, shape),
        "traces": traces,
        "image_shape": shape,
        "f0": np.full(n_cells, 2, np.float32),
        "accepted": accepted,
        "rejection": tuple("" if a else f"too small: {k} px" for k, a in enumerate(accepted)),
        "quality": {"snr": np.arange(n_cells, dtype=np.float32) + 3, "eccentricity": rng.random(n_cells, np.float32)},
        "summary_images": {name: rng.random(shape, np.float32) for name in ("mean", "max", "correlation", "noise")},
        "frame_rate_hz": 10.0,
        "pixel_size_um": 1.5,
        "method": "extract",
        "settings": {"preset": "two_photon", "extract": {"min_snr": 4.0, "max_eccentricity": 0.9}},
        "provenance": Provenance(
            versions={"gpucells": "0.1.0"}, source="/data/mouse.h5", stages=(StageCost("find cells", 2.0, 3.0, 10**8),)
        ),
    }
    return Cells(**fields | changes)


@pytest.fixture
def make_cells() -> MakeCells:
    return build
