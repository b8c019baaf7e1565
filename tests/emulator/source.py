"""What g++ must see in place of a kernel file: its own includes pasted, ``__shared__`` declarations rewritten.

Everything else of CUDA's language is macros and functions of ``cuda/emulator.h``. Line numbers stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.MULTILINE)
_SHARED = re.compile(r"(extern\s+)?__shared__\s+([^;{}=]*);")
_ALIGNMENT = re.compile(r"(?:__align__|alignas)\s*\([^)]*\)")
_DECLARATOR = re.compile(r"(\w+)\s*((?:\[[^\]]*\]\s*)*)$")
_BOUNDS = r"(?:__launch_bounds__\s*\(([^()]*)\)\s*)?"
_KERNEL = re.compile(
    rf'(template\s*<[^;{{}}]*>\s*)?(extern\s+"C"\s+)?{_BOUNDS}__global__\s+{_BOUNDS}(?:void\s+)?{_BOUNDS}(\w+)\s*\('
)


class CompileError(RuntimeError):
    """A kernel that g++, or the emulator's own rules, refuse."""


def translate(code: str, folders: Iterable[Path], name_expressions: Iterable[str], filename: str) -> str:
    """Return the C++ of a kernel file: translated, and followed by the list of its kernels.

    Parameters
    ----------
    code : str
        The kernel file.
    folders : iterable of Path
        Where its ``#include "…"`` are looked for.
    name_expressions : iterable of str
        Kernels to list beside those that are ``extern "C"``, such as ``"sum<float, 32>"``.
    filename : str
        What messages call the file.
    """
    text = _without_comments(_paste_includes(code, filename, tuple(folders), {filename}))
    numbers = iter(range(1_000_000))
    text = _SHARED.sub(lambda match: _declaration(match, next(numbers), text), text)
    if re.search(r"\b__shared__\b", text):
        raise CompileError(f"{filename}: a __shared__ declaration of a form that the emulator does not know")
    kernels = dict(_kernels(text)) | dict.fromkeys(name_expressions, "0")
    for number, (name, bounds) in enumerate(kernels.items()):
        call = f"emulator::Call<({name})>"
        text += (
            f'\nstatic emulator::Kernel emulator_kernel_{number}("{name}", {call}::call, {call}::signature, {bounds});'
        )
    return f'#include "emulator.h"\n#line 1 "{filename}"\n{text}\n'


def _paste_includes(code: str, filename: str, folders: tuple[Path, ...], seen: set[str]) -> str:
    """Paste as the project's loader does, so that ``__shared__`` in a header is rewritten too; each header once."""

    def paste(match: re.Match[str]) -> str:
        name = match[1]
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            return match[0]  # g++ looks for it, or says that it is missing
        back = f'#line {code.count(chr(10), 0, match.end()) + 2} "{filename}"'
        if name in seen:
            return ""
        seen.add(name)
        header = _paste_includes(path.read_text(encoding="utf-8"), name, folders, seen)
        return f'#line 1 "{name}"\n{header}\n{back}'

    return _INCLUDE.sub(paste, code)


def _without_comments(code: str) -> str:
    return _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), code)


def _declaration(match: re.Match[str], number: int, text: str) -> str:
    dynamic, declared = match[1], match[2]
    lines = "\n" * match[0].count("\n")
    if dynamic:
        before = text[: match.start()]
        if before.count("{") == before.count("}"):
            raise CompileError("extern __shared__ must be declared inside the kernel that uses it")
        kind, name = re.fullmatch(r"(.*?)(\w+)\s*\[\s*\]\s*", _ALIGNMENT.sub("", declared), re.DOTALL).groups()  # type: ignore[union-attr]
        kind = " ".join(kind.split())
        return f"{kind}* {name} = static_cast<{kind}*>(emulator::dynamic_shared());{lines}"
    names = [_DECLARATOR.search(part.strip())[1] for part in _split(declared)]  # type: ignore[index]
    # As members of a struct the declarators need not be understood, and the type itself is the key of its place.
    block = f"struct EmulatorShared{number} {{ {declared}; }};"
    return block + "".join(f" auto& {name} = emulator::shared<EmulatorShared{number}>().{name};" for name in names)


def _split(declared: str) -> Iterator[str]:
    """Split at the commas that are outside of any bracket."""
    depth = start = 0
    for at, letter in enumerate(declared):
        depth += (letter in "<([{") - (letter in ">)]}")
        if letter == "," and depth == 0:
            yield declared[start:at]
            start = at + 1
    yield declared[start:]


def _kernels(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and launch bound of the kernels that can be had by their plain name."""
    block = text.find('extern "C" {')
    for match in _KERNEL.finditer(text):
        template, plain, first, second, third, name = match.groups()
        if not template and (plain or 0 <= block < match.start()):
            yield name, (first or second or third or "0").split(",")[0]
