"""Warnings that a process gives once."""

from __future__ import annotations

import sys
import warnings


class NotHonoured(UserWarning):
    """Something of another tool's that is not done here, or done otherwise; the message says why."""


_told: set[str] = set()


def tell_once(message: str) -> None:
    """Warn, where this has not been said before."""
    if message not in _told:
        _told.add(message)
        warnings.warn(message, NotHonoured, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """Count the frames to the first that is not of this package: that line of the user's is shown."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("gpucells."):
        frame, depth = frame.f_back, depth + 1
    return depth


def forget() -> None:
    """Begin again, as a new process would."""
    _told.clear()
