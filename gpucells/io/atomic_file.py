"""A file appears whole or not at all.

On Linux the file has no name while it is written (``O_TMPFILE``), so that even a killed process leaves nothing behind.
Elsewhere, and on file systems that cannot do that, it has a hidden temporary name in the same folder, which is removed
on every error that Python can see.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gpucells.errors import GpucellsError, ResultFileError


@contextmanager
def written_atomically(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[io.BufferedRandom]:
    """Give a file to write to; on leaving without an error, it becomes ``path`` in one step.

    Parameters
    ----------
    path : path-like
        The file to make. A symbolic link is followed.
    overwrite : bool
        Whether an existing file may be replaced; it is untouched until the new one is complete and on the disk.

    Yields
    ------
    file
        Empty, binary, open for reading and writing.

    Raises
    ------
    ResultFileError
        The file exists, its folder is missing or cannot be written to, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    _check_target(target, overwrite)
    try:
        descriptor, name = _open_unnamed(target.parent) or _open_hidden(target)
        file = os.fdopen(descriptor, "w+b")  # buffered: a short write (full disk, 2 GiB) is tried again or raised
        try:
            yield file
            file.flush()
            os.fsync(descriptor)
            _publish(name, target, overwrite)
        finally:
            with suppress(OSError):  # what could not be flushed has been raised above
                file.close()
            with suppress(OSError):
                if name.parent == target.parent:
                    name.unlink()
    except GpucellsError:
        raise
    except OSError as error:
        raise explained(error, target) from error


class LateErrors(io.RawIOBase):
    """A file for HDF5 that keeps its first error until HDF5 is done.

    HDF5 cannot close a file that refuses its last writes (a full disk): the process crashes. So writes always seem to
    succeed; after an error what follows is dropped, and :meth:`raise_first` says what happened.

    Parameters
    ----------
    raw : io.RawIOBase
        The file: open, unbuffered, for reading and writing.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of ``data``; a raw write may stop short."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self._error is None:
                done += self._raw.write(view[done:]) or 0
        except OSError as error:
            self._error = error
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; what was dropped reads as zeros."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (step := self._raw.readinto(view[done:])):
            done += step
        view[done:] = bytes(len(view) - done)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        return self._raw.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return 0

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def raise_first(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise ResultFileError(f"{target} is a folder", "give the name of a file")
    if not target.parent.is_dir():
        raise ResultFileError(f"cannot write {target}: there is no folder {target.parent}", "make the folder first")
    if target.exists() and not overwrite:
        raise _exists(target)


def _exists(target: Path) -> ResultFileError:
    return ResultFileError(f"{target} exists already", "choose another name, or allow it to be overwritten")


def _open_unnamed(folder: Path) -> tuple[int, Path] | None:
    """Open a file without a name in ``folder``; None where the system cannot."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return None
    try:
        descriptor = os.open(folder, flag | os.O_RDWR, 0o666)
    except OSError as error:
        # What kernels and network file systems without it answer; a real problem shows again under a hidden name.
        if error.errno in {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}:
            return None
        raise
    return descriptor, Path(f"/proc/self/fd/{descriptor}")


def _hidden(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _open_hidden(target: Path) -> tuple[int, Path]:
    name = _hidden(target)
    binary = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | binary, 0o666), name


def _publish(name: Path, target: Path, overwrite: bool) -> None:
    """Give the finished file its name in one step, and never replace a file that may not be replaced."""
    hidden = name.parent == target.parent
    if not overwrite:
        try:
            _link(name, target)
        except FileExistsError:
            raise _exists(target) from None
        except OSError:
            if not hidden:
                raise
            name.replace(target)  # a file system without links; the name was free when writing began
    else:
        if not hidden:  # an unnamed file can only get a new name, so it takes a hidden one for an instant
            place = _hidden(target)
            _link(name, place)
            name = place
        name.replace(target)
    with suppress(OSError):  # the folder's entry too is on the disk; not every system allows asking
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(name: Path, place: Path) -> None:
    # Python follows the link in /proc (linkat with AT_SYMLINK_FOLLOW) only where a folder is given too; the names are
    # absolute, so which folder does not matter.
    if name.parent == place.parent:
        os.link(name, place)
    else:
        os.link(name, place, src_dir_fd=int(name.name), follow_symlinks=True)


def explained(error: OSError, target: Path) -> ResultFileError:
    """Say what an operating-system error means for the user (HDF5 puts the number into its text)."""
    text = str(error)
    for number, reason, hint in _REASONS:
        if error.errno == number or f"errno = {number}," in text:
            return ResultFileError(f"cannot write {target}: {reason}; nothing was left behind", hint)
    return ResultFileError(f"cannot write {target}: {text}", "nothing was left behind")


_REASONS = (
    (errno.ENOSPC, "the disk is full", "free some space or choose another disk"),
    (errno.EDQUOT, "your disk quota is used up", "free some space or choose another disk"),
    (errno.EFBIG, "the file is larger than the system or file system allows", "choose another disk"),
    (errno.EACCES, "no permission to write into that folder", "choose a folder that you may write to"),
    (errno.EPERM, "no permission to write into that folder", "choose a folder that you may write to"),
    (errno.EROFS, "the disk is read-only", "choose a folder that you may write to"),
    (errno.EIO, "the disk answered with an input/output error", "check the disk"),
)
