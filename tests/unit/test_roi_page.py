"""The page on ROI: its settings, numbers and table are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpucells.factorisation import settle, shared_light
from gpucells.io.imagej_rois import FILLED
from gpucells.methods.extract.settings import ExtractSettings
from gpucells.methods.roi import final, projection
from gpucells.methods.roi.settings import RoiSettings


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "roi.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == RoiSettings.table(), "replace the table by what RoiSettings.table() returns"


def test_the_measured_table_is_the_benchmarks(page: str, repository: Path) -> None:
    written = re.search(r"<!-- table: (\S+) -->\n(.*?)\n<!-- end of table -->", page, re.DOTALL)
    assert written is not None
    assert written[2] == (repository / written[1]).read_text(encoding="utf-8").strip()


def test_settings_that_the_text_names_exist(page: str) -> None:
    text = page.split("<!-- settings", 1)[0]
    named = re.findall(r"`(\w+) = (\w+|\d*\.?\d+)`", text) + re.findall(r"--set (\w+)=(\S+)", text)
    for name, value in named:
        if name not in RoiSettings.model_fields:
            raise AssertionError(name)
        RoiSettings.from_values({name: {"false": False, "true": True}.get(value, value)})
    assert {name for name, _ in named} >= {"traces", "threshold", "neuropil", "neuropil_coefficient"}


def test_the_presets_are_the_same() -> None:
    assert RoiSettings.for_preset("one_photon", {}) == RoiSettings.for_preset("two_photon", {})


def test_numbers_of_the_page_are_the_codes(page: str) -> None:
    text, ours = re.sub(r"\s+", " ", page), RoiSettings()
    said = {
        "in 10 rounds": settle.HELD_ROUNDS == 10,
        "found in turn, 4 times": shared_light.EVENT_ROUNDS == 4,
        "regression (.5 noises)": shared_light.KAPPA == 0.5,
        "more than 1.3 times the events": shared_light.WORSE == 1.3,
        "linear above `kappa` (2.5) noises": ours.kappa == 2.5,
        "there kappa is 1.5": ExtractSettings().kappa_std_ratio == 1.5,
        "above `threshold` (.5)": ours.threshold == 0.5,
        "above .2 of a footprint's maximum": projection.OWN == 0.2,
        "`neuropil_gap` (.5 cell radii)": ours.neuropil_gap == 0.5,
        "`neuropil_size` (1 cell radius)": ours.neuropil_size == 1,
        "`neuropil_pixels` (4)": ours.neuropil_pixels == 4,
        "half a radius at a time": projection.STEP == 0.5,
        "`neuropil_coefficient = auto`": ours.neuropil_coefficient == "auto",
        "cosine above .9999": final.SAME == 0.9999,
        "rectangles, ovals, polygons, freehand, traced": len(FILLED) == 5,
        "Hence the default": ours.traces == "robust",
    }
    for words, is_so in said.items():
        assert words in text, words
        assert is_so, words


def test_links_lead_somewhere(page: str, repository: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page)
    assert len(links) >= 3
    for path in links:
        assert (repository / "docs" / "methods" / path).is_file(), path
