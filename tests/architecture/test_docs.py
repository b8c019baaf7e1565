"""The pages hold together: all in the table of contents, every link leads somewhere, and marked code runs."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from architecture.pages import anchors, blocks, links, marked, run_marked
from architecture.source_tree import ROOT

LIST = ROOT / "docs" / "README.md"
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
OTHERS = [
    ROOT / name
    for name in (
        "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docker/README.md", "kernels/README.md", "benchmarks/README.md",
        "tests/emulator/README.md",
    )
]  # fmt: skip
WITH_CODE = [page for page in PAGES if marked(page)]
#: Their first block is run by tests/unit/compat, on movies such as the original's users have.
RUN_ELSEWHERE = {f"docs/compat/{tool}.md" for tool in ("caiman", "cellsort", "ciatah", "extract")}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``movie.h5``, ``one_photon.h5`` and ``cells.h5``, which the pages' code may begin with."""
    import gpucells

    folder = tmp_path_factory.mktemp("pages")
    for file, kind in (("movie.h5", "two_photon"), ("one_photon.h5", "one_photon")):
        gpucells.simulate_movie(kind, path=folder / file, shape=(500, 64, 80), n_cells=8)
    gpucells.save_cells(gpucells.extract_cells(folder / "movie.h5"), folder / "cells.h5")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_marked_code_runs(page: Path, shared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    shutil.copytree(shared_folder, folder)
    run_marked(page, folder, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_python_block_is_run(page: Path) -> None:
    bare = [block["code"] for block in blocks(page) if block["language"] == "python" and not block["mark"]]
    assert len(bare) == (name(page) in RUN_ELSEWHERE), "mark it: <!-- test --> on the line above"


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = [(LIST.parent / target).resolve() for target in links(LIST)]
    assert not [name(page) for page in PAGES if page not in listed and page != LIST]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name(page)} links to {link}"
        assert path.is_file(), f"{name(page)} links to the folder {link}: the site has pages only"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{name(page)} links to {link}"


def test_the_site_reads_the_list_as_its_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    try:
        import conf

        found = [page for _, pages in conf.contents(LIST.read_text(encoding="utf-8")) for page in pages]
    finally:
        sys.modules.pop("conf", None)
    assert {name(page).removesuffix(".md") for page in PAGES if page != LIST} <= set(found)


def test_public_names_are_in_the_reference() -> None:
    import gpucells

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.MULTILINE))
    assert documented == set(gpucells.__all__) - {"__version__"}


def test_table_of_run_settings() -> None:
    from gpucells.settings import RunSettings

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"-->\n{RunSettings.table()}\n<!-- end" in text, "replace the table by what RunSettings.table() returns"
