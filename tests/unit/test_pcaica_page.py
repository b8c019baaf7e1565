"""The page on PCA-ICA: its settings, numbers and links are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gpucells.candidates import independent, segment
from gpucells.methods.pcaica import final
from gpucells.methods.pcaica.settings import PcaicaSettings
from gpucells.ops import noise_floor
from gpucells.tiles import estimate_components


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "pcaica.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == PcaicaSettings.table(), "replace the table by what PcaicaSettings.table() returns"


def test_settings_that_the_text_names_exist(page: str) -> None:
    text = page.split("<!-- settings", 1)[0]
    given = re.findall(r"`(\w+) = (?:\w|\.)+`", text) + re.findall(r"--set (\w+)=", text)
    assert set(given) <= set(PcaicaSettings.model_fields)
    assert len(set(given)) > 7
    rows = [line for line in page.split("## Names", 1)[1].split("## ", 1)[0].splitlines() if line.startswith("| `")]
    ours = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[1])]
    assert len(ours) >= 8
    assert set(ours) - {"picard"} <= set(PcaicaSettings.model_fields)


def test_what_the_page_says_of_presets_is_so(page: str) -> None:
    two, one, plain = (PcaicaSettings.for_preset("two_photon", {}), PcaicaSettings.for_preset("one_photon", {}),
                       PcaicaSettings())  # fmt: skip
    said = page.split("## Settings", 1)[1].split("<!--", 1)[0]
    for settings in (one, two):
        for name in (n for n in PcaicaSettings.model_fields if getattr(settings, n) != getattr(plain, n)):
            value = getattr(settings, name)
            assert f"`{name} = {value}`" in said or f"`{name} = {value:g}`" in said


def test_numbers_of_the_page_are_the_codes(page: str) -> None:
    text, ours = re.sub(r"\s+", " ", page), PcaicaSettings()
    said = {
        "`binning` (0.7)": ours.binning == 0.7,
        "the 20 % quantile of the eigenvalues": noise_floor.LOW == 0.2,
        "the 99.9 % quantile of Tracy and Widom's law": noise_floor.TRACY_WIDOM == 3.27,
        "three layers of cells": independent.LAYERS == 3,
        "above 2 noises and a tenth of the maximum": (segment.NOISES, segment.FAINT) == (2, 0.1),
        "once in ten images": segment.FALSE == 0.1,
        "1.5 times the components that stand out": estimate_components.HIGH == 1.5,
        "1.5 to 3 times as many independent": estimate_components.ICS == (1.5, 3),
        "1 to 1.5 times as many principal": estimate_components.PCS == (1, 1.5),
        "local maxima that noise alone does not reach": final.FALSE < 1,
    }
    for words, is_so in said.items():
        assert words in text, words
        assert is_so, words


def test_figures_of_the_page_are_those_kept(page: str, repository: Path) -> None:
    kept = json.loads((repository / "benchmarks" / "results" / "pcaica.json").read_text(encoding="utf-8"))
    for row in (row for row in kept if row.get("n_pcs") != "auto" and "traces" not in row):
        line = next(line for line in page.splitlines() if line.startswith(f"| {row['preset']}, {row['mu']} |"))
        assert f"| {row['f1']:.3f}, {row['trace_r_median']:.3f} | {row['cpu_s']:.1f} |" in line
        filters = next(r for r in kept if "traces" in r and (r["preset"], r["mu"]) == (row["preset"], row["mu"]))
        assert line.endswith(f"| {filters['f1']:.3f}, {filters['trace_r_median']:.3f} |")


def test_links_lead_somewhere(page: str, repository: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert len(links) >= 2
    for path in links:
        assert (repository / "docs" / "methods" / path).is_file(), path
    assert (repository / "docs" / "methods" / "figures" / "pcaica_mu.png").stat().st_size < 300_000
