"""Guides name what there is: names in a column ``gpucells`` are settings, options, functions or fields."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from architecture.source_tree import ROOT

import gpucells
from gpucells.export.formats import FORMATS
from gpucells.methods.registry import METHOD_NAMES, find_method
from gpucells.settings import RunSettings

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
#: Sections of a guide that are about one method: its settings alone may be named there, and those of the run.
SECTIONS = {
    "PCAICA": "pcaica", "ROI": "roi", "CNMF": "cnmf", "CNMFE": "cnmfe", "EXTRACT": "extract", "CELLMax": "cellmax",
}  # fmt: skip
#: Columns of the quality table that a guide names.
QUALITY = {
    "snr", "event_correlation", "neighbour_correlation", "ar_1", "deconvolution_baseline", "deconvolution_noise",
    "deconvolution_penalty",
}  # fmt: skip
IMAGES = {"mean", "max", "correlation", "noise"}


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def named(page: Path) -> Iterator[tuple[str, str]]:
    """Give each name of a column ``gpucells``, with the heading that it stands under."""
    heading, column = "", None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            column = None
        elif column is None:
            head = cells_of(line)
            column = head.index("gpucells") if "gpucells" in head else -1
        elif column >= 0:
            for name in re.findall(r"`([^`]+)`", cells_of(line)[column]):
                yield heading, name


@cache
def settings_of(method: str) -> dict[str, set[str]]:
    """Names of settings, each with the words that it may be: ``'bool'`` of a switch."""
    fields = type(find_method(method).settings("two_photon", {})).model_fields
    return {name: set(re.findall(r"'(\w+)'", str(field.annotation))) for name, field in fields.items()}


@cache
def verbs() -> dict[str, set[str]]:
    import typer.main

    from gpucells.cli.app import app

    commands = typer.main.get_command(app).commands
    return {verb: {o for p in command.params for o in p.opts} for verb, command in commands.items()}


def is_known(word: str, methods: list[str]) -> bool:
    """Whether there is a thing of this name."""
    known: dict[str, set[str]] = {}
    for method in methods:
        for name, words in settings_of(method).items():
            known[name] = known.get(name, set()) | words
    cells = {field.name for field in dataclasses.fields(gpucells.Cells)} | {"dff"} | QUALITY | IMAGES
    if word.startswith("gpucells "):
        verb, *rest = word.split()[1:]
        options = {part for part in rest if part.startswith("-")}
        formats = {rest[rest.index("--to") + 1]} if "--to" in rest else set()
        return verb in verbs() and options <= verbs()[verb] and formats <= set(FORMATS)
    if word.startswith("-"):
        option, *value = word.split()
        is_method = option != "--method" or value[0] in METHOD_NAMES
        return is_method and (option in set().union(*verbs().values()))
    if word.startswith("gpucells.compat."):
        module, _, name = word.removesuffix("(...)").rpartition(".")
        return hasattr(importlib.import_module(module), name)
    if call := re.fullmatch(r"(?:gpucells\.)?(\w+)(\(.*\))?", word):
        name, arguments = call.groups()
        if word.startswith("gpucells.") or arguments:
            return name in gpucells.__all__ or hasattr(gpucells.Cells, name)
        return (
            name in known
            or name in RunSettings.model_fields
            or name in cells
            or name in gpucells.__all__
            or name in METHOD_NAMES
            or name.isupper()
            or any(name in words for words in known.values())
            or name in get_args(RunSettings.model_fields["preset"].annotation)
        )
    if assignment := re.fullmatch(r"(\w+) ?= ?(\S+)", word):
        name, value = assignment.groups()
        if value in {"true", "false"}:
            value = "bool"
        return name in known and (value in known[name] or not re.fullmatch("[a-z_]+", value))
    return re.fullmatch(r"cuda:\S+|\.mmap", word) is not None


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_names_of_guides_exist(page: Path) -> None:
    found = list(named(page))
    unknown = [
        (heading, word)
        for heading, word in found
        if not is_known(word, [SECTIONS[heading]] if heading in SECTIONS else list(METHOD_NAMES))
    ]
    assert not unknown
    assert found or page.stem == "choosing"


def test_a_name_that_is_none_is_found() -> None:
    everything = list(METHOD_NAMES)
    assert is_known("min_corr", ["cnmfe"])
    assert not is_known("min_corr", ["extract"])
    for word in (
        "min_cor",
        "--no-such-option",
        "gpucells no_such_verb",
        "gpucells.no_such_name",
        "traces=no_such_word",
    ):
        assert not is_known(word, everything), word


def test_every_setting_of_a_method_that_a_script_sets_is_in_the_vocabulary() -> None:
    """What is not there is ours alone, and has no name elsewhere."""
    words = {word for _, word in named(ROOT / "docs" / "guides" / "vocabulary.md")}
    ours_alone = {
        "busy_share", "cellfind_kappa_std_ratio", "cellfind_max_rounds", "cellfind_numpix_threshold",
        "min_tau_after_downsampling", "max_spatial_corruption", "deconvolution_penalty", "echo_correlation",
        "spatial_penalty", "l1_penalty_factor", "solver", "trace_background_spacing", "contrast", "algorithm",
        "segment_smoothing", "segment_z", "segment_share", "whole_field", "traces", "support_growth", "noise",
        "quantize", "event_iter", "relaxation", "min_iter", "nonnegative_traces", "probability_iter", "threshold",
        "kappa", "neuropil_size",
    }  # fmt: skip
    every = {name for method in METHOD_NAMES for name in settings_of(method)}
    assert ours_alone <= every
    assert every - words <= ours_alone
