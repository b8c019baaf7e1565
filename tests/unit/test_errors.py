"""Our errors are also the built-ins that people catch, and each knows its exit code."""

from __future__ import annotations

import pickle

import pytest

from gpucells import errors


@pytest.mark.parametrize(
    ("ours", "builtin", "exit_code"),
    [
        (errors.GpucellsError, Exception, 1),
        (errors.InputError, ValueError, 1),
        (errors.MissingFileError, FileNotFoundError, 1),
        (errors.SettingsError, ValueError, 2),
        (errors.ResultFileError, OSError, 1),
        (errors.MissingDependencyError, ImportError, 1),
        (errors.DeviceError, RuntimeError, 3),
        (errors.DeviceMemoryError, MemoryError, 3),
        (errors.KernelError, errors.DeviceError, 3),
    ],
)
def test_family(ours: type[errors.GpucellsError], builtin: type[Exception], exit_code: int) -> None:
    error = ours("was 3", "make it 4")
    assert isinstance(error, builtin)
    assert isinstance(error, errors.GpucellsError)
    assert (error.message, error.hint, error.exit_code) == ("was 3", "make it 4", exit_code)
    assert str(error) == "was 3 (make it 4)"
    assert str(ours("was 3")) == "was 3"


def test_every_error_is_in_the_family() -> None:
    ours = [thing for thing in vars(errors).values() if isinstance(thing, type) and thing.__module__ == errors.__name__]
    assert len(ours) == 9
    assert all(issubclass(thing, errors.GpucellsError) for thing in ours)


def test_errors_travel_between_processes() -> None:
    """A worker's error reaches the user as it was raised: multiprocessing sends it through pickle."""
    error = pickle.loads(pickle.dumps(errors.InputError("was 3", "make it 4")))  # noqa: S301 - our own bytes
    assert isinstance(error, errors.InputError)
    assert (error.message, error.hint) == ("was 3", "make it 4")
