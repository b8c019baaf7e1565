"""The site of ``make docs``: the repository's own Markdown pages, as they are, and the API from its docstrings.

The source folder is the repository's root, so that links between pages are the same here and where the repository is
read; README.md is the front page, and docs/README.md, the list of pages, is the table of contents.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import gpucells

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
FRONT, LIST = "README", "docs/README.md"

project = "gpucells"
author = "gpucells contributors"
copyright = author
version = release = gpucells.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
root_doc = FRONT
include_patterns = ["*.md", "docs/**", "docker/*.md", "kernels/*.md", "benchmarks/**", "tests/emulator/*.md"]
exclude_patterns = [
    "docs/_build", ".*", "**/.*", "dist", "build", "demo", "gpucells",
    # Tables without a heading, which pages have.
    *(f"benchmarks/results/{name}.md" for name in ("formats", "roi", "sklearn")),
]  # fmt: skip

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["myst.header"]  # a page of small parts may begin below its first level

autodoc_typehints = "none"  # the docstrings have the types, with shapes and units
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # they are listed once, by autodoc
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = "gpucells"
html_show_sphinx = False
html_copy_source = False


def contents(page: str) -> list[tuple[str, list[str]]]:
    """Return the sections of a list of pages: their headings, and the documents that they link to."""
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return [
        (caption, [_document(target) for target in re.findall(r"\]\(([^)#:]+\.md)\)", text)])
        for caption, text in zip(sections[::2], sections[1::2], strict=True)
    ]


def _document(target: str) -> str:
    """Return the name that Sphinx has for a page that docs/README.md links to."""
    path = (ROOT / LIST).parent / target
    return path.resolve().relative_to(ROOT).with_suffix("").as_posix()


def _toctrees() -> str:
    named = [(f":caption: {name}\n", pages) for name, pages in contents((ROOT / LIST).read_text(encoding="utf-8"))]
    trees = [("", [LIST.removesuffix(".md")]), *named]
    return "\n".join(
        f"\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(f"/{page}" for page in pages) + "\n```\n"
        for caption, pages in trees
    )


def _add_contents(_app: Sphinx, document: str, source: list[str]) -> None:
    """Give the front page, which is README.md without a word of Sphinx, the table of contents."""
    if document == FRONT:
        source[0] += _toctrees()


def _add_index(app: Sphinx, error: Exception | None) -> None:
    """Let the folder open at the front page."""
    if error is None and app.builder.format == "html":
        refresh = f'<!doctype html><meta http-equiv="refresh" content="0; url={FRONT}.html"><title>gpucells</title>\n'
        (Path(app.outdir) / "index.html").write_text(refresh, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_index)
