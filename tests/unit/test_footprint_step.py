"""Parts of the footprint step."""

from __future__ import annotations

import numpy as np
from reference.windows import rim_level as slow_rim_level

from gpucells.candidates.footprints import _rim_level


def test_the_level_of_a_rim_is_its_median() -> None:
    rng = np.random.default_rng(0)
    images = np.round(rng.normal(size=(40, 9, 9)), 1).astype(np.float32)
    rim = rng.random((40, 9, 9)) < rng.random((40, 1, 1)) ** 2
    rim[3], rim[4], rim[5] = False, True, False
    rim[5, 2, 3] = True
    np.testing.assert_array_equal(_rim_level(images, rim), slow_rim_level(images, rim))


def test_no_footprints_and_none_with_a_rim() -> None:
    assert _rim_level(np.zeros((0, 5, 5), np.float32), np.zeros((0, 5, 5), bool)).shape == (0,)
    np.testing.assert_array_equal(_rim_level(np.ones((2, 5, 5), np.float32), np.zeros((2, 5, 5), bool)), [0, 0])
