"""Cell diameter and decay estimated from a movie."""

from __future__ import annotations

import numpy as np
import pytest

from gpucells.errors import InputError
from gpucells.preprocess.estimate import FALLBACK_DECAY_FRAMES, FALLBACK_DIAMETER_PX, estimate


def test_nothing_to_see_gives_defaults_and_says_so() -> None:
    """A constant movie has no spots."""
    result = estimate(np.full((50, 20, 20), 7, np.float32), np.ones((20, 20), bool))
    assert (result.diameter_px, result.decay_frames) == (FALLBACK_DIAMETER_PX, FALLBACK_DECAY_FRAMES)
    assert result.n_seeds == 0
    assert len(result.warnings) == 2


def test_a_mask_of_another_shape_is_refused() -> None:
    """The message has both shapes."""
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        estimate(np.zeros((9, 4, 4), np.float32), np.ones((3, 3), bool))
