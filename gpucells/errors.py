"""The errors that gpucells raises on purpose.

Each is also the matching built-in, so that ``except ValueError`` keeps working. A message says what was wrong, the
value seen, and (in ``hint``) what to do about it; the command line prints the two on their own lines.
"""

from __future__ import annotations


class GpucellsError(Exception):
    """An error that the user can do something about.

    Parameters
    ----------
    message : str
        What was wrong, with the value seen.
    hint : str
        What to do about it; empty where the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(GpucellsError, ValueError):
    """A movie, file or array that cannot be used as it is."""


class MissingFileError(InputError, FileNotFoundError):
    """A path that cannot be read."""


class SettingsError(GpucellsError, ValueError):
    """A setting that is unknown, out of range, or at odds with another."""

    exit_code = 2


class ResultFileError(GpucellsError, OSError):
    """A result file that cannot be written or read back."""


class MissingDependencyError(GpucellsError, ImportError):
    """An optional package that this step needs is not installed."""


class DeviceError(GpucellsError, RuntimeError):
    """A device that was asked for does not answer."""

    exit_code = 3


class DeviceMemoryError(GpucellsError, MemoryError):
    """The work does not fit in the memory that it may use."""

    exit_code = 3


class KernelError(DeviceError):
    """A CUDA kernel that cannot be compiled, or a launch that does not fit its declaration."""
