"""What README.md shows is true: its Python runs, its shell blocks run, its files exist.

A block with ``<!-- test -->`` on the line above it is run; blocks run in the order of the page, in one folder, and all
Python blocks share one namespace, as a reader would type them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^(?P<mark><!-- test -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)")


def blocks(page: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(page.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_code_of_the_readme_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    namespace: dict[str, object] = {"__name__": "readme"}
    marked = [block for block in blocks(repository / "README.md") if block["mark"]]
    assert {block["language"] for block in marked} == {"bash", "python"}
    for block in marked:
        if block["language"] == "python":
            exec(compile(block["code"], "README.md", "exec"), namespace)
        else:
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block["code"]], capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{block['code']}\n{ran.stdout}\n{ran.stderr}"


def test_every_python_block_is_marked(repository: Path) -> None:
    unmarked = [b["code"] for b in blocks(repository / "README.md") if b["language"] == "python" and not b["mark"]]
    assert not unmarked


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(repository: Path, page: str) -> None:
    targets = {match["target"] for match in LINK.finditer((repository / page).read_text(encoding="utf-8"))}
    assert not [target for target in targets if not (repository / target).exists()]


def test_make_targets_named_in_the_pages_exist(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"`make (\w+)`", (repository / page).read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page} names make {target}"


def test_tables_are_those_of_the_result_files(repository: Path) -> None:
    """In a process of its own: the benchmarks are no package."""
    command = [sys.executable, str(repository / "benchmarks" / "readme.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_figure_that_was_changed_by_hand_is_found(repository: Path) -> None:
    code = (
        "import readme\n"
        "page = readme.PAGES[0].read_text(encoding='utf-8')\n"
        "table = readme.TABLE.search(page)['text']\n"
        "assert '.996' in table\n"
        "assert readme.written(page.replace(table, table.replace('.996', '.999'))) == readme.written(page)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=repository / "benchmarks", capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
