"""A folder appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpucells.errors import GpucellsError, ResultFileError
from gpucells.io.atomic_file import explained


@contextmanager
def folder_written_atomically(
    path: str | os.PathLike[str], overwrite: bool = False, replaceable: Callable[[Path], bool] = lambda path: False
) -> Iterator[Path]:
    """Give an empty folder to write into; on leaving without an error, it becomes ``path``.

    Parameters
    ----------
    path : path-like
        The folder to make.
    overwrite : bool
        Whether an existing one may be replaced; it is untouched until the new one is complete.
    replaceable : callable
        Says of an existing folder whether it is of the same kind: no other is ever replaced.

    Yields
    ------
    Path
        Empty, hidden, beside ``path``.

    Raises
    ------
    ResultFileError
        It exists, its folder is missing or cannot be written to, or the disk is full. Nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise ResultFileError(f"cannot write {target}: there is no folder {target.parent}", "make the folder first")
    exists = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if exists and not overwrite:
        raise ResultFileError(f"{target} exists already", "choose another name, or allow it to be overwritten")
    if exists and not (target.is_dir() and replaceable(target)):
        raise ResultFileError(f"{target} is something else, and is not replaced", "choose another name")
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        work.mkdir()
        try:
            yield work
            _publish(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except GpucellsError:
        raise
    except OSError as error:
        raise explained(error, target) from error


def _publish(work: Path, target: Path) -> None:
    """Put the new folder in the place of the old, which is put back where that fails."""
    if not target.exists():
        work.rename(target)
        return
    old = work.with_name(f"{work.name}.old")
    target.rename(old)
    try:
        work.rename(target)
    except OSError:
        with suppress(OSError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
