"""What README.md shows is true: its Python runs, its shell blocks run, its tables are those of the result files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from architecture.pages import blocks, marked, run_marked


@pytest.mark.slow
def test_code_of_the_readme_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = repository / "README.md"
    assert {block["language"] for block in marked(page)} == {"bash", "python"}
    run_marked(page, tmp_path, monkeypatch)


def test_every_python_block_is_marked(repository: Path) -> None:
    unmarked = [b["code"] for b in blocks(repository / "README.md") if b["language"] == "python" and not b["mark"]]
    assert not unmarked


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
