"""Dim copies of bright neighbours, every pair of cells looked at."""

from __future__ import annotations

from typing import Any

import numpy as np


def find_echoes(corners: Any, side: int, events: Any, limit: float, share: float) -> np.ndarray:
    """Mark cells less than ``share`` as bright as another within ``side`` px whose events (centred) theirs follow."""
    echo = np.zeros(len(events), bool)
    for i, dim in enumerate(events):
        for j, bright in enumerate(events):
            near = np.abs(corners[i] - corners[j]).max() <= side
            if near and np.ptp(dim) < share * np.ptp(bright) and np.ptp(dim) > 0:
                echo[i] |= np.corrcoef(dim, bright)[0, 1] > limit
    return echo
