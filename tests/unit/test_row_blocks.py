"""Work is shared out completely, each item once, and errors come back."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from gpucells.ops.row_blocks import each_block, each_share


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 2500])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_every_item_once(n: int, n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: n_threads)
    met = np.zeros((2, n), np.int64)

    def count(first: int, last: int) -> None:
        met[0, first:last] += 1

    def count_rows(rows: slice) -> None:
        met[1, rows] += 1

    each_share(n, count)
    each_block(met[1], count_rows)
    assert (met == 1).all()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_of_a_share_comes_back(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: n_threads)

    def fail(first: int, last: int) -> None:
        if first <= 5 < last:
            raise ValueError("item 5")

    with pytest.raises(ValueError, match="item 5"):
        each_share(9, fail)
