"""Two results that have to be the same cells."""

from __future__ import annotations

import numpy as np

from gpucells.model.cells import Cells
from gpucells.postprocess.match import match_cells

MODELLED = ("traces", "denoised")


def require_the_same_cells(
    first: Cells, second: Cells, at_least: int = 4, names: tuple[str, ...] = ("traces",)
) -> None:
    """Compare accepted cells, one to one: traces of these names, and footprints."""
    one, other = first.accepted_only(), second.accepted_only()
    pairs = match_cells(one, other).pairs
    assert len(pairs) == one.n_cells == other.n_cells >= at_least
    for name in names:
        a, b = getattr(one, name)[pairs[:, 0]], getattr(other, name)[pairs[:, 1]]
        correlation = [np.corrcoef(*both)[0, 1] for both in zip(a, b, strict=True)]
        assert min(correlation) > 0.99, name
    a, b = one.footprints[pairs[:, 0]].toarray(), other.footprints[pairs[:, 1]].toarray()
    assert ((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.98
