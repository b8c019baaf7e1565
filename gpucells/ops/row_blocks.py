"""Row by row work in NumPy, a block of rows at a time, on as many threads as the compiled loops have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

ROWS = 1024  # of a block: its temporaries stay in the cache


def each_block(rows: Any, work: Callable[[slice], None], length: int = ROWS) -> None:
    """Call ``work`` with every block of rows, several at a time; NumPy sets threads free while it sorts and adds.

    Parameters
    ----------
    rows : array
        Whose length counts.
    work : callable
        Given the rows of a block.
    length : int
        Rows of a block.
    """
    blocks = [slice(first, min(first + length, len(rows))) for first in range(0, len(rows), length)]
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for done in [pool.submit(work, block) for block in blocks]:
            done.result()
