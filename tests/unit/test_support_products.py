"""Products of the movie and the traces on the cells' pixels."""

from __future__ import annotations

import numpy as np
import pytest

from gpucells.ops.support_products import support_products


@pytest.mark.parametrize("n_frames", [1, 7, 200])
def test_it_gives_the_entries_of_the_whole_product(n_frames: int) -> None:
    rng = np.random.default_rng(0)
    movie, traces = rng.normal(size=(30, n_frames)).astype("f4"), rng.normal(size=(4, n_frames)).astype("f4")
    start, pixels = np.array([0, 5, 5, 12, 15]), rng.integers(0, 30, 15)
    cells = np.repeat(np.arange(4), np.diff(start))
    expected = (movie.astype(float) @ traces.T.astype(float))[pixels, cells]
    np.testing.assert_allclose(support_products(movie, traces, start, pixels), expected, rtol=1e-5, atol=1e-5)


def test_no_cells_no_products() -> None:
    assert support_products(np.ones((3, 5), "f4"), np.zeros((0, 5), "f4"), np.zeros(1), np.zeros(0)).shape == (0,)
