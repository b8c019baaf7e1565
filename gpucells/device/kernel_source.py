"""The text of CUDA kernels: where it lies, and what the compiler gets to see of it.

A kernel's own headers are pasted in, because CuPy keeps compiled kernels under a hash of the text alone: it would not
notice that a header changed. ``#line`` directives keep the compiler's messages true to the files that people edit.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from gpucells.errors import KernelError

_INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*"(?P<name>[^"]+)"')
# NVRTC and nvcc write "file(12): error: what", g++ and clang "file:12:5: error: what".
_DIAGNOSTIC = re.compile(
    r"^(?P<file>[^\s(:]+)[(:](?P<line>\d+)\)?(?::\d+)?: (?:fatal |catastrophic )?error:? ?(?P<what>.*)$", re.M
)


def kernel_folder() -> Path:
    """Return the folder of the ``.cu`` files: inside the installed package, or beside it in a source tree.

    The package's own folder comes first: beside an installed package may lie somebody else's ``kernels``.
    """
    package = Path(__file__).resolve().parents[1]
    folder = package / "kernels"
    return folder if folder.is_dir() else package.parent / "kernels"


@cache
def kernel_text(file: str, folder: Path | None = None) -> str:
    """Return a kernel's source with our own headers pasted in.

    Parameters
    ----------
    file : str
        Such as ``"fold_frames.cu"``.
    folder : pathlib.Path, optional
        Where it lies, its headers in ``include/`` below; ``kernel_folder()`` by default.

    Returns
    -------
    str
        ``#include "x.cuh"`` is replaced by the file, the first time that it comes; ``#include <x>`` stays.

    Raises
    ------
    KernelError
        A file that is not there.
    """
    return _pasted(folder or kernel_folder(), file, set(), "")


def _pasted(folder: Path, file: str, seen: set[str], wanted_by: str) -> str:
    path = folder / file
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KernelError(
            f"kernels/{file}{wanted_by} cannot be read: {error.strerror}",
            "install gpucells again: its kernels are missing",
        ) from error
    lines = [f'#line 1 "kernels/{file}"']
    for number, line in enumerate(text.splitlines(), start=1):
        match = _INCLUDE.match(line)
        if match is None:
            lines.append(line)
            continue
        header = f"include/{match['name']}"
        if header in seen:
            lines.append("")
            continue
        seen.add(header)
        lines.append(_pasted(folder, header, seen, f", included by kernels/{file} in line {number},"))
        lines.append(f'#line {number + 1} "kernels/{file}"')
    return "\n".join(lines)


def first_error(log: str) -> str:
    """Return ``"file:line: what"`` of the first error in a compiler's log; the whole log where none is recognised."""
    match = _DIAGNOSTIC.search(log)
    return f"{match['file']}:{match['line']}: {match['what']}" if match is not None else log.strip()
