"""Scores on small simulated movies, a little above these floors when they were last measured (beside each)."""

from __future__ import annotations

import pytest

import gpucells
from gpucells.postprocess.match import compare

# kind, seed: precision, recall, trace correlation (median), footprint cosine, cross-talk (a ceiling)
FLOORS = {
    ("two_photon", 0): (1.00, 1.00, 0.98, 0.99, 0.06),  # 1, 1, .991, .998, .032
    ("two_photon", 1): (1.00, 0.90, 0.97, 0.99, 0.06),  # 1, .923, .985, .997, .028
    ("one_photon", 0): (0.90, 0.78, 0.94, 0.95, 0.36),  # .923, .8, .959, .977, .314
    ("one_photon", 2): (0.93, 0.85, 0.96, 0.94, 0.34),  # 1, 1, .977, .964, .289
}


@pytest.mark.parametrize(("kind", "seed"), FLOORS)
def test_scores(kind: str, seed: int) -> None:
    simulated = gpucells.simulate_movie(kind, shape=(500, 96, 96), seed=seed)
    scores = compare(gpucells.extract_cells(simulated.movie, preset=kind), simulated.truth)
    precision, recall, correlation, cosine, crosstalk = FLOORS[kind, seed]
    assert scores.precision >= precision
    assert scores.recall >= recall
    assert scores.trace_r_median >= correlation
    assert scores.footprint_cosine >= cosine
    assert scores.crosstalk <= crosstalk
