"""What a method gives for a tile."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import sparse

from gpucells.model.components import Components, Rejected


def test_components_hold_what_they_are_given_and_do_not_change() -> None:
    none = sparse.csr_array((0, 6), dtype=np.float32)
    empty = np.zeros((0, 4), np.float32)
    pixels = np.ones(6, np.float32)
    rejected = Rejected(none, empty, (), {})
    components = Components(none, empty, pixels, pixels, pixels, empty, {}, rejected)
    assert components.warnings == ()
    assert components.rejected is rejected
    with pytest.raises(FrozenInstanceError):
        components.traces = empty  # type: ignore[misc]
