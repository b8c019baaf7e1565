"""CaImAn's cluster, which is not needed: names that do nothing, so that scripts run as they are."""

from __future__ import annotations

from typing import Any

from gpucells.compat.told_once import tell_once

WHY = "no processes are started: threads, or the GPU, share the work"


def setup_cluster(
    backend: str = "multiprocessing", n_processes: int | None = None, **others: Any
) -> tuple[None, None, int]:
    """Start nothing; return ``(None, None, n_processes)``.

    Parameters
    ----------
    backend : str
        Of no effect.
    n_processes : int, optional
        Is returned; 1 where not given.
    **others
        Of no effect.
    """
    tell_once(f"setup_cluster: {WHY}")
    return None, None, n_processes or 1


def start_server(*arguments: Any, **others: Any) -> None:
    """Start nothing."""
    tell_once(f"start_server: {WHY}")


def stop_server(*arguments: Any, **others: Any) -> None:
    """Stop nothing."""
    tell_once(f"stop_server: {WHY}")
