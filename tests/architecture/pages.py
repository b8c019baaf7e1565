"""The repository's Markdown pages: their code blocks, run as a reader would type them, their links and headings.

A block with ``<!-- test -->`` on the line above it is run; blocks run in the order of the page, in one folder, and all
Python blocks of a page share one namespace.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

BLOCK = re.compile(r"^(?P<mark><!-- test -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


def blocks(page: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


def marked(page: Path) -> list[re.Match[str]]:
    return [block for block in blocks(page) if block["mark"]]


def run_marked(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the marked blocks of a page in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in marked(page):
        if block["language"] == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # a reader sees a warning and goes on
                exec(compile(block["code"], str(page), "exec"), namespace)
        else:
            assert block["language"] == "bash", f"{page}: a marked block of {block['language']!r}"
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block["code"]], capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{block['code']}\n{ran.stdout}\n{ran.stderr}"


def _without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]+`", "", BLOCK.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> set[str]:
    """Return what a page links to within the repository, code left out."""
    return {match["target"] for match in LINK.finditer(_without_code(page))}


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub, and the site, give a page's headings."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", match["text"].strip().lower()).replace(" ", "-") for match in HEADING.finditer(text)
    }
