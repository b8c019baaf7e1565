"""Recordings as CIAtah finds and names them: movies of a folder, the prefix of its files, and a lock while it works."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpucells.errors import InputError, MissingFileError, ResultFileError, SettingsError
from gpucells.io.join import natural_key

#: What CIAtah reads by extension, as far as this package opens it.
EXTENSIONS = (".h5", ".hdf5", ".nwb", ".tif", ".tiff", ".avi", ".mp4")
_DATE = re.compile(r"(?<!\d)(\d{4})[_.-]?(\d{2})[_.-]?(\d{2})(?!\d)")
_PROTOCOL = re.compile(r"p\d+", re.IGNORECASE)
_SUBJECT = re.compile(r"[mf]\d+", re.IGNORECASE)
_ASSAY = re.compile(r"[a-z]+\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Recording:
    """The movies of one folder.

    Parameters
    ----------
    folder : Path
        Where they are, and where results go.
    movies : tuple of Path
        In natural order, to be joined in time; empty until :func:`find_movies` has looked.
    """

    folder: Path
    movies: tuple[Path, ...] = ()


def recordings(folders_or_files: str | Path | Sequence[str | Path]) -> list[Recording]:
    """Sort out folders, and files by their folders, in the order given.

    Raises
    ------
    SettingsError
        There is nothing to go over.
    """
    given = [folders_or_files] if isinstance(folders_or_files, str | Path) else list(folders_or_files)
    found: dict[tuple[Path, bool], list[Path]] = {}
    for one in map(Path, given):
        is_movie = one.suffix.lower() in EXTENSIONS and not one.is_dir()
        found.setdefault((one.parent if is_movie else one, is_movie), []).extend([one] if is_movie else [])
    if not found:
        raise SettingsError("there are no folders to go over", "give at least one folder or movie")
    return [Recording(folder, tuple(sorted(set(files), key=natural_key))) for (folder, _), files in found.items()]


def find_movies(recording: Recording, pattern: re.Pattern[str]) -> tuple[Path, ...]:
    """Return the movies of a recording, in natural order.

    Parameters
    ----------
    recording : Recording
        Its own movies, or those of its folder whose name the pattern is found in.
    pattern : re.Pattern
        Of a name.

    Raises
    ------
    MissingFileError
        The folder is not there.
    InputError
        It has no such movie.
    """
    if recording.movies:
        return recording.movies
    if not recording.folder.is_dir():
        raise MissingFileError(f"{recording.folder} is no folder")
    files = [path for path in recording.folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    movies = [path for path in files if path.suffix.lower() in EXTENSIONS]
    found = [path for path in movies if pattern.search(path.name)]
    if not found:
        raise InputError(
            f"{recording.folder} has no movie whose name matches {pattern.pattern!r}, of {len(movies)} movies",
            f"set file_filter_regexp; movies end in {', '.join(EXTENSIONS)}",
        )
    return tuple(sorted(found, key=natural_key))


def subject_of(recording: Recording) -> str:
    """Return the subject of a recording's name, such as ``m19``; ``m000`` where it has none."""
    return _parts(recording)[2]


def prefix_of(recording: Recording) -> str:
    """Return what CIAtah's file names begin with: date, protocol, subject and assay, of the folder's or movie's name.

    Such as ``2014_04_01_p203_m19_check01``; what a name does not tell is ``0000_00_00``, ``p000``, ``m000``,
    ``NULL000``.
    """
    return "_".join(_parts(recording))


def _parts(recording: Recording) -> tuple[str, str, str, str]:
    names = [recording.folder.resolve().name, *(movie.stem for movie in recording.movies[:1])]
    date, protocol, subject, assay = "0000_00_00", "p000", "m000", "NULL000"
    for name in reversed(names):  # the folder's has the last word
        if seen := _DATE.search(name):
            date = "_".join(seen.groups())
        words = re.split(r"[_\-. ]+", _DATE.sub("", name))
        protocols = [word for word in words if _PROTOCOL.fullmatch(word)]
        subjects = [word for word in words if _SUBJECT.fullmatch(word)]
        assays = [word for word in words if _ASSAY.fullmatch(word) and word not in (*protocols, *subjects)]
        protocol, subject = (protocols or [protocol])[0], (subjects or [subject])[0]
        assay = (assays if subjects and assays else [assay])[0]  # a number after any word is no assay
    return date, protocol, subject, assay


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other computers that share the folder from the same work; the lock is gone on every way out.

    Parameters
    ----------
    target : Path
        The file that is worked on; the lock is beside it, hidden, and CIAtah does not take it for a result.

    Raises
    ------
    ResultFileError
        Somebody works on it, or the folder cannot be written to.
    """
    lock = target.with_name(f".{target.name}.lock")
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            if not _is_ours_and_dead(lock):
                raise ResultFileError(
                    f"{target.name} is worked on: {_owner(lock)}", f"if that is over, delete {lock}"
                ) from None
            lock.unlink(missing_ok=True)
        except OSError as error:
            raise ResultFileError(f"cannot write into {target.parent}: {error}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": started}, file)
        yield
    finally:
        lock.unlink(missing_ok=True)


def _read(lock: Path) -> dict[str, object]:
    try:
        seen = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return seen if isinstance(seen, dict) else {}


def _owner(lock: Path) -> str:
    seen = _read(lock)
    if not seen:
        return "nothing says by whom"
    return f"by process {seen.get('process')} on {seen.get('host')} since {seen.get('since')}"


def _is_ours_and_dead(lock: Path) -> bool:
    """Whether a process of this computer left it and is gone; of another computer nobody can tell."""
    seen = _read(lock)
    process = seen.get("process")
    if seen.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
