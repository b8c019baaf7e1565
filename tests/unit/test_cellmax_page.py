"""The page on CELLMax-style EM: its settings and constants are the code's, and no option of CIAtah is passed over."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpucells.candidates import footprints
from gpucells.factorisation import judgement
from gpucells.methods.cellmax import em, prune
from gpucells.methods.cellmax.settings import CellmaxSettings
from gpucells.ops import photon_em
from gpucells.settings import RunSettings

CIATAH = """initMethod gridSpacing gridWidth maxSqSize sqOverlap minIters maxIters percentFramesPerIteration
numFramesRandom subsampleMethod percentRemainingSubsample numPhotonsPerSigma numSigmasThresh
numFramesSampleFitNoiseSigma threshForElim sizeThresh sizeThreshMax areaOverlapThresh
removeCorrProbs scaledPhiCorrThresh distanceThresh corrRemovalAreaOverlapThresh
runMovieImageCorrThreshold movieImageCorrThreshold removeAutoCorrThres eccentricityThreshold
numObjThreshold downsampleFactorTime downsampleFactorSpace dsInitializeThreshold upsampleFullIters
recalculateFinalTraces maxDeltaParams useGPU dsScaledProbabilities cellTraces"""


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "cellmax.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == CellmaxSettings.table(), "replace the table by what CellmaxSettings.table() returns"


def test_every_option_of_ciatah_has_a_row_and_settings_in_it_exist(page: str) -> None:
    rows = [line for line in section(page, "CIAtah's options").splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(CIATAH.split())
    ours = set(CellmaxSettings.model_fields) | set(RunSettings.model_fields) | {"denoised", "traces", "ica", "minIters"}
    for row in rows:
        assert set(re.findall(r"`(\w+)`", row.split(" | ")[1])) <= ours, row


def test_settings_that_the_text_names_exist(page: str) -> None:
    ours = set(CellmaxSettings.model_fields)
    given = re.findall(r"--set (\w+)=", page) + re.findall(r"`(\w+) = (?:\w|\.)+`", page)
    assert set(given) <= ours
    assert len(set(given)) > 7


def test_what_the_page_says_of_presets_is_so(page: str) -> None:
    two, one = (CellmaxSettings.for_preset(preset, {}) for preset in ("two_photon", "one_photon"))
    different = {name for name in CellmaxSettings.model_fields if getattr(two, name) != getattr(one, name)}
    said = section(page, "Settings").split("<!--", 1)[0]
    assert set(re.findall(r"`(\w+) = [^`]+`", said)) == different
    for name in different:
        value = getattr(one, name)
        assert f"`{name} = {value}`" in said or f"`{name} = {value:g}`" in said


def test_numbers_of_the_page_are_the_codes(page: str) -> None:
    text = re.sub(r"\s+", " ", page)
    said = {
        "in runs of 64": em.RUN == 64,
        "with weight $k^{-.7}$": em.FORGET == 0.7,
        "above $3 \\sqrt 2$ of its noises": np.isclose(footprints.EVENT, 3 * np.sqrt(2)),
        "at its 10 brightest events": prune.EVENTS == 10,
        "the median plus three deviations, on Fisher's scale": prune.RARE == 3,
        "no deeper than 1.5 of their noises": prune.QUIET == 1.5,
        "Fewer than 10 such traces": judgement.FEW == 10,
        "at most 64 MiB": photon_em.RATIO_BYTES == 64 << 20,
        "(`threshold_sigmas` -2)": CellmaxSettings().threshold_sigmas == -2,
    }
    for words, is_so in said.items():
        assert words in text, words
        assert is_so, words


def test_links_lead_somewhere(page: str, repository: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page)
    assert len(links) >= 2
    for path in links:
        assert (repository / "docs" / "methods" / path).is_file(), path
