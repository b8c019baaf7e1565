"""Work on many independent items, some of them at a time, on as many threads as the user allows numba.

Compiled loops are shared out here, not by numba's ``parallel=True``: that compiles the body of a loop, and all it
calls, several times over, which a first run waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba

ROWS = 1024  # of a block: its temporaries stay in the cache
SHARES = 4  # a thread: those that are done early take over from the others


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
    _on_threads([(slice(first, min(first + length, len(rows))),) for first in range(0, len(rows), length)], work)


def each_share(n: int, work: Callable[[int, int], None]) -> None:
    """Call ``work`` with every share of ``n`` items, several at a time.

    Parameters
    ----------
    n : int
        Number of items, none of which needs another's result.
    work : callable
        Given the first item of a share and the one after its last. Compiled with ``nogil``, or the others wait.
    """
    n_shares = min(n, SHARES * numba.get_num_threads()) if numba.get_num_threads() > 1 else min(n, 1)
    _on_threads([(i * n // n_shares, (i + 1) * n // n_shares) for i in range(n_shares)], work)


def _on_threads(calls: list[Any], work: Callable[..., None]) -> None:
    """Make the calls, each thread taking the next one when it is done; the caller's own thread is one of them."""
    remaining = iter(calls)

    def take() -> None:
        for arguments in remaining:
            work(*arguments)

    n_others = min(numba.get_num_threads(), len(calls)) - 1
    if n_others < 1:
        take()
        return
    others = [_threads(os.getpid()).submit(take) for _ in range(n_others)]
    try:
        take()
    finally:
        for (
            other
        ) in others:  # one that has not begun would find nothing to do, and may wait for the caller's own thread
            if not other.cancel():
                other.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return threads that stay: to start one takes longer than a small share. A forked process has its own."""
    return ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="gpucells-share")
